"""Frozen windows: nothing starts while one of them holds.

`frozen_windows` is Gitploy's key, of an environment; at the top of the file it is for all
repositories and environments that its patterns match. What differs is in docs/how-to/freezes.md.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from handlers import durations
from webhook.config.destinations import OneOrSeveral, Repo, Strict, as_tuple
from webhook.config.errors import invalid
from webhook.config.gates import FileEntry, may_overlap
from webhook.config.routing import matches_any
from webhook.deployments.freezes import (
    Dated,
    Recurring,
    Window,
    begin_of,
    end_of,
    frozen_until,
    zone_of,
)
from webhook.gates.contract import ALLOW, Candidate, Gate, Snapshot, Verdict, Wait, keys_of

_FIELDS = 5
_LONGEST = timedelta(days=366)
_MOMENT = re.compile(r"(2\d{3}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?", re.ASCII)
# What the server's own zone is called, which is another one on another server.
_OF_THE_SERVER = {"localtime", "posixrules", "Factory"}
_PAIRS = (("start", "duration"), ("from", "to"))
_EXAMPLES = {
    "start": 'start: "0 18 * * FRI"',
    "duration": "duration: 62h",
    "from": 'from: "2026-12-23"',
    "to": 'to: "2027-01-02"',
}
_WAY_OUT = "Change frozen_windows in deploy.yml"
_OR_OVERRIDE = "/deploy override, or change frozen_windows in deploy.yml"


def _cron(value: Any) -> str:
    fields = value.split() if isinstance(value, str) else []
    if len(fields) != _FIELDS:
        text = "is not a cron expression of five fields: minute, hour, day, month, weekday; write"
        raise invalid(f'{text} "50 23 * * MON-FRI"')
    try:
        CronSim(" ".join(fields), datetime.now(UTC))
    except CronSimError as error:
        raise invalid(f"is not a cron expression ({error}); see man 5 crontab") from None
    if "*" not in (fields[2], fields[4]):
        text = "has a day of the month and a weekday, which cron and Gitploy read differently"
        raise invalid(f"{text}; write * for one of them, or from and to")
    return " ".join(fields)


def _duration(value: Any) -> timedelta:
    try:
        duration = durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise invalid(str(error)) from None
    if not timedelta(0) < duration <= _LONGEST:
        raise invalid("is out of bounds; a window lasts from 1s to 8784h, a year")
    return duration


def _location(value: Any) -> str:
    if not isinstance(value, str) or not _is_zone(value):
        names = {name.lower(): name for name in available_timezones() - _OF_THE_SERVER}
        close = get_close_matches(str(value).lower(), names, n=1)
        hint = f"; did you mean '{names[close[0]]}'?" if close else ""
        text = "is not a time zone; write a name of the IANA database, as in Europe/Berlin"
        raise invalid(f"{text}{hint}")
    return value


def _is_zone(name: str) -> bool:
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        zone_of(name)
        return name not in _OF_THE_SERVER
    return False


def _moment(value: Any) -> str:
    if not isinstance(value, str) or _parsed(value) is None:
        text = 'is not a day or a local time; write "2026-12-23" or "2026-12-23T18:00"'
        raise invalid(f"{text}, whose zone is location")
    return value


def _parsed(moment: str) -> date | datetime | None:
    match = _MOMENT.fullmatch(moment)
    with suppress(ValueError):
        if match:
            return datetime.fromisoformat(moment) if match[2] else date.fromisoformat(moment)
    return None


_Cron = Annotated[str | None, BeforeValidator(_cron), WithJsonSchema({"type": "string"})]
_Duration = Annotated[
    timedelta | None,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]
_Location = Annotated[str, BeforeValidator(_location), WithJsonSchema({"type": "string"})]
_Moment = Annotated[
    str | None,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": f"^{_MOMENT.pattern.replace('?:', '')}$"}),
]
_Lets = Annotated[tuple[Literal["rollbacks"], ...], BeforeValidator(as_tuple), OneOrSeveral]
_Pattern = Annotated[str, Field(min_length=1, max_length=255)]


class FrozenWindow(FileEntry):
    """Recurring, with `start` and `duration`, or dated, with `from` and `to`."""

    location: _Location = ""
    """Time zone, as in Europe/Berlin. UTC by default."""
    start: _Cron = None
    """When it begins: five fields of cron."""
    duration: _Duration = None
    """How long it lasts: 30m, 2h, 62h."""
    from_: _Moment = Field(default=None, alias="from")
    """When a dated one begins: "2026-12-23", or "2026-12-23T18:00"."""
    to: _Moment = None
    """When it ends: the last day, or the time from which it is open again."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """For people, who wait because of it."""
    lets: _Lets = ()
    """What may start all the same: rollbacks."""
    announce: bool = False
    """Whether the channels of what is frozen hear of it an hour before."""

    @field_validator("from_", "to")
    @classmethod
    def _one_form(cls, value: str | None, info: ValidationInfo) -> str | None:
        other = next((key for key in ("start", "duration") if info.data.get(key)), "")
        if value and other:
            text = f"cannot stand beside {other}: a window is recurring (start, duration) or dated"
            raise invalid(f"{text} (from, to); write two", with_value=False)
        return value

    @field_validator("to")
    @classmethod
    def _in_order(cls, value: str | None, info: ValidationInfo) -> str | None:
        begin, location = info.data.get("from_"), info.data.get("location")
        if value and begin and location is not None:
            dated = _dated(begin, value, location)
            if dated.ends <= dated.begins:
                raise invalid(f"is not after from ({begin}); correct one of them")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = {"start": self.start, "duration": self.duration, "from": self.from_, "to": self.to}
        for one, other in _PAIRS:
            if bool(given[one]) != bool(given[other]):
                missing = other if given[one] else one
                raise invalid(f"lacks {missing}; write {_EXAMPLES[missing]}", with_value=False)
        if not (self.start or self.from_):
            raise invalid("needs start and duration, or from and to", with_value=False)
        return self

    @property
    def window(self) -> Window:
        if self.start and self.duration:
            return Recurring(self.start, self.duration, self.location)
        assert self.from_
        assert self.to
        return _dated(self.from_, self.to, self.location)

    @property
    def label(self) -> str:
        """As people read it."""
        when = self.window.describe()
        return f"{self.reason} ({when})" if self.reason else when

    def covers(self, repos: Iterable[str], environment: str) -> bool:
        """`repos`: all names that one repository has had."""
        return True


class FileWindow(FrozenWindow):
    """At the top of the file: for all that its patterns match."""

    repos: tuple[Repo, ...] = Field(default=("*",), min_length=1)
    """Of which repositories: owner/name each; `*` stands for anything."""
    environments: tuple[_Pattern, ...] = Field(default=("*",), min_length=1)
    """Of which environments, upper and lower case alike; `*` stands for anything."""

    def covers(self, repos: Iterable[str], environment: str) -> bool:
        of_repo = any(matches_any(self.repos, repo) for repo in repos)
        return of_repo and matches_any(self.environments, environment)

    def may_cover(self, repos: Sequence[str], environment: str) -> bool:
        return any(may_overlap(one, other) for one in self.repos for other in repos) and any(
            may_overlap(one, environment) for one in self.environments
        )


class FreezeKeys(Strict):
    frozen_windows: tuple[FrozenWindow, ...] = ()
    """When nothing may start."""


class FileFreezeKeys(Strict):
    frozen_windows: tuple[FileWindow, ...] = ()
    """When nothing may start, in several environments."""


def decide(snapshot: Snapshot) -> Verdict:
    now, candidate = snapshot.now, snapshot.candidate
    names = (candidate.repo, *candidate.former_names)
    windows = [
        one
        for one in snapshot.keys(FreezeKeys).frozen_windows
        if one.covers(names, candidate.environment) and not _lets(one, candidate)
    ]
    held = [one for one in windows if one.window.end_at(now)]
    if not held:
        return ALLOW
    labels = dict.fromkeys(one.label for one in held)
    until = frozen_until([one.window for one in windows], now)
    overridable = getattr(snapshot.environment, "break_glass", ())
    way_out = _OR_OVERRIDE if overridable else _WAY_OUT
    return Wait(reason=f"Frozen: {' and '.join(labels)}", until=until, way_out=way_out)


def key_in_use(environment: Any) -> str:
    windows = keys_of(environment, FreezeKeys).frozen_windows
    used = any(one.may_cover(environment.repos, environment.name) for one in windows)
    return "frozen_windows" if used else ""


def _lets(window: FrozenWindow, candidate: Candidate) -> bool:
    return "rollbacks" in window.lets and candidate.rolls_back


def _dated(begin: str, end: str, location: str) -> Dated:
    zone, first, last = zone_of(location), _parsed(begin), _parsed(end)
    assert first
    assert last
    text = " to ".join(one.replace("T", " ") for one in dict.fromkeys((begin, end)))
    text = f"{text}, {location}" if location else text
    return Dated(begin_of(first, zone), end_of(last, zone), text)


FREEZE = Gate(
    name="freeze",
    decide=decide,
    Keys=FreezeKeys,
    FileKeys=FileFreezeKeys,
    key_in_use=key_in_use,
)
