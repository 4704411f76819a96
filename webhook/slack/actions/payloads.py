"""What people do in Slack -> what they ask for, as plain data.

Source: docs.slack.dev/reference/interaction-payloads (block_actions) and docs.slack.dev/reference/
events (app_uninstalled, tokens_revoked).
Units: every string can be stored by PostgreSQL. `Asked.key` is the same for the same press,
however often it is delivered.
Errors: `UserError` for what Slack does not send. What the relay has no use for is `Said(None)`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self

from webhook.errors import MALFORMED, UserError
from webhook.github.events import storable

Kind = Literal["cancel", "retry", "rollback", "deploy", "status", "form"]

# What a button of ours has as its action_id. The value of the first three is the deployment's id,
# that of the last is the id of the action that waits to be confirmed.
PRESSES: Mapping[str, Kind] = {
    "cancel": "cancel",
    "retry": "retry",
    "rollback": "rollback",
    "deploy": "deploy",
}
LONGEST_NAME = 80
_ID = re.compile(r"[A-Z0-9]{2,40}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
# Slack's URLs and trigger ids are far shorter.
_LONGEST = 3000


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the answer goes. `url`: Slack's response_url, good for half an hour; `trigger` opens a
    form for three seconds. `confirms`: the action that waited for this press."""

    url: str = field(default="", repr=False)
    trigger: str = field(default="", repr=False)
    confirms: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)


@dataclass(frozen=True, slots=True)
class Who:
    """`team`: the workspace whose app was used. `user` is U…, of another workspace T…/U…."""

    team: str
    user: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Somebody asked for something. For a form, `repo` is what it begins with."""

    key: str
    kind: Kind
    who: Who
    reply: Reply
    deployment_id: int | None = None
    repo: str = ""
    environment: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The workspace's token is good for nothing any more, since `at`."""

    team: str
    trouble: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Said:
    """The answer is all that is to be done; None: an empty one."""

    document: Mapping[str, Any] | None = None


Taken = Asked | Stopped | Said


def pressed(payload: Mapping[str, Any]) -> Taken:
    """A button; those that only lead somewhere (Logs) are pressed too."""
    actions = payload.get("actions")
    action = actions[0] if isinstance(actions, list) and actions else None
    if not isinstance(action, dict):
        raise UserError("a block_actions payload without actions", code=MALFORMED)
    kind = PRESSES.get(text_at(action, "action_id"))
    if kind is None:
        return Said()
    value = text_at(action, "value")
    if not _NUMBER.fullmatch(value):
        raise UserError(f"the value of '{kind}' is not a number", code=MALFORMED)
    who = who_of(payload)
    trigger, at = text_at(payload, "trigger_id"), text_at(action, "action_ts")
    url = text_at(payload, "response_url")
    confirming = kind == "deploy"
    return Asked(
        key=key_of("press", who.team, who.user, kind, value, trigger, at),
        kind=kind,
        who=who,
        reply=Reply(url, confirms=int(value) if confirming else 0),
        deployment_id=None if confirming else int(value),
    )


def happened(document: Mapping[str, Any]) -> Taken:
    """An event; also Slack's question whether somebody is there."""
    kind = text_at(document, "type")
    if kind == "url_verification":
        return Said({"challenge": text_at(document, "challenge")})
    event = document.get("event")
    if kind != "event_callback" or not isinstance(event, dict):
        return Said()
    match text_at(event, "type"):
        case "app_uninstalled":
            trouble = "the Slack app was removed from this workspace"
        case "tokens_revoked" if _has_bot_tokens(event):
            trouble = "the Slack app's token was revoked in this workspace"
        case _:
            return Said()
    again = "install it again (python -m webhook slack install-link)"
    return Stopped(
        _id(text_at(document, "team_id")), f"{trouble}; {again}", _time(document.get("event_time"))
    )


def _has_bot_tokens(event: Mapping[str, Any]) -> bool:
    """People's own tokens are revoked too; the relay uses none."""
    tokens = event.get("tokens")
    return bool(isinstance(tokens, dict) and tokens.get("bot"))


def _time(seconds: Any) -> datetime | None:
    if not isinstance(seconds, int | float) or not 0 < seconds < 2**33:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def who_of(payload: Mapping[str, Any]) -> Who:
    """`team` is null where the app is installed for a whole organisation."""
    team = _id(text_at(payload, "team", "id") or text_at(payload, "enterprise", "id"))
    user = _id(text_at(payload, "user", "id"))
    home = text_at(payload, "user", "team_id") or team
    name = text_at(payload, "user", "username") or text_at(payload, "user", "name")
    return Who(team, user if home == team else f"{_id(home)}/{user}", name[:LONGEST_NAME] or user)


def who_typed(fields: Mapping[str, str]) -> Who:
    """Of a slash command."""
    team = _id(fields.get("team_id") or fields.get("enterprise_id", ""))
    user = _id(fields.get("user_id", ""))
    name = fields.get("user_name", "")
    return Who(team, user, name[:LONGEST_NAME] or user)


def key_of(*parts: str) -> str:
    """Short and without what could be used by whoever reads it: a trigger id is a secret."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def text_at(document: Any, *path: str) -> str:
    """The text there, empty where there is none."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if not isinstance(document, str) or len(document) > _LONGEST:
        return ""
    return str(storable(document))


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise UserError("the id of a workspace or user is missing or malformed", code=MALFORMED)
    return text
