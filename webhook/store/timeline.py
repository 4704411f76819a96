"""The steps of a deployment: what was reported when, by whom, and whether GitHub has ours.

A step of ours is a GitHub deployment status on its way: `outbox` is `waiting`, then `tried`
(committed before the call, so that a crash in it is seen), then `sent`, `refused`, or
`skipped` because somebody else had ended the deployment. A tried one
is left alone until `tried_until`, because the call may still be under way, here or elsewhere.
What a tool reports to us begins as `reported`, until it is judged whether it counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row

from webhook.store.database import Async, Sync

# Not a state of GitHub's.
ASKED = "asked"

Outbox = Literal["reported", "waiting", "tried", "sent", "refused", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStep:
    """`counted`: it changed the deployment's phase; a late or repeated one is only kept. `held`: it
    waits for a person. `state` is ASKED where somebody asked for something in Slack."""

    actor: str
    state: str
    words: str
    log_url: str = ""
    environment_url: str = ""
    counted: bool = True
    github_id: int | None = None
    outbox: Outbox | None = None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(NewStep):
    """`turn`: the order in which steps count."""

    id: int
    turn: int
    at: datetime
    tried_until: datetime | None
    trouble: str


_COLUMNS = (
    "id, turn, at, actor, state, words, log_url, environment_url, counted, github_id, outbox,"
    " held, tried_until, trouble"
)


_INSERT = (
    "insert into steps (deployment_id, actor, state, words, log_url, environment_url,"
    " counted, github_id, outbox, held) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def _values(deployment_id: int, step: NewStep) -> list[Any]:
    return [
        deployment_id,
        step.actor,
        step.state,
        step.words,
        step.log_url,
        step.environment_url,
        step.counted,
        step.github_id,
        step.outbox,
        step.held,
    ]


def add_report(connection: Sync, deployment_id: int, step: NewStep) -> Step:
    cursor = connection.cursor(row_factory=class_row(Step))
    cursor.execute(f"{_INSERT} returning {_COLUMNS}", _values(deployment_id, step))
    kept = cursor.fetchone()
    assert kept is not None
    return kept


def reported_end(connection: Sync, deployment_id: int) -> bool:
    """Whether an end was reported that nobody has taken up yet."""
    cursor = connection.execute(
        "select 1 from steps where deployment_id = %s and outbox = 'reported'"
        " and state in ('success', 'failure', 'error', 'inactive')",
        [deployment_id],
    )
    return cursor.fetchone() is not None


def count(connection: Sync, deployment_id: int) -> int:
    cursor = connection.execute(
        "select count(*) as steps from steps where deployment_id = %s", [deployment_id]
    )
    row = cursor.fetchone()
    return int(row["steps"]) if row else 0


async def reported(connection: Async, deployment_id: int) -> list[Step]:
    """What nobody has judged yet, in the order in which it came."""
    cursor = connection.cursor(row_factory=class_row(Step))
    await cursor.execute(
        f"select {_COLUMNS} from steps where deployment_id = %s and outbox = 'reported'"
        " order by id",
        [deployment_id],
    )
    return await cursor.fetchall()


async def judge(connection: Async, step_id: int, *, words: str, counted: bool) -> None:
    """One that counts goes on to GitHub, after all that counted before; another is only kept."""
    await connection.execute(
        "update steps set words = %s, counted = %s, outbox = %s, turn = nextval('steps_turn')"
        " where id = %s",
        [words, counted, "waiting" if counted else None, step_id],
    )


async def add(connection: Async, deployment_id: int, step: NewStep) -> int | None:
    """Keep a step; None where GitHub's status of that id is already kept."""
    cursor = await connection.execute(
        f"{_INSERT} on conflict (github_id) do nothing returning id", _values(deployment_id, step)
    )
    row = await cursor.fetchone()
    return row["id"] if row else None


async def unsent(connection: Async, deployment_id: int) -> list[Step]:
    cursor = connection.cursor(row_factory=class_row(Step))
    await cursor.execute(
        f"select {_COLUMNS} from steps"
        " where deployment_id = %s and outbox in ('waiting', 'tried') order by turn",
        [deployment_id],
    )
    return await cursor.fetchall()


def of_deployment(connection: Sync, deployment_id: int) -> list[Step]:
    cursor = connection.cursor(row_factory=class_row(Step))
    cursor.execute(
        f"select {_COLUMNS} from steps where deployment_id = %s order by turn", [deployment_id]
    )
    return cursor.fetchall()


async def shown(connection: Async, deployment_id: int, after: int) -> list[Step]:
    """What counted, and what people asked for, after that turn."""
    cursor = connection.cursor(row_factory=class_row(Step))
    await cursor.execute(
        f"select {_COLUMNS} from steps where deployment_id = %s and turn > %s"
        f" and (counted or state = '{ASKED}') and outbox is distinct from 'reported' order by turn",
        [deployment_id, after],
    )
    return await cursor.fetchall()


async def is_held(connection: Async, deployment_id: int) -> bool:
    """Whether the last that counted waits for a person."""
    cursor = await connection.execute(
        "select held from steps where deployment_id = %s and counted order by turn desc limit 1",
        [deployment_id],
    )
    row = await cursor.fetchone()
    return bool(row and row["held"])


async def claim_call(connection: Async, step: Step, seconds: float) -> bool:
    """Whether the call is ours to make; nobody else makes it for so many seconds."""
    cursor = await connection.execute(
        "update steps set outbox = 'tried', tried_until = now() + %s * interval '1 second'"
        " where id = %s and (outbox = 'waiting' or (outbox = 'tried' and tried_until <= now()))",
        [seconds, step.id],
    )
    return cursor.rowcount == 1


async def set_outbox(
    connection: Async,
    step_id: int,
    outbox: Outbox,
    *,
    github_id: int | None = None,
    trouble: str = "",
    look_after: float = 0,
) -> None:
    """`look_after` (seconds): how long a tried one is left alone from now on."""
    if github_id is not None:  # our own status may have come back before we knew its id
        await connection.execute(
            "delete from steps where github_id = %s and id <> %s", [github_id, step_id]
        )
    await connection.execute(
        "update steps set outbox = %s, github_id = coalesce(%s, github_id), trouble = %s,"
        " tried_until = now() + %s * interval '1 second' where id = %s",
        [outbox, github_id, trouble, look_after, step_id],
    )


async def reported_by_others(
    connection: Async, deployment_id: int, states: Collection[str]
) -> bool:
    """Whether somebody else has told GitHub one of these, and it counted."""
    cursor = await connection.execute(
        "select 1 from steps where deployment_id = %s and outbox is null and counted"
        " and state = any(%s)",
        [deployment_id, list(states)],
    )
    return await cursor.fetchone() is not None


async def may_cover(connection: Async, deployment_id: int, github_id: int) -> bool:
    """Whether a status of ours that is no end may be newer on GitHub than that one."""
    cursor = await connection.execute(
        "select 1 from steps where deployment_id = %s and state in ('queued', 'in_progress')"
        " and (outbox = 'tried' or (outbox = 'sent' and github_id > %s))",
        [deployment_id, github_id],
    )
    return await cursor.fetchone() is not None


async def deployments_with_unsent(connection: Async, installation_id: int) -> list[int]:
    cursor = await connection.execute(
        "select distinct deployment_id from steps join deployments on deployments.id ="
        " deployment_id where outbox in ('waiting', 'tried') and installation_id = %s",
        [installation_id],
    )
    return [row["deployment_id"] async for row in cursor]
