"""Slack's documents: messages, channels and people as the API shows them."""

from sandbox.slack.model import Bot, Channel, Json, Message, User


def document(bot: Bot, message: Message, channel: Channel, *, with_metadata: bool = True) -> Json:
    shown: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "text": message.text,
        "team": bot.team_id,
        **_thread(message, channel),
    }
    if message.user == bot.user:
        shown |= {"bot_id": bot.id, "app_id": bot.app_id}
    if message.blocks:
        shown["blocks"] = message.blocks
    if message.metadata and with_metadata:
        shown["metadata"] = message.metadata
    if message.edited_ts:
        shown["edited"] = {"user": message.user, "ts": message.edited_ts}
    if message.broadcast:
        shown["subtype"] = "thread_broadcast"
    return shown


def _thread(message: Message, channel: Channel) -> Json:
    if message.thread_ts:
        return {"thread_ts": message.thread_ts}
    replies = channel.replies(message.ts)
    if not replies:
        return {}
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "latest_reply": replies[-1].ts,
    }


def user_document(user: User, *, with_email: bool) -> Json:
    profile: Json = {"real_name": user.name, "display_name": user.name, "team": user.team_id}
    if with_email and user.email:
        profile["email"] = user.email
    shown: Json = {
        "id": user.id,
        "team_id": user.team_id,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.name,
        "profile": profile,
        "is_bot": user.is_bot,
        "is_app_user": False,
    }
    # Slack has no word on the address of a bot, or of somebody who has left.
    return shown if user.is_bot or user.deleted else shown | {"is_email_confirmed": user.confirmed}


def channel_document(channel: Channel, team_id: str) -> Json:
    return {
        "id": channel.id,
        "name": channel.name,
        "is_channel": not channel.private,
        "is_private": channel.private,
        "is_archived": channel.archived,
        "is_member": channel.member,
        "context_team_id": team_id,
    }
