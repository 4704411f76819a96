"""Slack's documents: a message as the API shows it."""

from webhook.sandbox.slack_model import Bot, Channel, Json, Message


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
