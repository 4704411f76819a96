"""Slack's documents: messages, channels and users as the API returns them."""

from sandbox.slack.model import ENTERPRISE, Bot, Channel, Json, Message, User


def message_document(
    bot: Bot, message: Message, channel: Channel, *, with_metadata: bool = True
) -> Json:
    document: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "text": message.text,
        "team": bot.team_id,
        **_thread(message, channel),
    }
    if message.user == bot.user:
        document |= {"bot_id": bot.id, "app_id": bot.app_id}
    if message.blocks:
        document["blocks"] = message.blocks
    if message.metadata and with_metadata:
        document["metadata"] = message.metadata
    if message.edited_ts:
        document["edited"] = {"user": message.user, "ts": message.edited_ts}
    if message.broadcast:
        document["subtype"] = "thread_broadcast"
    return document


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
    home = user.home or user.team_id
    profile: Json = {"real_name": user.name, "display_name": user.name, "team": home}
    if with_email and user.email:
        profile["email"] = user.email
    document: Json = {
        "id": user.id,
        "team_id": home,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.name,
        "profile": profile,
        "is_bot": user.is_bot,
        "is_app_user": False,
    }
    if user.home:
        document["enterprise_user"] = {
            "id": user.id,
            **{f"enterprise_{name}": text for name, text in ENTERPRISE.items()},
            "is_admin": False,
            "is_owner": False,
            "teams": [user.home, user.team_id],
        }
    # Slack leaves the field out for bots and deactivated users.
    return (
        document
        if user.is_bot or user.deleted
        else document | {"is_email_confirmed": user.confirmed}
    )


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
