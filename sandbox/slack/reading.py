"""The stand-in's methods that read: who the bot is, people, and what stands in a channel.

Source: https://docs.slack.dev/reference/methods
"""

from collections.abc import Sequence

from sandbox.slack.call import Asked, Methods
from sandbox.slack.chat import by_id
from sandbox.slack.documents import channel_document, document, user_document
from sandbox.slack.model import Channel, Json, Message, SlackError, User
from sandbox.slack.request import between


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
    "auth.test": ("", auth_test),
    "conversations.info": ("", info_of_channel),
    "conversations.history": ("", history),
    "conversations.replies": ("", replies),
    "users.lookupByEmail": ("users:read.email", user_by_email),
    "users.info": ("users:read", user_info),
}
