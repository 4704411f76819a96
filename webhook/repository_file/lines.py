"""What holds, as people read it: a line for each key, and where it comes from."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from handlers import durations
from webhook.config.creation import Creation, DynamicPayload
from webhook.config.environments import Environment
from webhook.gates import GATES
from webhook.gates.approval import Review
from webhook.gates.freeze import FrozenWindow
from webhook.text import and_more, one_line

OPERATOR = "the operator's deploy.yml"
DEFAULT = "the default"
# Options may hold secrets; the other keys are of the notifiers.
_SHOWN = (
    "repos",
    "creators",
    "handler",
    "timeout",
    "wait_limit",
    "protection_rule",
    "break_glass",
    *Creation.model_fields,
    "description",
    "production_environment",
)
# Whoever shows it cuts it, once secrets are hidden in it; a part of one could not be found.
_LONGEST = 2000
# Within a sentence.
LONGEST_QUOTED = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A key of the environment, with what holds. `origin`: where that comes from, as people read
    it. `ignored`: what else the repository's file says, and why it does not count."""

    key: str
    value: str
    origin: str
    ignored: str = ""


def of_file(line: int, *, at_sha: bool) -> str:
    copy = " at the deployment's commit" if at_sha else ""
    return f"the repository's deploy.yml{copy}, line {line}"


def origins(several: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(several))


def operators_lines(environment: Environment) -> tuple[Line, ...]:
    """Of all keys that may be shown."""
    given = environment.model_fields_set
    of_gates = (key for gate in GATES.values() for key in gate.Keys.model_fields)
    keys = (key for key in (*_SHOWN, *of_gates) if key in type(environment).model_fields)
    return tuple(
        Line(key, text_of(getattr(environment, key)), OPERATOR if key in given else DEFAULT)
        for key in dict.fromkeys(keys)
    )


def text_of(value: Any, limit: int = _LONGEST) -> str:
    if value is None or (not value and isinstance(value, str | tuple | list)):
        return "none"
    if isinstance(value, tuple | list):
        return one_line(", ".join(map(text_of, value)), limit)
    return one_line(_text_of_one(value), limit)


def _text_of_one(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Review():
            return _review(value)
        case DynamicPayload():
            return f"inputs {', '.join(value.inputs)}" if value.enabled else "none"
        case timedelta():
            return durations.write(value.total_seconds())
        case FrozenWindow():
            return value.label
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _review(review: Review) -> str:
    if not review.enabled:
        return "none"
    who = [*review.approvers.values(), *(f"team {one}" for one in review.asked_teams)]
    return f"{review.count} of {and_more(who) if who else 'nobody'}"
