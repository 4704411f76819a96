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
        return f"The demo stopped: {reason}. Run it again."
    lines = "\n".join(f"  {line}" for line in found)
    return (
        f"The demo stopped: {reason}. Run it again; if it stops there once more, look for the cause"
        f" in these lines of the relay's log:\n{lines}"
    )


def _lines_that_matter(log: Path) -> list[str]:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    severe = [line for line in map(_severe, lines) if line]
    return (list(dict.fromkeys(severe)) or lines)[-_MOST_LINES:]


def _severe(line: str) -> str:
    """A warning or an error in short, or what is no record, without the inside of tracebacks."""
    try:
        record = json.loads(line)
    except ValueError:
        return "" if line.startswith((" ", "Traceback")) else line
    if not isinstance(record, dict) or record.get("level") not in _SEVERE:
        return ""
    parts = [record.get("event"), record.get("error"), record.get("exception")]
    return ": ".join(str(part) for part in parts if part)
