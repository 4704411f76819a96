"""What a tool says of a run: `{"state", "description", "url", "environment_url"}`, all optional.

The document is the tool's, and may be anything: what does not fit is left out.
"""

import json
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Self

from yarl import URL

from handlers.contract import Run, State
from handlers.http import Answer

_STATES = {state.value: state for state in State} | {"pending": State.QUEUED}
# More than GitHub shows: the relay hides secrets and shortens then, or a part of one might be left.
LONGEST_DESCRIPTION = 1000
LONGEST_URL = 2000
LONGEST_WORD = 30


@dataclass(frozen=True, slots=True)
class Said:
    """`word` is what stands under `state`: lower case, and empty where there is nothing."""

    word: str = ""
    description: str = ""
    url: str = ""
    environment_url: str = ""

    @classmethod
    def of(cls, answer: Answer) -> Self:
        document = _document(answer.body)
        return cls(
            _word(document.get("state")),
            _line(document.get("description"), LONGEST_DESCRIPTION),
            _web(document.get("url")),
            _web(document.get("environment_url")),
        )

    @property
    def state(self) -> State | None:
        return _STATES.get(self.word)

    def changes(self, run: Run) -> Run:
        """How the run stands, now that this was said."""
        state, description = self.state or run.state, self.description
        if self.word and self.state is None:
            description = f"the tool says '{self.word}', which the relay does not know"
        if state is State.QUEUED and run.state is State.IN_PROGRESS:
            state = run.state  # it waits once more, which only the words can tell
            description = description or f"the tool says '{self.word}'"
        return replace(
            run,
            state=state,
            description=description,
            url=self.url or run.url,
            environment_url=self.environment_url or run.environment_url,
        )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _word(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return _line(text, LONGEST_WORD).lower()


def _line(value: Any, longest: int) -> str:
    """Plain text on one line, without what could turn or hide the text around it."""
    if not isinstance(value, str):
        return ""
    words = " ".join(value[: 10 * longest].split())
    plain = "".join(letter for letter in words if unicodedata.category(letter)[0] != "C")
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _web(value: Any) -> str:
    """Where people may be sent."""
    if not isinstance(value, str) or len(value) > LONGEST_URL or not value.isprintable():
        return ""
    try:
        url = URL(value)
        sound = url.scheme in ("http", "https") and url.host and url.user is None
    except ValueError:
        return ""
    return value if sound and " " not in value else ""
