"""Views (modals): opened with a trigger, filled in by a user and submitted.

Source: https://docs.slack.dev/surfaces/modals
        https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
Errors: SlackError for the App's calls; ValueError if a user could not do what a test wants.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.slack.block_kit import view_errors
from sandbox.slack.model import Json, SlackError
from sandbox.slack.request import Arguments, MethodCall, Methods
from sandbox.slack.triggers import Triggers
from sandbox.slack.workspace import Workspace

SELECTS_MANY = ("checkboxes", "multi_static_select")
SELECTS_ONE = ("static_select", "radio_buttons")
MAX_SIZE = 250_000


def state_of(blocks: list[Json], values: Mapping[str, Any]) -> Json:
    """`state.values`. `values`: block_id or action_id -> a text or the value of an option."""
    unused = set(values)
    state: Json = {}
    for block in blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        action_id = element.get("action_id", f"{block['block_id']}-element")
        names = {block["block_id"], action_id} & values.keys()
        unused -= names
        value = values[names.pop()] if names else _initial(element)
        filled = _filled(element, value)
        if not block.get("optional") and _is_empty(filled):
            raise ValueError(f"{block['block_id']} must be filled in")
        state[block["block_id"]] = {action_id: filled}
    if unused:
        raise ValueError(f"the view has no {', '.join(sorted(unused))}")
    return state


def _initial(element: Json) -> Any:
    if element["type"] in SELECTS_MANY:
        return [option["value"] for option in element.get("initial_options", [])]
    if element["type"] in SELECTS_ONE:
        return element.get("initial_option", {}).get("value")
    return element.get("initial_value")


def _filled(element: Json, value: Any) -> Json:
    kind = element["type"]
    if kind in SELECTS_ONE:
        return {"type": kind, "selected_option": _option(element, value) if value else None}
    if kind in SELECTS_MANY:
        return {"type": kind, "selected_options": [_option(element, v) for v in value or []]}
    text = str(value) if value else None
    if text is not None:
        shortest, longest = element.get("min_length", 0), element.get("max_length", 3000)
        if not shortest <= len(text) <= longest:
            raise ValueError(f"the text must have {shortest} to {longest} characters")
    return {"type": kind, "value": text}


def _option(element: Json, value: Any) -> Json:
    groups = element.get("option_groups", [{"options": element.get("options", [])}])
    options: list[Json] = [option for group in groups for option in group["options"]]
    for option in options:
        if option["value"] == value:
            return option
    raise ValueError(f"{value} is not among {', '.join(o['value'] for o in options)}")


def _is_empty(filled: Json) -> bool:
    return not any(filled.get(name) for name in ("value", "selected_option", "selected_options"))


@dataclass(slots=True)
class View:
    """A view that is open for one user. `errors`: block_id -> the error shown below its field."""

    id: str
    workspace: Workspace = field(repr=False)
    user: str
    document: Json
    open: bool = True
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def blocks(self) -> list[Json]:
        return list(self.document["blocks"])

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(self.document).encode()).hexdigest()[:16]

    def payload(self, values: Json | None = None) -> Json:
        """The view in responses and in interaction payloads."""
        defaults = {"private_metadata": "", "callback_id": "", "submit": None, "close": None}
        return {
            **defaults,
            **self.document,
            "id": self.id,
            "team_id": self.workspace.id,
            "state": {"values": values or {}},
            "hash": self.hash,
            "root_view_id": self.id,
            "previous_view_id": None,
            "app_id": self.workspace.bot.app_id,
            "bot_id": self.workspace.bot.id,
        }


class Views:
    def __init__(self, triggers: Triggers) -> None:
        self.opened: list[View] = []
        self._triggers = triggers

    def methods(self) -> Methods:
        return {"views.open": ("", self._open), "views.update": ("", self._update)}

    def newest(self, user: str) -> View:
        """The view that the user sees."""
        for view in reversed(self.opened):
            if view.user == user and view.open:
                return view
        raise ValueError(f"no view is open for {user}")

    def fill(self, view: View, values: Mapping[str, Any]) -> Json:
        """The view of the payload, if a user could fill it in like that."""
        if not view.open:
            raise ValueError("the view is closed")
        if "submit" not in view.document:
            raise ValueError("the view has no submit button")
        return view.payload(state_of(view.blocks, values))

    def apply_response(self, view: View, response: Any) -> None:
        """A response without an action closes the view."""
        action = response.get("response_action") if isinstance(response, dict) else None
        view.errors = {}
        if action == "errors":
            view.errors = _errors(view, response.get("errors"))
        elif action in ("update", "push"):
            view.document = _validated(response.get("view"))
        elif action in (None, "clear"):
            view.open = False
        else:
            raise SlackError("invalid_response_action")

    def _open(self, call: MethodCall) -> Json:
        document = _view_argument(call.arguments)
        user = self._triggers.use(call.arguments.required("trigger_id"), call.workspace)
        number = len(self.opened) + 1
        view = View(f"V{number:08d}", call.workspace, user.id, document)
        self.opened.append(view)
        return {"view": view.payload()}

    def _update(self, call: MethodCall) -> Json:
        document = _view_argument(call.arguments)
        view_id, expected_hash = call.arguments.required("view_id"), call.arguments.text("hash")
        for view in self.opened:
            if view.id == view_id and view.workspace is call.workspace and view.open:
                if expected_hash and expected_hash != view.hash:
                    raise SlackError("hash_conflict")
                view.document = document
                return {"view": view.payload()}
        raise SlackError("not_found")


def _view_argument(arguments: Arguments) -> Json:
    arguments.required("view")
    return _validated(arguments.parsed("view", "invalid_arguments"))


def _validated(view: Any) -> Json:
    if len(json.dumps(view).encode()) > MAX_SIZE:
        raise SlackError("view_too_large")
    if errors := view_errors(view):
        raise SlackError("invalid_arguments", response_metadata={"messages": errors})
    # Slack adds the block_ids that are missing.
    blocks = [{"block_id": f"b{n}", **block} for n, block in enumerate(view["blocks"])]
    return {**view, "blocks": blocks}


def _errors(view: View, errors: Any) -> dict[str, str]:
    """Slack accepts errors only for input blocks."""
    inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
    if not isinstance(errors, dict) or not errors or not errors.keys() <= inputs:
        raise SlackError("invalid_response_errors")
    return {str(block): str(message) for block, message in errors.items()}
