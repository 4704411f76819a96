"""The stand-in's methods that write messages.

Source: https://docs.slack.dev/reference/methods
Errors: SlackError, which becomes Slack's answer.
"""

from sandbox.slack.call import Asked, Methods
from sandbox.slack.documents import document
from sandbox.slack.model import Channel, Json, Message, SlackError, Version, Whisper
from sandbox.slack.request import content_of, metadata_of

LONGEST_POST, LONGEST_UPDATE = 40_000, 4_000


def post(asked: Asked) -> Json:
    workspace, arguments = asked.workspace, asked.arguments
    channel = _open(asked)
    text, blocks = content_of(arguments, LONGEST_POST)
    thread_ts = arguments.text("thread_ts") or None
    if thread_ts:
        channel.parent(thread_ts)
    metadata = metadata_of(arguments)
    workspace.site.keep_pace(("chat.postMessage", channel.id), workspace.site.pace)
    message = Message(
        ts=workspace.site.clock.ts(),
        user=workspace.bot.user,
        text=text,
        blocks=blocks or [],
        thread_ts=thread_ts,
        broadcast=bool(thread_ts) and arguments.flag("reply_broadcast"),
        metadata=metadata,
    )
    workspace.put(channel, message)
    shown = document(workspace.bot, message, channel)
    return {"channel": channel.id, "ts": message.ts, "message": shown}


def update(asked: Asked) -> Json:
    workspace, arguments = asked.workspace, asked.arguments
    workspace.site.keep_pace(("chat.update", workspace.id), workspace.site.update_pace)
    channel = by_id(asked)
    message = channel.messages.get(arguments.required("ts"))
    if message is None:
        raise SlackError("message_not_found")
    if message.user != workspace.bot.user:
        raise SlackError("cant_update_message")
    if channel.archived:
        raise SlackError("is_archived")
    text, blocks = content_of(arguments, LONGEST_UPDATE)
    metadata = metadata_of(arguments)
    edit(message, text, blocks, workspace.site.clock.ts())
    message.metadata = metadata or message.metadata
    message.broadcast = message.broadcast or (
        message.is_reply and arguments.flag("reply_broadcast")
    )
    workspace.tell(channel, message)
    shown = document(workspace.bot, message, channel)
    return {"channel": channel.id, "ts": message.ts, "text": text, "message": shown}


def edit(message: Message, text: str, blocks: list[Json] | None, at: str) -> None:
    """Text without blocks takes the blocks away: Slack shows what it was given."""
    message.versions.append(Version(message.text, message.blocks))
    message.text, message.blocks, message.edited_ts = text, blocks or [], at


def post_ephemeral(asked: Asked) -> Json:
    workspace, arguments = asked.workspace, asked.arguments
    channel = by_id(asked)
    if not channel.member:
        raise SlackError("not_in_channel")
    if channel.archived:
        raise SlackError("is_archived")
    user = workspace.users.get(arguments.required("user"))
    if user is None or user.deleted:
        raise SlackError("user_not_in_channel")
    text, blocks = content_of(arguments, LONGEST_POST)
    whisper = Whisper(user.id, channel.id, text, blocks or [])
    whisper.thread_ts = arguments.text("thread_ts") or None
    return {"message_ts": workspace.whisper(whisper).ts}


def permalink(asked: Asked) -> Json:
    channel = by_id(asked)
    ts = asked.arguments.required("message_ts")
    if ts not in channel.messages:
        raise SlackError("message_not_found")
    link = f"{asked.workspace.site.url}/archives/{channel.id}/p{ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


def by_id(asked: Asked) -> Channel:
    """Most methods know a channel by its id only; chat.postMessage takes a name too."""
    channel = asked.workspace.channels.get(asked.arguments.required("channel"))
    if channel is None or (channel.private and not channel.member):
        raise SlackError("channel_not_found")
    return channel


def _open(asked: Asked) -> Channel:
    """The channel to post to."""
    channel = asked.workspace.channel(asked.arguments.required("channel"))
    if channel.private and not channel.member:
        raise SlackError("channel_not_found")
    if not channel.member and "chat:write.public" not in asked.token.scopes:
        raise SlackError("not_in_channel")
    if channel.archived:
        raise SlackError("is_archived")
    return channel


METHODS: Methods = {
    "chat.postMessage": ("chat:write", post),
    "chat.update": ("chat:write", update),
    "chat.postEphemeral": ("chat:write", post_ephemeral),
    "chat.getPermalink": ("", permalink),
}
