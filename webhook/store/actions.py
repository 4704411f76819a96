"""What people asked for in Slack: who, when, what, and what became of it.

An action begins as `waiting`. It ends as `done`, `refused` (it was not allowed, or made no sense)
or `failed` (GitHub would not). The deployment that it asks GitHub for is an entry of the outbox. Of
each deployment one Cancel at most is `done`, and one that makes another deployment in its place: a
Retry or a Roll back.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from webhook.errors import Excluded
from webhook.slack.actions.payloads import Asked, Kind, Reply
from webhook.store import outbox
from webhook.store.database import Async, Sync

Outcome = Literal["waiting", "done", "refused", "failed"]
# How long a button that asks whether somebody is sure may be pressed.
CONFIRM_WITHIN = "1 hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`key` is the press's own; `slack_user` is U…, of another workspace than `team` T…/U…; `login`
    is empty until known.
    `reply` is None once the answer was given. `made`: the deployment that came of it. `claimed`: a
    call to GitHub was begun whose end nobody knows; `lookups`: how often its result was searched in
    vain. `answers`: how often Slack did not take the answer."""

    id: int
    key: str
    at: datetime
    kind: Kind
    team: str
    slack_user: str
    slack_name: str
    login: str
    deployment_id: int | None
    repo: str
    environment: str
    ref: str
    reply: Reply | None
    outcome: Outcome
    words: str
    made: int | None
    claimed: bool
    lookups: int
    answers: int

    @property
    def open(self) -> bool:
        return self.outcome == "waiting"


_CLAIMED = "exists (select from outbox where action_id = actions.id and state = 'claimed')"
_SELECT = (
    "select id, key, at, kind, team, slack_user, slack_name, login, deployment_id, repo,"
    f" environment, ref, reply, outcome, words, made, {_CLAIMED} as claimed, coalesce((select"
    " lookups from outbox where action_id = actions.id), 0) as lookups, answers from actions "
)
_OPEN = "outcome = 'waiting'"
_NOT_BEGUN = f"{_OPEN} and not {_CLAIMED}"
_MAKE_ANOTHER: tuple[Kind, ...] = ("retry", "rollback")


def _action(values: DictRow) -> Action:
    reply = values["reply"]
    return Action(**{**values, "reply": None if reply is None else Reply.from_json(reply)})


def keep(connection: Sync, asked: Asked) -> int | None:
    """The id of the new action; None where it was kept before. A deployment that the store does not
    know is left out."""
    row = connection.execute(
        "insert into actions (key, kind, team, slack_user, slack_name, deployment_id, repo,"
        " environment, ref, reply) select %s, %s, %s, %s, %s, deployments.id,"
        " coalesce(deployments.repo, %s), coalesce(deployments.environment, %s), %s, %s"
        " from (select %s::bigint as id) pressed left join deployments using (id)"
        " on conflict (key) do nothing returning id",
        [
            asked.key,
            asked.kind,
            asked.who.team,
            asked.who.user,
            asked.who.name,
            asked.repo,
            asked.environment,
            asked.ref,
            Jsonb(asked.reply.to_json()),
            asked.deployment_id,
        ],
    ).fetchone()
    return row["id"] if row else None


def newest(connection: Sync, limit: int) -> list[Action]:
    """The newest first."""
    rows = connection.execute(_SELECT + "order by id desc limit %s", [limit]).fetchall()
    return [_action(values) for values in rows]


async def read(connection: Async, action_id: int) -> Action | None:
    return await _one(connection, "where id = %s", [action_id])


async def same(connection: Async, action: Action) -> Action | None:
    """The other one that excludes it, which is under way or done."""
    kinds = _MAKE_ANOTHER if action.kind in _MAKE_ANOTHER else (action.kind,)
    where = (
        "where deployment_id = %s and kind = any(%s) and id <> %s"
        f" and (outcome = 'done' or {_CLAIMED})"
    )
    return await _one(connection, where, [action.deployment_id, list(kinds), action.id])


