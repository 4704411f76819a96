"""Which Slack messages a deployment has, and what they show."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row

from webhook.store.database import Async, Sync
from webhook.store.rate_limits import Slot

# message: the one that is edited in place; step: a reply in its thread; failures: another channel.
Purpose = Literal["message", "failures", "step"]


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """`channel` as configured, `channel_id` and `ts` as Slack answered (empty until then).

    `shown` is a digest of what it says. `tried_until` is set while an answer to a post is owed;
    until then the call may be under way, in whatever process. `first_tried_at`: it is not older.
    `about`: of a step, the turn of the last one that is told, else 0. `slot_at` and `slot_epoch`:
    when its next call may be made.
    """

    deployment_id: int
    purpose: Purpose
    channel: str
    team: str
    channel_id: str
    ts: str
    shown: str
    edits: int
    first_tried_at: datetime | None
    tried_until: datetime | None
    trouble: str
    about: int
    slot_at: datetime | None
    slot_epoch: int | None
    tries: int


_COLUMNS = ", ".join(field.name for field in fields(SlackMessage))
_SELECT = f"select {_COLUMNS} from slack_messages "
_KEY = "deployment_id = %s and purpose = %s and channel = %s and about = %s"


async def claim(
    connection: Async, deployment_id: int, purpose: Purpose, channel: str, about: int = 0
) -> SlackMessage:
    """The row of that message, made where it is not there yet."""
    key = [deployment_id, purpose, channel, about]
    await connection.execute(
        "insert into slack_messages (deployment_id, purpose, channel, about)"
        " values (%s, %s, %s, %s) on conflict do nothing",
        key,
    )
    found = await _read(connection, _KEY, key)
    assert found
    return found[0]


async def newest(
    connection: Async, deployment_id: int, purpose: Purpose, channel: str
) -> list[SlackMessage]:
    """The newest first."""
    where = "deployment_id = %s and purpose = %s and channel = %s order by about desc"
    return await _read(connection, where, [deployment_id, purpose, channel])


async def move(connection: Async, message: SlackMessage, about: int) -> None:
    """Of a reply that nobody has tried to post yet: it tells of more."""
    await _update(connection, message, "about = %s", [about])


async def give_up(connection: Async, message: SlackMessage) -> None:
    """It is not to be posted any more."""
    await _update(connection, message, "ts = '0', tried_until = null, trouble = ''", [])


async def told_in(connection: Async, deployment_id: int) -> set[str]:
    """The channels that have the living message of a deployment."""
    cursor = await connection.execute(
        "select channel from slack_messages where deployment_id = %s and purpose = 'message'"
        " and ts <> ''",
        [deployment_id],
    )
    return {row["channel"] async for row in cursor}


async def keep_slot(connection: Async, message: SlackMessage, slot: Slot | None) -> None:
    at, epoch = (slot.at, slot.epoch) if slot else (None, None)
    await _update(connection, message, "slot_at = %s, slot_epoch = %s", [at, epoch])


async def claim_post(connection: Async, message: SlackMessage, seconds: float) -> bool:
    """Whether the post is ours to make; nobody else makes it for so many seconds."""
    return await _update(
        connection,
        message,
        "tries = tries + 1, first_tried_at = coalesce(first_tried_at, now()),"
        " tried_until = now() + %s * interval '1 second'",
        [seconds],
        "and ts = '' and (tried_until is null or tried_until <= now())",
    )


async def answer_owed(connection: Async, message: SlackMessage, seconds: float) -> None:
    """The call ended without a clear answer; look for the message after so many seconds."""
    await _update(connection, message, "tried_until = now() + %s * interval '1 second'", [seconds])


async def not_posted(connection: Async, message: SlackMessage) -> None:
    await _update(connection, message, "tried_until = null", [])


async def posted(
    connection: Async, message: SlackMessage, *, team: str, channel_id: str, ts: str, shown: str
) -> None:
    await _update(
        connection,
        message,
        "team = %s, channel_id = %s, ts = %s, shown = %s, tried_until = null, trouble = ''",
        [team, channel_id, ts, shown],
    )


async def edited(connection: Async, message: SlackMessage, shown: str) -> None:
    await _update(connection, message, "shown = %s, edits = edits + 1, trouble = ''", [shown])


async def forget(connection: Async, message: SlackMessage) -> None:
    """The message is gone in Slack: the next one is posted anew."""
    await _update(
        connection,
        message,
        "ts = '', shown = '', tries = 0, first_tried_at = null, tried_until = null",
        [],
    )


async def in_trouble(connection: Async, message: SlackMessage, trouble: str) -> None:
    await _update(connection, message, "trouble = %s", [trouble])


async def _update(
    connection: Async,
    message: SlackMessage,
    assignments: str,
    values: list[Any],
    condition: str = "",
) -> bool:
    cursor = await connection.execute(
        f"update slack_messages set {assignments} where {_KEY} {condition}",
        [*values, message.deployment_id, message.purpose, message.channel, message.about],
    )
    return cursor.rowcount == 1


async def _read(connection: Async, where: str, values: list[Any]) -> list[SlackMessage]:
    cursor = connection.cursor(row_factory=class_row(SlackMessage))
    await cursor.execute(f"{_SELECT} where {where}", values)
    return await cursor.fetchall()


async def channel_id(connection: Async, channel: str) -> str:
    """Slack's id of a channel as configured, known from earlier posts."""
    cursor = await connection.execute(
        "select channel_id from slack_messages where channel = %s and channel_id <> ''"
        " order by deployment_id desc limit 1",
        [channel],
    )
    row = await cursor.fetchone()
    return row["channel_id"] if row else ""


def of_deployment(connection: Sync, deployment_id: int) -> list[SlackMessage]:
    cursor = connection.cursor(row_factory=class_row(SlackMessage))
    cursor.execute(
        _SELECT + "where deployment_id = %s order by purpose, channel, about", [deployment_id]
    )
    return cursor.fetchall()


def lately_in_trouble(connection: Sync) -> list[tuple[str, str]]:
    """(channel, trouble) where the newest message of the last seven days was refused."""
    rows = connection.execute(
        "select channel, trouble from (select distinct on (channel) channel, trouble"
        " from slack_messages join deployments on deployments.id = deployment_id"
        " where phase_at > now() - interval '7 days'"
        " order by channel, phase_at desc, trouble = '') newest where trouble <> ''"
    ).fetchall()
    return [(row["channel"], row["trouble"]) for row in rows]
