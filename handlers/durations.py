"""Durations as people write them: 30s, 30m, 2h, 1h30m. The standard library only: supervise.py
runs without site-packages."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(?=\d)(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_WITH_DAYS = re.compile(r"(\d{1,5})d(.*)", re.ASCII | re.DOTALL)


def parse(text: str) -> timedelta:
    """Errors: ValueError with the remedy."""
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("is not a duration; write 30s, 30m, 2h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def parse_with_days(text: str) -> timedelta:
    """What people type, rather than what is in deploy.yml: 3d and 1d12h too. Errors: ValueError
    with the remedy."""
    match = _WITH_DAYS.fullmatch(text.lower())
    days, rest = match.groups() if match else ("0", text.lower())
    try:
        return timedelta(days=int(days)) + (parse(rest) if rest or not match else timedelta())
    except ValueError:
        raise ValueError("is not a duration; write 30m, 2h, 1h30m or 3d") from None


def write(seconds: float) -> str:
    """`parse`'s inverse, rounded to whole seconds: 0s, 45s, 30m, 1h30m."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "m"), (left, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
