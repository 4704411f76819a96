"""What is on record of one deployment besides its row and its timeline: the deliveries that it came
of, and what people did with it. For its page."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from webhook.store.audit import Act
from webhook.store.database import Sync
from webhook.store.deliveries import Outcome, Way

# Of each, the newest.
MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """`action`: of the payload, None where that was not read, or has none. `outcome` None: not
    processed yet; `arrivals`: how often GitHub sent it."""

    guid: str
    event: str
    action: str | None
    received_at: datetime
    outcome: Outcome | None
    reason: str
    arrivals: int
    way: Way


def deliveries_of(connection: Sync, deployment_id: int) -> list[DeliveryRecord]:
    """The newest first."""
    cursor = connection.cursor(row_factory=class_row(DeliveryRecord))
    cursor.execute(
        "select guid, event, action, received_at, outcome, reason, arrivals, way from deliveries"
        " where deployment_id = %s order by id desc limit %s",
        [deployment_id, MOST],
    )
    return cursor.fetchall()


def acts_on(connection: Sync, deployment_id: int) -> list[Act]:
    """As the audit has them, the newest first."""
    cursor = connection.cursor(row_factory=class_row(Act))
    cursor.execute(
        "select id, at, actor, source, action, outcome, repo_id, repo, environment, deployment_id,"
        " action_id, reason, details from audit where deployment_id = %s order by id desc limit %s",
        [deployment_id, MOST],
    )
    return cursor.fetchall()


def last_request(connection: Sync, deployment_id: int, login_id: int) -> int:
    """The id of what that account on GitHub requested of it last, 0 for nothing."""
    row = connection.execute(
        "select coalesce(max(id), 0) as last from actions where deployment_id = %s"
        " and login_id = %s",
        [deployment_id, login_id],
    ).fetchone()
    return row["last"] if row else 0
