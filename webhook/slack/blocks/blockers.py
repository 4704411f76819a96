"""What keeps a deployment from starting, a line each: why, until when, and who can end it."""

from collections.abc import Sequence

from webhook.deployments.blockers import Blocker
from webhook.slack.blocks.mrkdwn import day_and_time, escape, units

# Of a reason, of a way out, and of all lines in a message.
_LONGEST_REASON, _LONGEST_WAY_OUT = 250, 160
LONGEST = 850
# Of an end, and what separates the parts.
_END = 100
_LEAST = 20


def blocker_lines(blockers: Sequence[Blocker], longest: int = LONGEST) -> str:
    """All of them; where there is little room, each has as much of it. "" where there are none."""
    text = _lines(blockers, _LONGEST_REASON, _LONGEST_WAY_OUT)
    if units(text) <= longest:
        return text
    room = max(_LEAST, longest // len(blockers) - _END)
    shorter = _lines(
        blockers, min(_LONGEST_REASON, room * 2 // 3), min(_LONGEST_WAY_OUT, room // 3)
    )
    return shorter if units(shorter) <= longest else f"• {len(blockers)} gates; its page has them"


def _lines(blockers: Sequence[Blocker], longest_reason: int, longest_way_out: int) -> str:
    return "\n".join(_line(one, longest_reason, longest_way_out) for one in blockers)


def _line(blocker: Blocker, longest_reason: int, longest_way_out: int) -> str:
    end = "" if blocker.denies else _end(blocker)
    way_out = escape(blocker.way_out, longest_way_out)
    parts = (escape(blocker.reason, longest_reason), end, way_out)
    return "• " + "  ·  ".join(part for part in parts if part)


def _end(blocker: Blocker) -> str:
    return f"until {day_and_time(blocker.until)}" if blocker.until else "no known end"
