"""What people do in Slack -> what they request, as plain data.

Source: docs.slack.dev/reference/interaction-payloads (block_actions, view_submission),
docs.slack.dev/reference/events (app_uninstalled, tokens_revoked) and "Implementing slash commands".
Units: every string can be stored by PostgreSQL. `ActionRequest.key` is the same for the same press,
however often it is delivered.
Errors: `UserError`, with what is not as Slack sends it. Only what is used is checked, and what
the relay has no use for is `Response(None)`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as PayloadError

from webhook.deployments.actions import ActionRequest, Reply, Requester, request_key
from webhook.errors import MALFORMED, UserError
from webhook.github.events import storable
from webhook.invocation import COMMAND
from webhook.slack.actions.contract import Actions

_LONGEST_NAME = 80
# Slack's URLs and trigger ids are far shorter.
_LONGEST = 3000
# Longer than any message.
_LONGEST_TYPED = 40_000
_VALUE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18})(?:\.(.{1,255}))?)?", re.ASCII)


def _text(value: Any) -> str:
    return str(storable(value)) if isinstance(value, str) and len(value) <= _LONGEST else ""


def _object_or_none(value: Any) -> Any:
    return value if isinstance(value, dict) else None


def _long_text(value: Any) -> str:
    """What is too long is to be answered, not to be taken for nothing."""
    return str(storable(value[:_LONGEST_TYPED])) if isinstance(value, str) else ""


# What may be missing, and is "" then.
Text = Annotated[str, BeforeValidator(_text)]
LongText = Annotated[str, BeforeValidator(_long_text)]
# Of a workspace or user.
Id = Annotated[Text, StringConstraints(pattern=r"^[A-Z0-9]{2,40}$")]
OptionalId = Annotated[Text, StringConstraints(pattern=r"^([A-Z0-9]{2,40})?$")]


class Payload(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Workspace(Payload):
    id: OptionalId = ""


class User(Payload):
    id: Id
    team_id: OptionalId = ""
    username: Text = ""
    name: Text = ""


class Interaction(Payload):
    """`team` is null where the app is installed for a whole organisation."""

    team: Workspace | None = None
    enterprise: Workspace | None = None
    user: User
    trigger_id: Text = ""

    @property
    def requester(self) -> Requester:
        team = (self.team and self.team.id) or (self.enterprise and self.enterprise.id) or ""
        return requester(
            team, self.user.id, self.user.team_id or team, self.user.username or self.user.name
        )


class Press(Payload):
    action_id: Text = ""
    value: Text = ""
    action_ts: Text = ""


class BlockActions(Interaction):
    response_url: Text = ""
    actions: list[Press] = Field(min_length=1)


class Option(Payload):
    value: Text = ""


class Element(Payload):
    value: Text = ""
    selected_option: Option | None = None


class State(Payload):
    values: dict[str, dict[str, Element]] = {}


class View(Payload):
    id: Text = ""
    private_metadata: Text = ""
    state: State = State()

    def field(self, name: str) -> str:
        """Of the element that is called like its block."""
        element = self.state.values.get(name, {}).get(name, Element())
        return element.selected_option.value if element.selected_option else element.value


class ViewSubmission(Interaction):
    view: View


class SlashCommand(Payload):
    ssl_check: Text = ""
    command: Text = ""
    text: LongText = ""
    team_id: Text = ""
    enterprise_id: Text = ""
    user_id: Text = ""
    user_name: Text = ""
    response_url: Text = ""
    trigger_id: Text = ""

    @property
    def requester(self) -> Requester:
        team = self.team_id or self.enterprise_id
        return requester(team, self.user_id, team, self.user_name)


class RevokedTokens(Payload):
    """People's own tokens are revoked too; the relay uses none."""

    bot: Any = None


class Event(Payload):
    type: Text = ""
    tokens: Annotated[RevokedTokens | None, BeforeValidator(_object_or_none)] = None


class EventCallback(Payload):
    type: Text = ""
    challenge: Text = ""
    team_id: Text = ""
    event_time: Any = None
    event: Annotated[Event | None, BeforeValidator(_object_or_none)] = None


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """The workspace's token is no longer valid, since `at`."""

    team: str
    reason: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Response:
    """Sent at once, and nothing else is to be done; None: an empty one."""

    document: Mapping[str, Any] | None = None


Parsed = ActionRequest | TokenRevoked | Response
_Model = TypeVar("_Model", bound=Payload)


def read(model: type[_Model], document: Any) -> _Model:
    try:
        return model.model_validate(document)
    except PayloadError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the payload"
        message = f"not as Slack sends it: {where}: {first['msg']}"
        raise UserError(message, code=MALFORMED) from None


def parse_press(payload: Any, actions: Actions) -> Parsed:
    """A button; those that only open a page (Logs) send a press too."""
    interaction = read(BlockActions, payload)
    press = interaction.actions[0]
    action = actions.get(press.action_id)
    if action is None:
        return Response()
    parts = _VALUE.fullmatch(press.value)
    if parts is None:
        message = f"not as Slack sends it: the value of '{action.name}' is not a number"
        raise UserError(message, code=MALFORMED)
    who, value = interaction.requester, int(parts[1])
    target, environment = int(parts[2] or 0), parts[3] or ""
    trigger = interaction.trigger_id if action.opens_form else ""
    once = (action.name, press.value, interaction.trigger_id, press.action_ts)
    inputs = {"lock": str(value)} if action.names_lock else {}
    return ActionRequest(
        key=request_key("press", who.team, who.user, *once),
        kind=action.name,
        exclusive_group=action.group(target, environment),
        requester=who,
        reply=Reply(interaction.response_url, trigger, value if action.confirms else 0),
        deployment_id=None if action.confirms or action.names_lock else value,
        target=target,
        inputs=inputs | ({"environment": environment} if environment else {}),
    )


def parse_event(document: Any) -> Parsed:
    """An event; also Slack's test whether the address responds."""
    callback = read(EventCallback, document)
    if callback.type == "url_verification":
        return Response({"challenge": callback.challenge})
    event = callback.event
    if callback.type != "event_callback" or event is None:
        return Response()
    if event.type == "app_uninstalled":
        reason = "the Slack app was removed from this workspace"
    elif event.type == "tokens_revoked" and event.tokens and event.tokens.bot:
        reason = "the Slack app's token was revoked in this workspace"
    else:
        return Response()
    remedy = f"install it again ({COMMAND} slack install-link)"
    team = _valid_id(callback.team_id)
    return TokenRevoked(team, f"{reason}; {remedy}", _time(callback.event_time))


def requester(team: str, user: str, home: str, name: str) -> Requester:
    """`home`: the user's own workspace."""
    team, user, home = (_valid_id(one) for one in (team, user, home))
    return Requester(team, user if home == team else f"{home}/{user}", name[:_LONGEST_NAME] or user)


class _Identified(Payload):
    id: Id


def _valid_id(text: str) -> str:
    return read(_Identified, {"id": text}).id


def _time(seconds: Any) -> datetime | None:
    if not isinstance(seconds, int | float) or not 0 < seconds < 2**33:
        return None
    return datetime.fromtimestamp(seconds, UTC)
