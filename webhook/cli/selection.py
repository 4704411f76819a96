"""Which deliveries a command is about: by GUID, or by what they are and how old."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, get_args

import click

from handlers import durations
from webhook.config.routing import matches_any
from webhook.engine.deliveries import repository_of
from webhook.errors import UserError
from webhook.invocation import COMMAND
from webhook.settings import Settings
from webhook.store.database import Sync
from webhook.store.deliveries import DeliverySummary, Selection, State, newest, summaries, with_guid
from webhook.text import and_more
from webhook.timing import utc_now

_SHORTEST_PREFIX = 8
# As many as are read at once, some of them with their bodies.
_PAGE = 100
_MOST_NAMED = 5

Command = TypeVar("Command", bound=Callable[..., Any])


class Since(click.ParamType[datetime]):
    """How long ago, or a moment whose zone is written: one without is somewhere else another."""

    name = "since"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return _moment(value, utc_now())
        except (ValueError, OverflowError):
            self.fail(
                f"'{value}' is neither how long ago, as 2h or 3d, nor a moment with its zone, as"
                " 2026-11-28T02:04:00Z or 2026-11-28T03:04+01:00",
                param,
                ctx,
            )


def _moment(text: str, now: datetime) -> datetime:
    if text[:1].isdigit() and text[4:5] != "-":
        return now - durations.parse_with_days(text)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    return at


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """`repos`: names or patterns, none for all."""

    selection: Selection = field(default_factory=Selection)
    repos: tuple[str, ...] = ()

    def matches(self, found: DeliverySummary) -> bool:
        return not self.repos or matches_any(self.repos, repository_of(found) or "")


def filters(command: Command) -> Command:
    """The options by which deliveries are chosen; `chosen` makes one thing of them."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


_FILTERS = (
    click.option("--event", default="", metavar="EVENT", help="As deployment, or workflow_run."),
    click.option("--outcome", type=click.Choice(get_args(State)), help="What became of it."),
    click.option(
        "--repo", "repos", multiple=True, metavar="OWNER/REPO", help="A name, or a pattern."
    ),
    click.option(
        "--since", type=Since(), metavar="WHEN", help="From then on: 2h, 3d, 2026-11-28T02:04Z."
    ),
)


def matching(connection: Sync, chosen: Chosen, limit: int) -> Iterator[DeliverySummary]:
    """The newest first, so many at most."""
    before: dict[str, int] = {}
    while limit > 0:
        size = _PAGE if chosen.repos else min(limit, _PAGE)
        page = newest(connection, size, chosen.selection, **before)
        for found in filter(chosen.matches, page):
            if limit > 0:
                limit -= 1
                yield found
        if len(page) < size:
            return
        before = {"before": page[-1].id}


def delivery_id(connection: Sync, settings: Settings, guid: str) -> int:
    """Of the delivery whose GUID begins so."""
    found = _with_guid(connection, guid)
    if found is None:
        raise UserError(f"No delivery {guid} is stored here{_why_not(settings)}")
    return found


def known_delivery(connection: Sync, guid: str) -> DeliverySummary | None:
    """None where it is not stored."""
    found = _with_guid(connection, guid)
    return next(iter(summaries(connection, [found])), None) if found else None


def _with_guid(connection: Sync, guid: str) -> int | None:
    if len(guid) < _SHORTEST_PREFIX:
        raise UserError(f"'{guid}' is too short: write {_SHORTEST_PREFIX} characters of a GUID")
    found = with_guid(connection, guid, _MOST_NAMED)
    if guid in found:
        return found[guid]
    if len(found) > 1:
        names = and_more(list(found))
        raise UserError(f"'{guid}' is the beginning of several deliveries: {names}; write more")
    return next(iter(found.values()), None)


def _why_not(settings: Settings) -> str:
    kept = settings.keep.deliveries
    deleted = ""
    if kept is not None:
        deleted = f"; those older than {kept.days} days are deleted (GITPLOY_KEEP_DELIVERIES)"
    ask = f"{COMMAND} deliveries redeliver GUID asks GitHub for one of the last three days"
    return f"{deleted}. {ask}"
