"""Pages of the list of deliveries, and which of them may be processed once more: the newest first.
So many are searched at once, since there is no index by event or repository."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from webhook.store import deliveries
from webhook.store.ages import first_since
from webhook.store.database import Sync
from webhook.store.deliveries import DeliverySummary, Outcome, Selection

# So many of the newest are searched for a page, and for a plan; for a text, which takes longer.
SEARCHED = 20_000
PLANNED_OF = 50_000
TEXT_SEARCHED = 8_000
# Of a body, for its repository's name.
LONGEST_READ = 100_000
# What is stored at about the same time may be in another order.
_DISORDER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage:
    """`next_before`: where the next page begins; None: there is none. `searched_to`: when the
    oldest came that was searched, where that ended before the page was full; None: it is full, or
    all were searched."""

    deliveries: Sequence[DeliverySummary]
    next_before: int | None = None
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A delivery that may be processed once more."""

    id: int
    event: str
    outcome: Outcome | None
    received_at: datetime
    environment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The oldest first. `newest`: the id of the newest delivery of all. `searched_to`: as of a
    page."""

    found: Sequence[Candidate]
    newest: int
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Ends:
    """Ids of the oldest and the newest that may match; `least`: of the oldest that is searched."""

    first: int
    before: int
    least: int


def page(
    connection: Sync, limit: int, selection: Selection, before: int | None = None
) -> DeliveryPage:
    """Of those that were stored before that one."""
    ends = _ends(connection, selection, before, _searched(selection, SEARCHED))
    found = deliveries.newest(
        connection,
        limit + 1,
        selection,
        before=ends.before,
        least=ends.least,
        longest=LONGEST_READ,
    )
    if len(found) > limit:
        return DeliveryPage(deliveries=found[:limit], next_before=found[limit - 1].id)
    if ends.least <= ends.first:
        return DeliveryPage(deliveries=found)
    searched_to = _received_at(connection, ends.least)
    return DeliveryPage(deliveries=found, next_before=ends.least, searched_to=searched_to)


def _searched(selection: Selection, most: int) -> int | None:
    """None: an index finds them, or all match. There are few that failed, or of a deployment."""
    if (
        selection.failing
        or selection.outcome in ("failed", "waiting")
        or selection.deployment_id is not None
    ):
        return None
    if selection.text:
        return TEXT_SEARCHED
    narrows = selection.event or selection.outcome or not selection.ignored
    return most if narrows or selection.repo_ids is not None else None


_CANDIDATES = """
select found.id, event, outcome, received_at, environment
from (select * from deliveries where {selected} order by id desc limit %(limit)s) found
left join deployments on deployments.id = deployment_id
order by found.id
"""


def candidates(
    connection: Sync, limit: int, selection: Selection, before: int | None = None
) -> Candidates:
    ends = _ends(connection, selection, before, _searched(selection, PLANNED_OF))
    values = deliveries.values_of(connection, selection)
    values |= {"before": ends.before, "first": ends.least, "limit": limit}
    cursor = connection.cursor(row_factory=class_row(Candidate), binary=True)
    cursor.execute(_CANDIDATES.format(selected=deliveries.selected_by(selection)), values)
    limited = ends.least > ends.first
    return Candidates(
        found=cursor.fetchall(),
        newest=ends.before - 1,
        searched_to=_received_at(connection, ends.least) if limited else None,
    )


def _ends(
    connection: Sync, selection: Selection, before: int | None, searched: int | None
) -> _Ends:
    """Ids leave gaps, so that fewer are searched."""
    row = connection.execute(
        "select (select id from deliveries order by id limit 1) as first,"
        " (select id from deliveries order by id desc limit 1) as last"
    ).fetchone()
    first, last = (row["first"] or 0, row["last"] or 0) if row else (0, 0)
    end = last + 1 if before is None else min(before, last + 1)
    if selection.until:
        end = min(end, first_since(connection, "deliveries", selection.until + _DISORDER) + 1)
    if selection.since:
        first = max(first, first_since(connection, "deliveries", selection.since))
    least = first if searched is None else max(first, end - searched)
    return _Ends(first, end, least)


def _received_at(connection: Sync, least: int) -> datetime | None:
    row = connection.execute(
        "select received_at from deliveries where id >= %s order by id limit 1", [least]
    ).fetchone()
    return row["received_at"] if row else None


def of_guid(connection: Sync, guid: str) -> DeliverySummary | None:
    """The newest one with exactly that GUID; another hook may have the same."""
    found = deliveries.with_guid(connection, guid, 1).get(guid)
    return next(iter(deliveries.summaries(connection, [found])), None) if found else None
