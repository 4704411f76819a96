"""Slack's workspaces in which the app was installed by OAuth, with their encrypted tokens.

A process that refreshes tokens locks their row until Slack responds; others that change the row
wait for it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from webhook.store.database import Async, Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstallation:
    """`team` is Slack's id, T…; `scopes` as Slack granted them, comma-separated; `expires_at` None:
    the token does not expire."""

    team: str
    team_name: str
    app_id: str
    bot_user: str
    scopes: str
    token: bytes = field(repr=False)
    refresh_token: bytes | None = field(repr=False)
    expires_at: datetime | None
    installed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation(NewInstallation):
    """`error`: why the token must not be used any more, or empty while it may. `rejected_since`:
    when Slack began to reject it; `rejected_at`: when it did so last."""

    installed_at: datetime
    error: str
    rejected_since: datetime | None
    rejected_at: datetime | None


_COLUMNS = (
    "team, team_name, app_id, bot_user, scopes, token, refresh_token, expires_at, installed_by,"
    " installed_at, error, rejected_since, rejected_at"
)
_READ = f"select {_COLUMNS} from slack_installations where team = %s"
_EVERY = f"select {_COLUMNS} from slack_installations order by team_name, team"
# Slack's times of events are whole seconds.
_STOP = (
    "update slack_installations set error = %(error)s where team = %(team)s and error = ''"
    " and (%(before)s::timestamptz is null"
    " or date_trunc('second', installed_at) <= %(before)s::timestamptz)"
)
# Longer than a refresh takes.
_WAIT_FOR_A_REFRESH = "set local lock_timeout = '15s'"


def save(connection: Sync, new: NewInstallation) -> None:
    """Installing again replaces what was there, and clears its error."""
    with connection.transaction():
        connection.execute(_WAIT_FOR_A_REFRESH)
        connection.execute(
            "insert into slack_installations (team, team_name, app_id, bot_user, scopes, token,"
            " refresh_token, expires_at, installed_by) values (%(team)s, %(team_name)s,"
            " %(app_id)s, %(bot_user)s, %(scopes)s, %(token)s, %(refresh_token)s, %(expires_at)s,"
            " %(installed_by)s) on conflict (team) do update set team_name = excluded.team_name,"
            " app_id = excluded.app_id, bot_user = excluded.bot_user, scopes = excluded.scopes,"
            " token = excluded.token, refresh_token = excluded.refresh_token,"
            " expires_at = excluded.expires_at, installed_by = excluded.installed_by,"
            " installed_at = now(), error = '', rejected_since = null",
            asdict(new),
        )


def every_sync(connection: Sync) -> list[Installation]:
    cursor = connection.cursor(row_factory=class_row(Installation))
    return cursor.execute(_EVERY).fetchall()


def stop(connection: Sync, team: str, error: str, *, before: datetime | None = None) -> bool:
    """Do not use its token any more. False if that is known already, or if it was installed after
    `before`."""
    values = {"team": team, "error": error, "before": before}
    return connection.execute(_STOP, values).rowcount == 1


def rotate_all(connection: Sync, rotate: Callable[[bytes], bytes]) -> int:
    """Replace all tokens, or none if `rotate` fails for one; the number of workspaces."""
    with connection.transaction():
        connection.execute(_WAIT_FOR_A_REFRESH)
        rows = connection.execute(
            "select team, token, refresh_token from slack_installations order by team for update"
        ).fetchall()
        for row in rows:
            refresh_token = row["refresh_token"] and rotate(row["refresh_token"])
            connection.execute(
                "update slack_installations set token = %s, refresh_token = %s where team = %s",
                [rotate(row["token"]), refresh_token, row["team"]],
            )
    return len(rows)


async def read(connection: Async, team: str) -> Installation | None:
    cursor = connection.cursor(row_factory=class_row(Installation))
    await cursor.execute(_READ, [team])
    return await cursor.fetchone()


async def every(connection: Async) -> list[Installation]:
    cursor = connection.cursor(row_factory=class_row(Installation))
    await cursor.execute(_EVERY)
    return await cursor.fetchall()


async def stop_async(
    connection: Async, team: str, error: str, *, before: datetime | None = None
) -> bool:
    values = {"team": team, "error": error, "before": before}
    return (await connection.execute(_STOP, values)).rowcount == 1


async def lock(connection: Async, team: str) -> Installation | None:
    """Until the transaction ends; None if another process has locked it, or it is gone."""
    cursor = connection.cursor(row_factory=class_row(Installation))
    await cursor.execute(f"{_READ} for update skip locked", [team])
    return await cursor.fetchone()


async def rejected(connection: Async, team: str, since: datetime, at: datetime) -> None:
    """Slack rejects its token since then, which does not count yet."""
    await connection.execute(
        "update slack_installations set rejected_since = %s, rejected_at = %s where team = %s",
        [since, at, team],
    )


async def expire(connection: Async, team: str) -> None:
    """Its token must be refreshed before it is used again."""
    await connection.execute(
        "update slack_installations set expires_at = now() where team = %s", [team]
    )


async def save_tokens(
    connection: Async,
    team: str,
    token: bytes,
    refresh_token: bytes | None,
    expires_at: datetime | None,
) -> None:
    await connection.execute(
        "update slack_installations set token = %s, refresh_token = %s, expires_at = %s,"
        " rejected_since = null where team = %s",
        [token, refresh_token, expires_at, team],
    )
