"""The deliveries that arrived, as GitHub's own "Recent Deliveries" shows them: which, what became
of them and why, and their payloads.

Errors, each a page: 404 there is none, or the viewer may not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request

from webhook.errors import HttpError
from webhook.github.authorization import Person
from webhook.github.events import EVENTS
from webhook.store import deliveries, delivery_requests, delivery_search, recovery
from webhook.store.database import Sync
from webhook.store.delivery_search import SEARCHED, TEXT_SEARCHED, DeliveryPage
from webhook.store.recovery import Summary
from webhook.web import paths
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.given import number
from webhook.web.pages.deliveries.delivery import read_delivery, read_missed, stored_delivery
from webhook.web.pages.deliveries.filter import (
    TABS,
    DeliveryFilter,
    Tab,
    read_filter,
    seen_by,
)
from webhook.web.pages.deliveries.payload import file_text
from webhook.web.pages.deliveries.rows import (
    DeliveryRow,
    MissedRow,
    RequestRow,
    missed_row,
    request_row,
    row_of,
)
from webhook.web.pages.elements import Moment, moment
from webhook.web.services import PageServices

PER_PAGE = 40
EVENTS_PATH = f"{paths.DELIVERIES}/events"
REDELIVER_PATH = f"{paths.DELIVERIES}/redeliver"
_MOST_MISSED = 100
_MOST_REPLAYS = 3
_MOST_COUNTED = 999
_MOST_NAMED = 100
_OUTCOMES = (("", "any"), *((one, one) for one in ("processed", "ignored", "failed", "waiting")))


@dataclass(frozen=True, slots=True)
class TabView:
    text: str
    url: str
    current: bool
    count: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """`searched_to`: only those since then were searched. `next_url`: to older ones. `operator`:
    sees all."""

    tabs: Sequence[TabView]
    filter: DeliveryFilter
    operator: bool
    events: Sequence[str]
    outcomes: Sequence[tuple[str, str]]
    repositories: Sequence[str]
    rows: Sequence[DeliveryRow]
    missed: Sequence[MissedRow]
    compared: str
    replays: Sequence[RequestRow]
    searched_to: Moment | None
    searched: int
    clear_url: str
    next_url: str
    newest_url: str
    replay_url: str
    redeliver_url: str
    empty: tuple[str, str]
    live: str


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get("/deliveries")
    def list_of_deliveries() -> Response:
        viewer = services.require_viewer()
        page = read_page(services, viewer, request.args)
        response = make_response(render_template("deliveries.html", page=page))
        response.status_code = 400 if page.filter.errors else 200
        return response

    @bp.get("/deliveries/<guid>")
    def delivery(guid: str) -> str:
        viewer = services.require_viewer()
        page = read_delivery(services, viewer, guid)
        if page is not None:
            return render_template("delivery.html", page=page)
        missed = read_missed(services, viewer, guid)
        if missed is None:
            raise not_found()
        return render_template("missed_delivery.html", page=missed)

    @bp.get("/deliveries/<guid>/payload")
    def payload(guid: str) -> Response:
        """Never shown by a browser, whatever it is."""
        viewer = services.require_viewer()
        found = stored_delivery(services, viewer, guid)
        if found is None:
            raise not_found()
        response = make_response(file_text(found.delivery.body, services.redactor))
        response.content_type = "text/plain; charset=utf-8"
        response.headers.set("Content-Disposition", "attachment", filename=f"{guid}.json")
        return response


def read_page(services: PageServices, viewer: Viewer, args: Any) -> ListPage:
    repo_ids = seen_by(viewer)
    chosen = read_filter(args, services, repo_ids)
    before = _before(args.get("before", ""))
    # Each of them may take a connection itself.
    names, operator = _names(services, repo_ids), viewer.operator
    with services.pool.connection() as connection:
        found = DeliveryPage(deliveries=())
        missed: Sequence[MissedRow] = ()
        compared = None
        if chosen.tab == "missed" and operator:
            compared = recovery.summary(connection)
            missed = _missed(connection, chosen)
        elif not chosen.errors and repo_ids != frozenset():
            found = _found(connection, chosen, repo_ids, before)
        return ListPage(
            tabs=_tabs(connection, chosen, operator=operator),
            filter=chosen,
            operator=operator,
            events=EVENTS,
            outcomes=_OUTCOMES,
            repositories=names,
            rows=[row_of(one, services.redactor, services.clock()) for one in found.deliveries],
            missed=missed,
            compared=_compared(compared) if compared else "",
            replays=_replays(connection, None if operator else viewer.person),
            searched_to=moment(found.searched_to) if found.searched_to else None,
            searched=TEXT_SEARCHED if chosen.selection.text else SEARCHED,
            clear_url=chosen.cleared if chosen.narrows else "",
            next_url=chosen.path(before=str(found.next_before)) if found.next_before else "",
            newest_url=chosen.path() if before is not None else "",
            replay_url=_replay_url(chosen, found),
            redeliver_url=_redeliver_url(services, chosen, missed),
            empty=_empty(chosen, repo_ids),
            live="" if before is not None else chosen.path(EVENTS_PATH),
        )


def _found(
    connection: Sync,
    chosen: DeliveryFilter,
    repo_ids: frozenset[int] | None,
    before: int | None,
) -> DeliveryPage:
    if not chosen.guid:
        return delivery_search.page(connection, PER_PAGE, chosen.selection, before)
    ids = deliveries.with_guid(connection, chosen.guid, PER_PAGE).values()
    named = deliveries.summaries(connection, ids)
    seen = [one for one in named if repo_ids is None or one.repo_id in repo_ids]
    return DeliveryPage(deliveries=seen)


def _before(text: str) -> int | None:
    before = number(text)
    if text and before is None:
        raise HttpError(400, "This address is not complete", "Open /deliveries and page from there")
    return before


def _tabs(connection: Sync, chosen: DeliveryFilter, *, operator: bool) -> list[TabView]:
    """How many there are is the operators' to know."""
    counts: dict[Tab, int] = {}
    if operator:
        summary = recovery.summary(connection)
        counts["dead"] = deliveries.dead_letters(connection, _MOST_COUNTED + 1)
        counts["missed"] = summary.missing + summary.given_up
    return [
        TabView(text, chosen.in_tab(tab), tab == chosen.tab, _count(counts.get(tab, 0)))
        for tab, text in TABS.items()
        if operator or tab != "missed"
    ]


