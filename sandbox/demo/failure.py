"""What the demo says when it cannot go on: a sentence, and what matters of the relay's log.

Units: seconds.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

# Lines of the log.
_MOST_LINES = 8
_SEVERE = ("warning", "error", "critical")


class DemoError(Exception):
    """The message says what did not happen."""


@asynccontextmanager
async def expected(what: str, within: float) -> AsyncIterator[None]:
    """Errors: `DemoError` where it did not happen by then."""
    try:
        async with asyncio.timeout(within):
            yield
    except TimeoutError:
        raise DemoError(f"{what} did not happen within {within:g} s") from None


def explanation(error: Exception, log: Path) -> str:
    reason = str(error) or type(error).__name__
    found = _lines_that_matter(log)
    if not found:
        return f"The demo failed: {reason}. Run it again."
    lines = "\n".join(f"  {line}" for line in found)
    return (
        f"The demo failed: {reason}. Run it again; if it fails there once more, look for the cause"
        f" in these lines of the relay's log:\n{lines}"
    )


def _lines_that_matter(log: Path) -> list[str]:
    """Warnings and errors; where there are none, the newest lines."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    records = [_record(line) for line in lines]
    severe = [text for text, is_severe in records if is_severe]
    found = dict.fromkeys(severe or [text for text, _ in records])
    return [text for text in found if text][-_MOST_LINES:]


def _record(line: str) -> tuple[str, bool]:
    """In short, without the inside of tracebacks; what is no record counts as severe."""
    try:
        record = json.loads(line)
    except ValueError:
        text = "" if line.startswith((" ", "Traceback")) else line
        return text, bool(text)
    if not isinstance(record, dict):
        return line, True
    parts = [record.get(name) for name in ("event", "error", "description", "exception")]
    return ": ".join(str(part) for part in parts if part), record.get("level") in _SEVERE
