"""How long deployments take: for how long each gate held one back, and what is usual in its
environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow

# Successes of the environment of which the middle is usual, and the fewest that say anything.
SAMPLE, _FEWEST = 20, 3


@dataclass(frozen=True, slots=True)
class GateWait:
    """`seconds`: until it let go; `since`: it holds again, None if not."""

    seconds: float
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """Seconds, half of the last successes took less: from the request to the start (`waited`), and
    from there to the end (`ran`). `sample`: how many those were."""

    waited: float | None
    ran: float | None
    sample: int


_USUAL = """
select percentile_cont(0.5) within group (order by extract(epoch from started_at - requested_at))
        as waited,
    percentile_cont(0.5) within group (order by extract(epoch from ended_at - started_at)) as ran,
    count(*) as sample
from (
    select requested_at, started_at, ended_at from deployments
    where repo_id = %s and lower(environment) = lower(%s) and succeeded and id < %s
    order by id desc limit %s
) last
where requested_at is not null and started_at is not null and ended_at is not null
"""


def usual_of(connection: Sync, row: DeploymentRow) -> Usual | None:
    """Of those before it; None: too few are known."""
    cursor = connection.cursor(row_factory=class_row(Usual))
    cursor.execute(_USUAL, [row.repo_id, row.environment, row.id, SAMPLE])
    found = cursor.fetchone()
    return found if found and found.sample >= _FEWEST else None


def waits_of(connection: Sync, deployment_id: int) -> dict[str, GateWait]:
    """By gate."""
    row = connection.execute(
        "select waits from deployments where id = %s", [deployment_id]
    ).fetchone()
    return {gate: _wait(one) for gate, one in row["waits"].items()} if row else {}


def _wait(document: Mapping[str, Any]) -> GateWait:
    since = document["since"]
    return GateWait(float(document["seconds"]), datetime.fromisoformat(since) if since else None)