async def made_by(connection: Async, deployment_id: int) -> Action | None:
    """What that deployment was made by; its `deployment_id` is the one it came from."""
    return await _one(connection, "where made = %s order by id limit 1", [deployment_id])


async def know(connection: Async, action_id: int, login: str) -> None:
    await _update(connection, action_id, "login = %s", [login])


async def plan(
    connection: Async, action_id: int, *, repo: str, environment: str, ref: str, words: str
) -> bool:
    """Keep what it makes, to be found again; whether it is still to be made."""
    columns = "repo = %s, environment = %s, ref = %s, words = %s"
    values = [repo, environment, ref, words]
    return await _update(connection, action_id, columns, values, f"and {_OPEN}")


async def hold(connection: Async, action_id: int, words: str, ref: str) -> None:
    """It waits for whoever asked to say that they are sure of exactly this ref."""
    columns = "words = %s, ref = %s"
    await _update(connection, action_id, columns, [words, ref], f"and {_NOT_BEGUN}")


async def confirm(connection: Async, press: Action, confirms: int) -> bool:
    """Take over what waited for this press of the same person; whether it still did."""
    cursor = await connection.execute(
        "with asked as (update actions set outcome = 'done', words = 'Confirmed'"
        " where id = %s and kind = 'deploy' and outcome = 'waiting' and team = %s"
        f" and slack_user = %s and at > now() - interval '{CONFIRM_WITHIN}'"
        " returning repo, environment, ref)"
        " update actions set repo = asked.repo, environment = asked.environment, ref = asked.ref"
        " from asked where actions.id = %s",
        [confirms, press.team, press.slack_user, press.id],
    )
    return cursor.rowcount == 1


async def end(
    connection: Async,
    action_id: int,
    outcome: Outcome,
    words: str,
    made: int | None = None,
    *,
    where: str = _OPEN,
) -> bool:
    """Whether this ended it; somebody else may have. Raises `Excluded` where another one was
    quicker; the transaction, if any, is lost then."""
    columns = "outcome = %s, words = %s, made = %s"
    try:
        return await _update(connection, action_id, columns, [outcome, words, made], f"and {where}")
    except psycopg.errors.UniqueViolation:
        raise Excluded from None


async def give_up(connection: Async, action_id: int, outcome: Outcome, words: str) -> bool:
    """End it without a deployment, whatever became of its call; whether this ended it."""
    async with connection.transaction():
        # In this order, which is that of a claim: else two could wait for each other.
        await outbox.abandon(connection, action_id, words)
        return await end(connection, action_id, outcome, words)


async def refuse(connection: Async, action_id: int, words: str) -> bool:
    """Refuse what nobody has begun; whether it was so."""
    async with connection.transaction():
        if await outbox.is_begun(connection, action_id):
            return False
        await outbox.abandon(connection, action_id, words)
        return await end(connection, action_id, "refused", words)


async def not_cancelled(connection: Async, deployment_id: int, words: str) -> None:
    """The tool did not let it be ended: it may be asked for again."""
    await connection.execute(
        "update actions set outcome = 'failed', words = %s"
        " where deployment_id = %s and kind = 'cancel' and outcome = 'done'",
        [words, deployment_id],
    )


async def note(connection: Async, action_id: int) -> bool:
    """Whether it is ours to say that this takes a while."""
    return await _update(connection, action_id, "noted = true", [], "and not noted")


async def not_answered(connection: Async, action_id: int) -> None:
    await _update(connection, action_id, "answers = answers + 1", [])


async def answered(connection: Async, action_id: int) -> None:
    """Where the answer went is forgotten: whoever has it could speak for the relay."""
    await _update(connection, action_id, "reply = null", [])


async def _one(connection: Async, where: str, values: list[Any]) -> Action | None:
    cursor = await connection.execute(_SELECT + where, values)
    row = await cursor.fetchone()
    return _action(row) if row else None


async def _update(
    connection: Async, action_id: int, columns: str, values: list[Any], condition: str = ""
) -> bool:
    cursor = await connection.execute(
        f"update actions set {columns} where id = %s {condition}", [*values, action_id]
    )
    return cursor.rowcount == 1
