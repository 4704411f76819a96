"""Break-glass: which gates a person skips for one deployment, and until when. Rows are only added;
PostgreSQL refuses to change one. Whether one still counts is looked at when it is read
(`webhook.store.gates`)."""

from dataclasses import dataclass
from datetime import datetime

from webhook.store.audit import Source
from webhook.store.database import Async


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOverride:
    """`login`: of the person on GitHub. `gates`: their names. It counts until `expires_at`."""

    deployment_id: int
    gates: tuple[str, ...]
    login: str
    reason: str
    source: Source
    at: datetime
    expires_at: datetime


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
