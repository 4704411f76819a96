"""How a run ended, in the words that GitHub shows."""

import signal
import time
from pathlib import Path

from handlers.redaction import redacted
from handlers.supervision import rundir

LONGEST_DESCRIPTION = 140  # characters; GitHub refuses more
ROOM_WILL_BE_MADE = 3600  # seconds


def outcome(code: int, last_line: str) -> tuple[str, str]:
    """State and description of a command that ended by itself; a success needs no words."""
    if code == 0:
        return "success", ""
    if code < 0:
        return "failure", f"killed by {_signal_name(-code)}"
    return "failure", f"exit code {code}: {last_line}" if last_line else f"exit code {code}"


def record(directory: Path, order: rundir.Order, state: str, words: str, url: str = "") -> None:
    words = redacted(words, order.secrets)
    if len(words) > LONGEST_DESCRIPTION:
        words = words[: LONGEST_DESCRIPTION - 1] + "…"
    url = url or (order.environment_url if state == "success" else "")
    end = {"state": state, "description": words, "environment_url": url}
    for _ in range(ROOM_WILL_BE_MADE):
        try:
            rundir.write(directory, "end", end)
        except FileNotFoundError:
            return  # somebody removed the run's directory
        except OSError:
            time.sleep(1)  # a full disk is no reason to call the run lost
        else:
            return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
