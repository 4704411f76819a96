"""What keeps a deployment from starting, a line each: why, until when, and who can end it."""

from collections.abc import Sequence

from webhook.deployments.blockers import Blocker
from webhook.slack.blocks.mrkdwn import day_and_time, escape, units

# Of a reason and of a way out, by how much room there is; and of all lines in a message.
_LONGEST_PARTS = ((250, 160), (150, 100), (100, 80), (70, 60), (45, 35), (25, 20))
LONGEST = 850


def blocker_lines(blockers: Sequence[Blocker], longest: int = LONGEST) -> str:
    """All of them; where there is little room, each has as much of it. "" where there are none."""
    for reason, way_out in _LONGEST_PARTS:
        text = "\n".join(_line(one, reason, way_out) for one in blockers)
        if units(text) <= longest:
            return text
    return f"• {len(blockers)} gates; its page has them"


def _line(blocker: Blocker, longest_reason: int, longest_way_out: int) -> str:
    end = "" if blocker.denies else _end(blocker)
    way_out = escape(blocker.way_out, longest_way_out)
    parts = (escape(blocker.reason, longest_reason), end, way_out)
    return "• " + "  ·  ".join(part for part in parts if part)


def _end(blocker: Blocker) -> str:
    return f"until {day_and_time(blocker.until)}" if blocker.until else "no known end"
