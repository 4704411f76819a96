"""The keys of an environment as they hold, each with where that comes from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath
from typing import Any

from handlers import durations
from webhook.config.creation import DynamicPayload
from webhook.config.environments import Config, Environment
from webhook.engine.policy import FilePolicy
from webhook.gates.approval import Review, described
from webhook.gates.contract import Gates
from webhook.gates.freeze import FrozenWindow
from webhook.notifiers import NOTIFIERS
from webhook.repository_file.tighten import Line
from webhook.text import one_line

BY_DEFAULT = "default"
_LONGEST = 300
# What names an environment, what is for people, and what may hold secrets.
_LEFT_OUT = {"name", "repos", "options", "description"}


@dataclass(frozen=True, slots=True)
class Origins:
    """`operators`: the environment as deploy.yml has it. `policy`: what holds."""

    config: Config
    gates: Gates
    operators: Environment
    policy: FilePolicy

    def lines(self) -> Iterator[Line]:
        """Those of the gates first."""
        model = type(self.operators).model_fields
        of_gates = [name for gate in self.gates.values() for name in gate.Keys.model_fields]
        others = [name for name in model if name not in {*of_gates, *_LEFT_OUT, *NOTIFIERS}]
        for key in dict.fromkeys((*of_gates, *others)):
            yield from self._lines_of(key)

    def _lines_of(self, key: str) -> Iterator[Line]:
        said = [one for one in self.policy.lines if one.key.partition("[")[0] == key]
        if said:
            yield from said
            return
        value = getattr(self.policy.environment, key, None)
        yield Line(key, shown(value), self._origin(key))

    def _origin(self, key: str) -> str:
        line = self.config.lines_of(self.operators).get(key)
        return f"{PurePath(self.config.source).name}:{line}" if line else BY_DEFAULT


def shown(value: Any) -> str:
    """As people read it; "" for nothing."""
    if isinstance(value, tuple):
        return ", ".join(shown(one) for one in value)
    return one_line(_text(value), _LONGEST)


def _text(value: Any) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "true" if value else "false"
        case timedelta():
            text = durations.write(value.total_seconds())
        case Review():
            text = _review(value)
        case FrozenWindow():
            text = value.label
        case DynamicPayload():
            text = f"inputs {', '.join(value.inputs)}" if value.enabled else ""
        case dict():
            text = json.dumps(value, default=str)
        case _:
            text = str(value)
    return text


def _review(review: Review) -> str:
    if not review.enabled:
        return ""
    own = ", also of who asks" if review.own else ""
    lasts = f", for {durations.write(review.expires.total_seconds())}" if review.expires else ""
    return f"{review.count} of {described(review)}{own}{lasts}"