def _count(number: int) -> str | None:
    if number > _MOST_COUNTED:
        return f"{_MOST_COUNTED}+"
    return str(number) if number else None


def _names(services: PageServices, repo_ids: frozenset[int] | None) -> list[str]:
    """To choose from, unless there are many."""
    known = services.permissions.repositories().values()
    names = sorted(one.name for one in known if repo_ids is None or one.repo_id in repo_ids)
    return names if len(names) <= _MOST_NAMED else []


def _replays(connection: Sync, asked_by: Person | None) -> list[RequestRow]:
    """`asked_by` None: everybody's."""
    whose = asked_by.id if asked_by else None
    return [request_row(one) for one in delivery_requests.of_many(connection, whose, _MOST_REPLAYS)]


def _replay_url(chosen: DeliveryFilter, found: DeliveryPage) -> str:
    if not found.deliveries or chosen.guid:
        return ""
    return chosen.path("/deliveries/replay")


def _missed(connection: Sync, chosen: DeliveryFilter) -> list[MissedRow]:
    found = recovery.newest_missed(connection, _MOST_MISSED, chosen.of_missed)
    asked = delivery_requests.newest_of(connection, [one.guid for one in found])
    return [missed_row(one, asked.get(one.guid)) for one in found]


def _redeliver_url(
    services: PageServices, chosen: DeliveryFilter, missed: Sequence[MissedRow]
) -> str:
    if chosen.errors or not missed or services.settings.deliveries == "pull":
        return ""
    return chosen.path(REDELIVER_PATH)


def _compared(summary: Summary) -> str:
    if summary.compared_at is None:
        return "GitHub's list has not been compared with what arrived yet."
    at = moment(summary.compared_at).text
    failing = f" Since then it failed: {summary.error}." if summary.failing_for else ""
    return f"Compared with GitHub's list at {at}: {summary.found:,} were missing so far.{failing}"


def _empty(chosen: DeliveryFilter, repo_ids: frozenset[int] | None) -> tuple[str, str]:
    if repo_ids == frozenset():
        return (
            "You administer no repository here",
            "Payloads are shown to who has admin permission on GitHub in a repository to which the"
            " relay has seen a deployment, and to those in GITPLOY_ADMIN_USERS. Ask one of them.",
        )
    if chosen.narrows:
        return "No delivery matches", "Take a filter away, or search further back."
    if chosen.tab == "missed":
        return "Nothing is missing", "All that GitHub lists has arrived."
    if chosen.tab == "dead":
        return "No dead letters", "All that arrived could be processed."
    if chosen.tab == "failed":
        return "Nothing failed", "All that arrived could be processed."
    return (
        "No delivery has arrived yet",
        "Set the App's webhook address to this relay's /webhook, and let GitHub send its ping"
        " again: App settings, Advanced, Recent Deliveries.",
    )
