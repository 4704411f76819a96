"""The stand-in's forms (modals): opened with a trigger, filled in and submitted.

Source: https://docs.slack.dev/surfaces/modals
        https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
Errors: SlackError for the App's calls; ValueError where a person could not do what a test wants.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.slack.blocks import faults_of_view
from sandbox.slack.call import Asked, Methods
from sandbox.slack.filling import state_of
from sandbox.slack.model import Json, SlackError
from sandbox.slack.request import Arguments
from sandbox.slack.triggers import Triggers
from sandbox.slack.workspace import Workspace

TOO_LARGE = 250_000


@dataclass(slots=True)
class View:
    """A form on one person's screen. `errors` are what it shows beside its fields."""

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

    def shown(self, values: Json | None = None) -> Json:
        """As the API and the payloads show it."""
        given = {"private_metadata": "", "callback_id": "", "submit": None, "close": None}
        return {
            **given,
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
        """The form in front of that person."""
        for view in reversed(self.opened):
            if view.user == user and view.open:
                return view
        raise ValueError(f"no form is open for {user}")

    def fill(self, view: View, values: Mapping[str, Any]) -> Json:
        """The payload's view, as far as a person could fill it in so."""
        if not view.open:
            raise ValueError("the form is closed")
        if "submit" not in view.document:
            raise ValueError("the form has no button to submit it")
        return view.shown(state_of(view.blocks, values))

    def take_answer(self, view: View, answer: Any) -> None:
        """What the App's answer does: no action closes the form."""
        action = answer.get("response_action") if isinstance(answer, dict) else None
        view.errors = {}
        if action == "errors":
            view.errors = _errors(view, answer.get("errors"))
        elif action in ("update", "push"):
            view.document = _checked(answer.get("view"))
        elif action in (None, "clear"):
            view.open = False
        else:
            raise SlackError("invalid_response_action")

    def _open(self, asked: Asked) -> Json:
        document = _given(asked.arguments)
        user = self._triggers.take(asked.arguments.required("trigger_id"), asked.workspace)
        number = len(self.opened) + 1
        view = View(f"V{number:08d}", asked.workspace, user.id, document)
        self.opened.append(view)
        return {"view": view.shown()}

    def _update(self, asked: Asked) -> Json:
        document = _given(asked.arguments)
        view_id, given_hash = asked.arguments.required("view_id"), asked.arguments.text("hash")
        for view in self.opened:
            if view.id == view_id and view.workspace is asked.workspace and view.open:
                if given_hash and given_hash != view.hash:
                    raise SlackError("hash_conflict")
                view.document = document
                return {"view": view.shown()}
        raise SlackError("not_found")


def _given(arguments: Arguments) -> Json:
    arguments.required("view")
    return _checked(arguments.parsed("view", "invalid_arguments"))


def _checked(view: Any) -> Json:
    if len(json.dumps(view).encode()) > TOO_LARGE:
        raise SlackError("view_too_large")
    if faults := faults_of_view(view):
        raise SlackError("invalid_arguments", response_metadata={"messages": faults})
    # Slack names what the App left unnamed.
    blocks = [{"block_id": f"b{n}", **block} for n, block in enumerate(view["blocks"])]
    return {**view, "blocks": blocks}


def _errors(view: View, errors: Any) -> dict[str, str]:
    """Slack shows an error only beside an input block; with any other it shows a trouble."""
    inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
    if not isinstance(errors, dict) or not errors or not errors.keys() <= inputs:
        raise SlackError("invalid_response_errors")
    return {str(block): str(words) for block, words in errors.items()}
