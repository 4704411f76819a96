"""What is wrong with blocks and forms, in Slack's words.

Errors: `[ERROR] must be less than ... [json-pointer:/blocks/0/text]`.
"""

from collections.abc import Callable
from typing import Any


class Problems:
    """What was found, in Slack's words."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, words: str, at: str) -> None:
        self.found.append(f"[ERROR] {words} [json-pointer:{at}]")

    def string(self, value: Any, limit: int, at: str) -> None:
        if not isinstance(value, str):
            self.add("must be a string", at)
        elif not value:
            self.add("must be more than 0 characters", at)
        elif len(value) > limit:
            self.add(f"must be less than {limit + 1} characters", at)

    def items(self, value: Any, limit: int, at: str) -> list[Any]:
        if not isinstance(value, list):
            self.add("must be an array", at)
            return []
        if not value:
            self.add("must have at least 1 item", at)
        if len(value) > limit:
            self.add(f"no more than {limit} items allowed", at)
        return value

    def flag(self, value: Any, at: str) -> None:
        if not isinstance(value, bool):
            self.add("must be a boolean", at)

    def number(self, value: Any, low: int, high: int, at: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            self.add("must be an integer", at)
        elif not low <= value <= high:
            self.add(f"must be between {low} and {high}", at)

    def unique(self, values: list[Any], name: str, at: str) -> None:
        given = [v[name] for v in values if isinstance(v, dict) and name in v]
        for twice in sorted({str(v) for v in given if given.count(v) > 1}):
            self.add(f"{name} already exists: {twice}", at)

    def keys(self, value: Any, required: str, optional: str, at: str) -> bool:
        """Whether it is an object with all of those keys; any other key is a fault."""
        if not isinstance(value, dict):
            self.add("must be an object", at)
            return False
        missing = [key for key in required.split() if key not in value]
        for key in missing:
            self.add(f"missing required field: {key}", at)
        for key in value.keys() - {*required.split(), *optional.split()}:
            self.add(f"additional property not allowed: {key}", at)
        return not missing

    def text(self, value: Any, limit: int, at: str, *, plain: bool = False) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        allowed = ("plain_text",) if plain else ("plain_text", "mrkdwn")
        if kind not in allowed:
            self.add(f"unsupported type: {kind}", at)
        elif self.keys(value, "type text", "emoji" if kind == "plain_text" else "verbatim", at):
            self.string(value["text"], limit, f"{at}/text")


Rule = Callable[[Problems, Any, str], None]
