"""What messages about a deployment need, at one moment and by one statement: the deployment, what
other rows say of it, the messages that were sent, and what has happened since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from webhook.deployments.approvals import Approval
from webhook.deployments.overrides import Override
from webhook.deployments.phases import Phase
from webhook.store import approvals, deployments, outbox, overrides
from webhook.store.database import Async, Sync
from webhook.store.deployments import DeploymentRow
from webhook.store.outbox import Entry
from webhook.store.timeline import BY_PEOPLE


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """An entry of the timeline that people see."""

    position: int
    at: datetime
    actor: str
    state: str
    description: str
    log_url: str
    held: bool
    asked_before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Of a deployment, what other rows say. `held`: it waits for a person. `newest`: none was
    requested after it in its environment, not counting those that wait for their gates; `missed`:
    it was missed, and none was requested after it, or after the one that went instead.
    `previous_sha`: the commit of the last success before it there, "" if there was none. `before`:
    how the one before it there ended, not counting those that were superseded; known of a success.
    `back_*`: the one to which a rollback returns, 0 if there is none. `action`: the one that
    created it, "" if none did, of the person `login`; and from which deployment, 0 if from none.
    `approvals`: answers to it, and to earlier ones of its commit, the oldest first. `overrides`:
    of its gates, the oldest first. `sent`: the
    messages at the destination, the newest of each purpose first; `news`: what counted, and what
    people requested, since the last one of the purpose."""

    held: bool
    newest: bool
    missed: bool
    previous_sha: str
    before: Phase | None
    back_id: int
    back_ref: str
    back_sha: str
    action: str
    login: str
    origin_id: int
    origin_repo: str
    origin_environment: str
    approvals: Sequence[Approval]
    overrides: tuple[Override, ...]
    sent: Sequence[Entry]
    news: Sequence[News]


_BEFORE = (
    "other.repo_id = deployments.repo_id and lower(other.environment) ="
    " lower(deployments.environment) and other.id < deployments.id"
)
_AFTER = _BEFORE.replace("<", ">")
_NEWEST = "order by other.id desc limit 1"
_MESSAGES = (
    "outbox.deployment_id = deployments.id and outbox.kind = 'message'"
    " and destination = %(destination)s"
)
_SHOWN = ", ".join(field.name for field in fields(News))
_COLUMNS = f"""
    ended_at is null and coalesce((select held from timeline
        where timeline.deployment_id = deployments.id and counted
        order by timeline.position desc limit 1), false) as held,
    not exists (select from deployments other where {_AFTER} and other.requested_at is not null
        and not other.waiting and other.phase <> 'superseded') as newest,
    deployments.lateness = 'missed' and not exists (select from deployments other where {_AFTER}
        and other.id > deployments.superseded_by and other.requested_at is not null
        and not other.waiting and other.phase <> 'superseded') as missed,
    coalesce((select other.sha from deployments other
        where {_BEFORE} and other.succeeded {_NEWEST}), '') as previous_sha,
    case when phase = 'success' then (select other.phase from deployments other
        where {_BEFORE} and other.ended_at is not null and other.phase <> 'superseded'
        {_NEWEST}) end as before,
    coalesce(back_id, 0) as back_id, coalesce(back_ref, '') as back_ref,
    coalesce(back_sha, '') as back_sha,
    coalesce(action, '') as action, coalesce(login, '') as login,
    coalesce(origin_id, 0) as origin_id, coalesce(origin_repo, '') as origin_repo,
    coalesce(origin_environment, '') as origin_environment,
    {approvals.ABOUT} as approvals,
    {overrides.OF_DEPLOYMENT} as overrides,
    array(select to_jsonb(sent) from (select {outbox.COLUMNS} from outbox where {_MESSAGES}
        order by position desc) sent) as sent,
    array(select to_jsonb(news) from (select {_SHOWN} from timeline
        where timeline.deployment_id = deployments.id and %(purpose)s <> ''
        and position > coalesce((select max(position) from outbox where {_MESSAGES}
            and purpose = %(purpose)s and state in ('sent', 'skipped')), 0)
        and (counted or state in {BY_PEOPLE}) and judged order by position) news) as news
"""
_JOINS = f"""
    left join lateral (
        select other.id as back_id, other.sha as back_sha, coalesce(nullif((select ref_name
            from actions where created_deployment_id = other.id order by actions.id limit 1), ''),
            other.ref) as back_ref
        from deployments other where {_BEFORE} and other.succeeded and other.sha <> deployments.sha
        {_NEWEST}
    ) back on true
    left join lateral (
        select kind as action, login, actions.deployment_id as origin_id,
            actions.repo as origin_repo, (select environment from deployments origin
            where origin.id = actions.deployment_id) as origin_environment
        from actions where created_deployment_id = deployments.id order by actions.id limit 1
    ) creator on true
"""


async def read(
    connection: Async, deployment_id: int, *, destination: str = "", purpose: str = ""
) -> tuple[DeploymentRow, Context] | None:
    """`purpose`: of the messages that say what has happened; without one, there is no news."""
    values = {"id": deployment_id, "destination": destination, "purpose": purpose}
    found = await deployments.read_with(connection, _COLUMNS, _JOINS, values)
    if found is None:
        return None
    row, other = found
    return row, _context(other)


def read_sync(connection: Sync, deployment_id: int) -> tuple[DeploymentRow, Context] | None:
    """What a page needs: no message that was sent, and no news."""
    values = {"id": deployment_id, "destination": "", "purpose": ""}
    found = deployments.read_with_sync(connection, _COLUMNS, _JOINS, values)
    return (found[0], _context(found[1])) if found else None


async def imagine(connection: Async, row: DeploymentRow) -> Context:
    """As `read`, of a row that need not be in the store, of which nothing was sent."""
    values = {"row": deployments.imagined(row), "destination": "", "purpose": ""}
    query = f"select {_COLUMNS} from {deployments.IMAGINED} {_JOINS}"
    other = await (await connection.execute(query, values)).fetchone()
    assert other is not None
    return _context(other)


def _context(other: Mapping[str, Any]) -> Context:
    typed = {
        "before": Phase(other["before"]) if other["before"] else None,
        "approvals": approvals.from_json(other["approvals"]),
        "overrides": overrides.from_json(other["overrides"]),
        "sent": [outbox.from_json(document) for document in other["sent"]],
        "news": [_news(document) for document in other["news"]],
    }
    return Context(**{**other, **typed})


def _news(document: dict[str, Any]) -> News:
    return News(**{**document, "at": datetime.fromisoformat(document["at"])})
