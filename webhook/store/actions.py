"""What people asked for in Slack: who, when, what, and what became of it.

An action begins as `waiting`. Before the call that makes something on GitHub it is marked `tried`,
and left alone until `tried_until`: the call may still be under way, here or elsewhere. It ends as
`done`, `refused` (it was not allowed, or made no sense) or `failed` (GitHub would not). Of each
deployment one Cancel at most is `tried` or `done`, and one that makes another deployment in its
place: a Retry or a Roll back.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from webhook.errors import RelayError
from webhook.slack.actions.payloads import Asked, Kind, Reply
from webhook.store.database import Async, Sync

Outcome = Literal["waiting", "tried", "done", "refused", "failed"]
# How long a button that asks whether somebody is sure may be pressed.
CONFIRM_WITHIN = "1 hour"


class AskedBefore(RelayError):
    """Another action of this deployment excludes this one (`same`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`key` is the press's own; `slack_user` is U…, of another workspace than `team` T…/U…; `login`
    is empty until known.
    `reply` is None once the answer was given. `made`: the deployment that came of it. `looks`: how
    often it was looked for in vain after a call without a clear answer; `answers`: how often Slack
    did not take the answer."""

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
    tried_until: datetime | None
    looks: int
    answers: int

    @property
    def open(self) -> bool:
        return self.outcome in ("waiting", "tried")


_SELECT = (
    "select id, key, at, kind, team, slack_user, slack_name, login, deployment_id, repo,"
    " environment, ref, reply, outcome, words, made, tried_until, looks, answers from actions "
)
_OPEN = "outcome in ('waiting', 'tried')"
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
        "where deployment_id = %s and kind = any(%s) and outcome in ('tried', 'done') and id <> %s"
    )
    return await _one(connection, where, [action.deployment_id, list(kinds), action.id])


async def made_by(connection: Async, deployment_id: int) -> Action | None:
    """What that deployment was made by; its `deployment_id` is the one it came from."""
    return await _one(connection, "where made = %s order by id limit 1", [deployment_id])


async def know(connection: Async, action_id: int, login: str) -> None:
    await _update(connection, action_id, "login = %s", [login])


async def claim(
    connection: Async,
    action: Action,
    *,
    repo: str,
    environment: str,
    ref: str,
    words: str,
    seconds: float,
) -> bool:
    """Whether the call is ours to make; nobody else makes it for so many seconds. What it makes is
    kept, to be found again. Raises `AskedBefore`. Not within a transaction."""
    try:
        return await _update(
            connection,
            action.id,
            "outcome = 'tried', tried_until = now() + %s * interval '1 second', looks = 0,"
            " repo = %s, environment = %s, ref = %s, words = %s",
            [seconds, repo, environment, ref, words],
            "and (outcome = 'waiting' or (outcome = 'tried' and tried_until <= now()))",
        )
    except psycopg.errors.UniqueViolation:
        raise AskedBefore from None


async def answer_owed(connection: Async, action_id: int, seconds: float) -> None:
    """The call ended without a clear answer; look after so many seconds."""
    until = "tried_until = now() + %s * interval '1 second'"
    await _update(connection, action_id, until, [seconds], "and outcome = 'tried'")


async def not_found(connection: Async, action_id: int, seconds: float) -> None:
    """What the call may have made is not there yet; look again after so many seconds."""
    columns = "looks = looks + 1, tried_until = now() + %s * interval '1 second'"
    await _update(connection, action_id, columns, [seconds], "and outcome = 'tried'")


async def not_tried(connection: Async, action_id: int) -> None:
    """Nothing was made, and there is nothing to be found."""
    columns = "outcome = 'waiting', tried_until = null"
    await _update(connection, action_id, columns, [], "and outcome = 'tried'")


async def hold(connection: Async, action_id: int, words: str, ref: str) -> None:
    """It waits for whoever asked to say that they are sure of exactly this ref."""
    columns = "words = %s, ref = %s"
    await _update(connection, action_id, columns, [words, ref], "and outcome = 'waiting'")


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
    """Whether this ended it; somebody else may have. Raises `AskedBefore` where another one was
    quicker; the transaction, if any, is lost then."""
    try:
        return await _update(
            connection,
            action_id,
            "outcome = %s, words = %s, made = %s, tried_until = null",
            [outcome, words, made],
            f"and {where}",
        )
    except psycopg.errors.UniqueViolation:
        raise AskedBefore from None


async def end_waiting(connection: Async, action_id: int, words: str) -> bool:
    """Refuse what nobody has begun."""
    return await end(connection, action_id, "refused", words, where="outcome = 'waiting'")


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
