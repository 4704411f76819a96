"""The methods of Slack's Web API that the stand-in has: they write, edit and read.

Source: https://docs.slack.dev/reference/methods
Errors: SlackError, which becomes Slack's response.
"""

from collections.abc import Sequence

from sandbox.slack.documents import channel_document, message_document, user_document
from sandbox.slack.model import Channel, EphemeralMessage, Json, Message, SlackError, User, Version
from sandbox.slack.request import MethodCall, Methods, between, content_of, metadata_of

MAX_POST_LENGTH, MAX_UPDATE_LENGTH = 40_000, 4_000
# Of channels: those in which there can be no message, and no reply.
RESTRICTIONS = (
    {"read_only_channel", "thread_only_channel"},
    {"read_only_channel", "non_threadable_channel"},
)


def post(call: MethodCall) -> Json:
    workspace, arguments = call.workspace, call.arguments
    channel = _channel_to_post_to(call)
    text, blocks = content_of(arguments, MAX_POST_LENGTH, workspace.site.unsupported_blocks)
    thread_ts = arguments.text("thread_ts") or None
    _require_allowed(channel, thread_ts)
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
    workspace.publish(channel, message)
    document = message_document(workspace.bot, message, channel)
    return {"channel": channel.id, "ts": message.ts, "message": document}


def update(call: MethodCall) -> Json:
    workspace, arguments = call.workspace, call.arguments
    workspace.site.count_call(("chat.update", workspace.id), workspace.site.update_interval)
    channel = channel_by_id(call)
    message = channel.messages.get(arguments.required("ts"))
    if message is None:
        raise SlackError("message_not_found")
    if message.user != workspace.bot.user:
        raise SlackError("cant_update_message")
    if channel.archived:
        raise SlackError("is_archived")
    text, blocks = content_of(arguments, MAX_UPDATE_LENGTH, workspace.site.unsupported_blocks)
    metadata = metadata_of(arguments)
    edit(message, text, blocks, workspace.site.clock.ts())
    message.metadata = metadata or message.metadata
    message.broadcast = message.broadcast or (
        message.is_reply and arguments.flag("reply_broadcast")
    )
    workspace.notify(channel, message)
    document = message_document(workspace.bot, message, channel)
    return {"channel": channel.id, "ts": message.ts, "text": text, "message": document}


def edit(message: Message, text: str, blocks: list[Json] | None, at: str) -> None:
    """An update with text alone removes the blocks."""
    message.versions.append(Version(message.text, message.blocks))
    message.text, message.blocks, message.edited_ts = text, blocks or [], at


def post_ephemeral(call: MethodCall) -> Json:
    workspace, arguments = call.workspace, call.arguments
    channel = channel_by_id(call)
    if not channel.member:
        raise SlackError("not_in_channel")
    if channel.archived:
        raise SlackError("is_archived")
    user = workspace.users.get(arguments.required("user"))
    if user is None or user.deleted:
        raise SlackError("user_not_in_channel")
    text, blocks = content_of(arguments, MAX_POST_LENGTH)
    ephemeral = EphemeralMessage(user.id, channel.id, text, blocks or [])
    ephemeral.thread_ts = arguments.text("thread_ts") or None
    return {"message_ts": workspace.add_ephemeral(ephemeral).ts}


def permalink(call: MethodCall) -> Json:
    channel = channel_by_id(call)
    ts = call.arguments.required("message_ts")
    if ts not in channel.messages:
        raise SlackError("message_not_found")
    link = f"{call.workspace.site.url}/archives/{channel.id}/p{ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


def channel_by_id(call: MethodCall) -> Channel:
    """Most methods find a channel only by its id; chat.postMessage also accepts a name."""
    channel = call.workspace.channels.get(call.arguments.required("channel"))
    if channel is None or (channel.private and not channel.member):
        raise SlackError("channel_not_found")
    return channel


def _channel_to_post_to(call: MethodCall) -> Channel:
    channel = call.workspace.channel(call.arguments.required("channel"))
    if channel.private and not channel.member:
        raise SlackError("channel_not_found")
    if not channel.member and "chat:write.public" not in call.token.scopes:
        raise SlackError("not_in_channel")
    if channel.archived:
        raise SlackError("is_archived")
    return channel


def _require_allowed(channel: Channel, thread_ts: str | None) -> None:
    """As admins have set up the channel, and the thread in it."""
    if channel.restriction in RESTRICTIONS[thread_ts is not None]:
        raise SlackError(f"restricted_action_{channel.restriction}")
    thread = channel.parent(thread_ts).thread if thread_ts else ""
    if thread == "locked":
        raise SlackError("restricted_action_thread_locked")
    if thread == "impossible":
        raise SlackError("cannot_reply_to_message")


def auth_test(call: MethodCall) -> Json:
    workspace = call.workspace
    return {
        "url": f"{workspace.site.url}/",
        "team": workspace.name,
        "user": "relay",
        "team_id": workspace.id,
        "user_id": workspace.bot.user,
        "bot_id": workspace.bot.id,
        "is_enterprise_install": False,
    }


def info_of_channel(call: MethodCall) -> Json:
    channel = channel_by_id(call)
    call.require_scope("groups:read" if channel.private else "channels:read")
    return {"channel": channel_document(channel, call.workspace.id)}


def history(call: MethodCall) -> Json:
    channel = _readable_channel(call)
    visible = [m for m in channel.messages.values() if m.broadcast or not m.is_reply]
    return _page(call, channel, between(call.arguments, visible)[::-1], 100)


def replies(call: MethodCall) -> Json:
    channel = _readable_channel(call)
    parent = channel.parent(call.arguments.required("ts"))
    found = between(call.arguments, channel.replies(parent.ts))
    return _page(call, channel, [parent, *found], 999)


def user_by_email(call: MethodCall) -> Json:
    email = call.arguments.required("email").lower()
    for user in call.workspace.users.values():
        if user.email.lower() == email and not user.deleted:
            return {"user": user_document(user, with_email=True)}
    raise SlackError("users_not_found")


def user_info(call: MethodCall) -> Json:
    workspace, user_id = call.workspace, call.arguments.required("user")
    bot = User(workspace.bot.user, workspace.id, "relay", is_bot=True)
    user = bot if user_id == bot.id else workspace.users.get(user_id)
    if user is None:
        raise SlackError("user_not_found")
    return {"user": user_document(user, with_email="users:read.email" in call.token.scopes)}


def _readable_channel(call: MethodCall) -> Channel:
    channel = channel_by_id(call)
    call.require_scope("groups:history" if channel.private else "channels:history")
    if not channel.member:
        raise SlackError("not_in_channel")
    return channel


def _page(call: MethodCall, channel: Channel, found: Sequence[Message], default: int) -> Json:
    messages, cursor = call.arguments.page(found, default)
    with_metadata = call.arguments.flag("include_all_metadata")
    bot = call.workspace.bot
    documents = [message_document(bot, m, channel, with_metadata=with_metadata) for m in messages]
    more = {"response_metadata": {"next_cursor": cursor}} if cursor else {}
    return {"messages": documents, "has_more": bool(cursor), **more}


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
