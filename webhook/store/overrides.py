"""Break-glass: which gates a person skips for one deployment, and until when. Rows are added only;
whether one still counts is looked at when it is read (`webhook.store.gates`)."""

from dataclasses import dataclass, fields
from datetime import datetime

from psycopg.rows import class_row

from webhook.store.audit import Place
from webhook.store.database import Async, Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOverride:
    """`login`: of the person on GitHub. `gates`: their names. It counts until `expires_at`."""

    deployment_id: int
    gates: tuple[str, ...]
    login: str
    reason: str
    source: Place
    at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Override(NewOverride):
    id: int


async def add(connection: Async, override: NewOverride) -> None:
    await connection.execute(
        "insert into overrides (deployment_id, gates, login, reason, source, at, expires_at)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        [
            override.deployment_id,
            list(override.gates),
            override.login,
            override.reason,
            override.source,
            override.at,
            override.expires_at,
        ],
    )


def of_deployment(connection: Sync, deployment_id: int) -> list[Override]:
    """The oldest first, expired ones too."""
    cursor = connection.cursor(row_factory=class_row(Override))
    columns = ", ".join(field.name for field in fields(Override))
    cursor.execute(
        f"select {columns} from overrides where deployment_id = %s order by id", [deployment_id]
    )
    return cursor.fetchall()
