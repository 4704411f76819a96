"""Which Slack messages a deployment has, and what they show."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row

from webhook.store.database import Async, Sync

# message: the living one; reply: a failure, broadcast in its thread; failures: another channel.
Purpose = Literal["message", "reply", "failures"]


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """`channel` as configured, `channel_id` and `ts` as Slack answered (empty until then).

    `shown` is a digest of what it says. `tried_until` is set while an answer to a post is owed;
    until then the call may be under way, in whatever process. `first_tried_at`: it is not older.
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


_SELECT = (
    "select deployment_id, purpose, channel, team, channel_id, ts, shown, edits,"
    " first_tried_at, tried_until, trouble from slack_messages "
)


async def claim(
    connection: Async, deployment_id: int, purpose: Purpose, channel: str
) -> SlackMessage:
    """The row of that message, made where it is not there yet."""
    key = [deployment_id, purpose, channel]
    await connection.execute(
        "insert into slack_messages (deployment_id, purpose, channel) values (%s, %s, %s)"
        " on conflict do nothing",
        key,
    )
    cursor = connection.cursor(row_factory=class_row(SlackMessage))
    await cursor.execute(
        _SELECT + "where deployment_id = %s and purpose = %s and channel = %s", key
    )
    message = await cursor.fetchone()
    assert message is not None
    return message


async def claim_post(connection: Async, message: SlackMessage, seconds: float) -> bool:
    """Whether the post is ours to make; nobody else makes it for so many seconds."""
    return await _update(
        connection,
        message,
        "first_tried_at = coalesce(first_tried_at, now()),"
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
        connection, message, "ts = '', shown = '', first_tried_at = null, tried_until = null", []
    )


async def in_trouble(connection: Async, message: SlackMessage, trouble: str) -> None:
    await _update(connection, message, "trouble = %s, tried_until = null", [trouble])


async def _update(
    connection: Async,
    message: SlackMessage,
    assignments: str,
    values: list[Any],
    condition: str = "",
) -> bool:
    cursor = await connection.execute(
        f"update slack_messages set {assignments}"
        f" where deployment_id = %s and purpose = %s and channel = %s {condition}",
        [*values, message.deployment_id, message.purpose, message.channel],
    )
    return cursor.rowcount == 1


async def channel_id(connection: Async, channel: str) -> str:
    """Slack's id of a channel as configured, known from earlier posts; the name itself else."""
    cursor = await connection.execute(
        "select channel_id from slack_messages where channel = %s and channel_id <> ''"
        " order by deployment_id desc limit 1",
        [channel],
    )
    row = await cursor.fetchone()
    return row["channel_id"] if row else channel


def of_deployment(connection: Sync, deployment_id: int) -> list[SlackMessage]:
    cursor = connection.cursor(row_factory=class_row(SlackMessage))
    cursor.execute(_SELECT + "where deployment_id = %s order by purpose, channel", [deployment_id])
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
