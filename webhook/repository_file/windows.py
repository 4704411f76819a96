"""Gitploy's `frozen_windows` in a repository's file.

Source: gitploy-io/gitploy, model/extent/env.go (IsFreezed); gitploy-io/cronexpr; Go's
time.ParseDuration. What Gitploy takes holds here too: fractions of a second, a day of the month and
a weekday that both have to match, a duration that is never over or never begins. What it takes and
never matches, as hour 24, is an error: nobody wants a window that never holds.
"""

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from webhook.deployments.freezes import Recurring, Window, zone_of
from webhook.gates.freeze import FrozenWindow

MOST_WINDOWS = 20
REASON = "the repository's deploy.yml"
_FIELDS = 5
_LONGEST_TEXT = 200
_DURATION = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[-+]?0", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_OF_THE_SERVER = {"Local", "localtime", "posixrules", "Factory"}
# In microseconds.
_UNITS = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "µs": Fraction(1),
    "μs": Fraction(1),
    "ms": Fraction(1000),
    "s": Fraction(10**6),
    "m": Fraction(60 * 10**6),
    "h": Fraction(3600 * 10**6),
}
# Go's own limit, 290 years.
_LONGEST = Fraction(2**63 - 1, 1000)


class RepositoryWindow(FrozenWindow):
    @property
    def window(self) -> Window:
        assert self.start
        assert self.duration
        return Recurring(self.start, self.duration, self.location, both_days=True)


def window(start: str, duration: timedelta, location: str) -> RepositoryWindow:
    """Of values that were checked: its own model is stricter."""
    return RepositoryWindow.model_construct(
        start=start, duration=duration, location=location, reason=REASON
    )


def duration_of(text: str) -> timedelta:
    """Zero and less are none. Errors: ValueError with the remedy."""
    if len(text) > _LONGEST_TEXT or not _DURATION.fullmatch(text):
        raise ValueError("is not a duration; write 30s, 30m, 2h or 1h30m")
    total = sum((Fraction(n) * _UNITS[unit] for n, unit in _PART.findall(text)), Fraction())
    if total > _LONGEST:
        raise ValueError("is longer than 290 years; write a shorter one")
    return timedelta(microseconds=math.ceil(-total if text.startswith("-") else total))


def cron_error(start: str) -> str:
    """What is wrong with it, with the remedy; "" if nothing."""
    fields = start.split()
    if len(fields) != _FIELDS or len(start) > _LONGEST_TEXT:
        text = "is not a cron expression of five fields: minute, hour, day, month, weekday; write"
        return f'{text} "50 23 * * MON-FRI"'
    try:
        CronSim(" ".join(fields), datetime.now(UTC))
        # That such a day of the month exists, as both have to match.
        CronSim(" ".join([*fields[:4], "*"]), datetime.now(UTC))
    except CronSimError as error:
        return f"is not a cron expression ({error}); see man 5 crontab"
    return ""


def location_error(location: str) -> str:
    if location in _OF_THE_SERVER:
        return "is the zone of the server, which differs; write its name, as in Europe/Berlin"
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        zone_of(location)
        return ""
    names = _zones()
    close = get_close_matches(location.lower()[:_LONGEST_TEXT], names, n=1)
    hint = f"; did you mean '{names[close[0]]}'?" if close else ""
    text = "is not a time zone; write a name of the IANA database, as in Europe/Berlin"
    return f"{text}{hint}"


@cache
def _zones() -> dict[str, str]:
    """Their names, by themselves in lower case."""
    return {name.lower(): name for name in available_timezones()}
