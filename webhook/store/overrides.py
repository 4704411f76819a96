"""Break-glass: which gates a person skips for one deployment, and until when. Rows are only added;
PostgreSQL refuses to change one. Whether one still counts is looked at when it is read
(`webhook.store.gates`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from webhook.deployments.overrides import Override
from webhook.store.audit import Source
from webhook.store.database import Async

# Of a row of `deployments`, however long ago.
OF_DEPLOYMENT = f"""
    array(select to_jsonb(one) from (select {", ".join(field.name for field in fields(Override))}
        from overrides where deployment_id = deployments.id order by overrides.id) one)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOverride(Override):
    deployment_id: int
    source: Source


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


def from_json(documents: Iterable[Mapping[str, Any]]) -> tuple[Override, ...]:
    return tuple(
        Override(
            **{
                **one,
                "gates": tuple(one["gates"]),
                "at": datetime.fromisoformat(one["at"]),
                "expires_at": datetime.fromisoformat(one["expires_at"]),
            }
        )
        for one in documents
    )
