"""How the insights write amounts: durations, shares, counts."""

from collections.abc import Sequence

from webhook.store.insights import Spread

# A figure of fewer is none.
FEWEST = 5
_DAY = 86_400
# Deployments, commits: "1 deployment", "2 deployments".
_NOUNS = {"deployment": "deployments", "change": "changes", "commit": "commits"}


def span(seconds: float) -> str:
    """Two digits are enough for a median: 42 s, 3.4 min, 17 h, 2.5 d."""
    for size, unit in ((_DAY, "d"), (3600, "h"), (60, "min")):
        if round(seconds / size, 2) >= 1:
            return f"{short(seconds / size)} {unit}"
    return f"{seconds:.0f} s"


def short(number: float) -> str:
    text = f"{number:,.0f}" if number >= 9.95 else f"{number:.1f}"
    return text.removesuffix(".0")


def share(part: int, of: int) -> str:
    return f"{100 * part / of:.0f}%" if of else ""


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else _NOUNS[noun]}"


def median(spread: Spread) -> str:
    return span(spread.median) if spread.median is not None else ""


def high(spread: Spread, name: str = "p90") -> str:
    return f"median; {name} {span(spread.high)}; " if spread.high is not None else ""


def pair(spread: Spread) -> str:
    if spread.median is None or spread.high is None:
        return ""
    return f"{span(spread.median)} / {span(spread.high)}"


def percentile(values: Sequence[int], part: float) -> float:
    """As PostgreSQL's percentile_cont."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    above = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[above] - ordered[low]) * (place - low)
