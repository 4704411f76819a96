"""The methods of Slack's Web API that the stand-in has: they write, edit and read.

Source: https://docs.slack.dev/reference/methods
Errors: SlackError, which becomes Slack's response.
"""

from collections.abc import Sequence

from sandbox.slack.documents import channel_document, document, user_document
from sandbox.slack.model import Channel, EphemeralMessage, Json, Message, SlackError, User, Version
from sandbox.slack.request import Asked, Methods, between, content_of, metadata_of

LONGEST_POST, LONGEST_UPDATE = 40_000, 4_000


def post(asked: Asked) -> Json:
    workspace, arguments = asked.workspace, asked.arguments
    channel = _open(asked)
    text, blocks = content_of(arguments, LONGEST_POST)
    thread_ts = arguments.text("thread_ts") or None
    if thread_ts:
        channel.parent(thread_ts)
    metadata = metadata_of(arguments)
    workspace.site.count_call(("chat.postMessage", channel.id), workspace.site.post_interval)
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
    workspace.site.count_call(("chat.update", workspace.id), workspace.site.update_interval)
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
    ephemeral = EphemeralMessage(user.id, channel.id, text, blocks or [])
    ephemeral.thread_ts = arguments.text("thread_ts") or None
    return {"message_ts": workspace.add_ephemeral(ephemeral).ts}


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


def auth_test(asked: Asked) -> Json:
    workspace = asked.workspace
    return {
        "url": f"{workspace.site.url}/",
        "team": workspace.name,
        "user": "relay",
        "team_id": workspace.id,
        "user_id": workspace.bot.user,
        "bot_id": workspace.bot.id,
        "is_enterprise_install": False,
    }


def info_of_channel(asked: Asked) -> Json:
    channel = by_id(asked)
    asked.need("groups:read" if channel.private else "channels:read")
    return {"channel": channel_document(channel, asked.workspace.id)}


def history(asked: Asked) -> Json:
    channel = _readable(asked)
    shown = [m for m in channel.messages.values() if m.broadcast or not m.is_reply]
    return _listing(asked, channel, between(asked.arguments, shown)[::-1], 100)


def replies(asked: Asked) -> Json:
    channel = _readable(asked)
    parent = channel.parent(asked.arguments.required("ts"))
    found = between(asked.arguments, channel.replies(parent.ts))
    return _listing(asked, channel, [parent, *found], 999)


def user_by_email(asked: Asked) -> Json:
    email = asked.arguments.required("email").lower()
    for user in asked.workspace.users.values():
        if user.email.lower() == email and not user.deleted:
            return {"user": user_document(user, with_email=True)}
    raise SlackError("users_not_found")


def user_info(asked: Asked) -> Json:
    workspace, user_id = asked.workspace, asked.arguments.required("user")
    bot = User(workspace.bot.user, workspace.id, "relay", is_bot=True)
    user = bot if user_id == bot.id else workspace.users.get(user_id)
    if user is None:
        raise SlackError("user_not_found")
    return {"user": user_document(user, with_email="users:read.email" in asked.token.scopes)}


def _readable(asked: Asked) -> Channel:
    channel = by_id(asked)
    asked.need("groups:history" if channel.private else "channels:history")
    if not channel.member:
        raise SlackError("not_in_channel")
    return channel


def _listing(asked: Asked, channel: Channel, found: Sequence[Message], default: int) -> Json:
    some, cursor = asked.arguments.page(found, default)
    with_metadata = asked.arguments.flag("include_all_metadata")
    bot = asked.workspace.bot
    shown = [document(bot, m, channel, with_metadata=with_metadata) for m in some]
    more = {"response_metadata": {"next_cursor": cursor}} if cursor else {}
    return {"messages": shown, "has_more": bool(cursor), **more}


METHODS: Methods = {
    "chat.postMessage": ("chat:write", post),
    "chat.update": ("chat:write", update),
    "chat.postEphemeral": ("chat:write", post_ephemeral),
    "chat.getPermalink": ("", permalink),
    "auth.test": ("", auth_test),
    "conversations.info": ("", info_of_channel),
    "conversations.history": ("", history),
    "conversations.replies": ("", replies),
    "users.lookupByEmail": ("users:read.email", user_by_email),
    "users.info": ("users:read", user_info),
}
