"""The payloads that Slack sends to the App: interactions, commands and events.

Source: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
        https://docs.slack.dev/interactivity/implementing-slash-commands
        https://docs.slack.dev/apis/events-api
"""

import secrets
import time

from sandbox.slack.documents import message_document
from sandbox.slack.model import ENTERPRISE, Channel, EphemeralMessage, Json, Message, User
from sandbox.slack.workspace import Workspace

# Deprecated: apps verify the signature instead.
VERIFICATION_TOKEN = "sandbox-verification"


def find_button(blocks: list[Json], action_id: str, value: str | None = None) -> Json:
    """The button with that action_id, and its block_id; `value` where several have it."""
    for number, block in enumerate(blocks):
        elements = block.get("elements", []) if block["type"] == "actions" else []
        for element in [*elements, block.get("accessory")]:
            if not element or element.get("type") != "button" or _id(element) != action_id:
                continue
            if value in (None, element.get("value")):
                return {"block_id": block.get("block_id") or f"b{number}", **element}
    raise LookupError(f"there is no button {action_id}")


def _id(element: Json) -> str:
    return str(element.get("action_id", ""))


def block_actions(
    workspace: Workspace,
    user: User,
    channel: Channel,
    pressed: Message | EphemeralMessage,
    button: Json,
) -> Json:
    kept = ("action_id", "block_id", "text", "value", "style", "url", "type", "confirm")
    action = {name: button[name] for name in kept if name in button}
    payload = _common(workspace, user, "block_actions") | {
        "container": {
            "type": "message",
            "message_ts": pressed.ts,
            "channel_id": channel.id,
            "is_ephemeral": isinstance(pressed, EphemeralMessage),
            **({"thread_ts": pressed.thread_ts} if pressed.thread_ts else {}),
        },
        "channel": {"id": channel.id, "name": "privategroup" if channel.private else channel.name},
        "state": {"values": {}},
        "actions": [{**action, "action_ts": workspace.site.clock.ts()}],
    }
    if isinstance(pressed, Message):  # Slack does not keep ephemeral messages
        payload["message"] = message_document(workspace.bot, pressed, channel)
    return payload


def view_submission(workspace: Workspace, user: User, view: Json) -> Json:
    return _common(workspace, user, "view_submission") | {"view": view, "response_urls": []}


def command(workspace: Workspace, user: User, channel: Channel, name: str, text: str) -> Json:
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": workspace.id,
        "team_domain": workspace.domain,
        "channel_id": channel.id,
        "channel_name": "privategroup" if channel.private else channel.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": name,
        "text": text,
        "api_app_id": workspace.bot.app_id,
        "is_enterprise_install": "false",
        **_enterprise_of(user),
    }


def _enterprise_of(user: User) -> Json:
    return {f"enterprise_{name}": text for name, text in ENTERPRISE.items() if user.home}


def event(workspace: Workspace, body: Json) -> Json:
    authorization = {
        "enterprise_id": None,
        "team_id": workspace.id,
        "user_id": workspace.bot.user,
        "is_bot": True,
        "is_enterprise_install": False,
    }
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": workspace.id,
        "api_app_id": workspace.bot.app_id,
        "event": {**body, "event_ts": workspace.site.clock.ts()},
        "type": "event_callback",
        "event_id": f"Ev{secrets.token_hex(5).upper()}",
        "event_time": int(time.time()),
        "authorizations": [authorization],
        "is_ext_shared_channel": False,
    }


def challenge() -> Json:
    """What Slack sends when an events URL is entered; the App must respond with the challenge."""
    return {
        "token": VERIFICATION_TOKEN,
        "challenge": secrets.token_urlsafe(24),
        "type": "url_verification",
    }


def _common(workspace: Workspace, user: User, kind: str) -> Json:
    return {
        "type": kind,
        "user": {
            "id": user.id,
            "username": user.name,
            "name": user.name,
            "team_id": user.home or user.team_id,
        },
        "api_app_id": workspace.bot.app_id,
        "token": VERIFICATION_TOKEN,
        "team": {"id": workspace.id, "domain": workspace.domain, **_enterprise_of(user)},
        "enterprise": dict(ENTERPRISE) if user.home else None,
        "is_enterprise_install": False,
    }
