"""/ for who has signed in: what is where, and what waits for the viewer.

Errors: 503 the store does not respond.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flask import Blueprint, Response, make_response, render_template, request

from webhook.store import board
from webhook.store.repositories import KnownRepository
from webhook.web.auth.viewer import Viewer
from webhook.web.pages import board_data
from webhook.web.pages.board_cells import Cell, Freezes, build_cell
from webhook.web.pages.board_data import RepositoryData, Routes
from webhook.web.pages.board_filters import STATES, Filters
from webhook.web.pages.board_page import (
    REPOSITORIES_ON_PAGE,
    BoardPage,
    BuildCells,
    Candidates,
    Personal,
    Selected,
    build_board,
    select,
)
from webhook.web.pages.board_waits import Wait, asked_for_approval, waits_for
from webhook.web.pages.home import home_page
from webhook.web.requests import requests_of
from webhook.web.services import PageServices


def add_to(bp: Blueprint, services: PageServices) -> None:
    routes = Routes(services.config)

    @bp.get("/")
    def show_board() -> Response:
        """For who has not signed in, and for curl, what the relay is."""
        wants_page = "text/html" in request.headers.get("Accept", "")
        viewer = services.viewer() if wants_page else None
        if viewer is None or viewer.person is None:
            return home_page(services)
        filters = Filters.of(request.args)
        page = read_board(services, viewer, filters, routes)
        return make_response(
            render_template(
                "board.html",
                page=page,
                states=STATES,
                server_url=services.settings.server_url,
                stream=filters.address("/events", after=filters.after, shown=page.digest),
            )
        )


def read_board(
    services: PageServices, viewer: Viewer, filters: Filters, routes: Routes
) -> BoardPage:
    """Also outside a request."""
    person, now = viewer.person, services.clock()
    assert person is not None
    known, visible = services.permissions.repositories(), viewer.visible()
    routes.renew()
    freezes = Freezes(now)

    def build(data: RepositoryData) -> list[Cell]:
        return [
            build_cell(data, one, routes(data.repo, one.stage.name), freezes)
            for one in data.environments
        ]

    with services.pool.connection() as connection:
        beside = board_data.around(connection, visible, now)
        own = board.lately_active(connection, person.id) & visible
        candidates = Candidates.of(known, visible, own, filters)
        found = _find(
            candidates,
            filters,
            lambda some: board_data.read(connection, some, filters.names, beside, routes),
            build,
        )
        answered = board.answered(connection, person.id, asked_for_approval(beside.every))
        requests = requests_of(connection, viewer.session, services.actions, lambda _: True)
    waits: Sequence[Wait] = ()
    if not filters.after:
        may_write = viewer.with_permission("write", visible)
        waits = waits_for(
            person,
            beside,
            found.first,
            answered=answered,
            may_write=may_write,
            routed=routes,
            now=now,
        )
    empty = "unmatched" if visible else "invisible" if known else "nothing"
    return build_board(
        found.selected,
        own,
        Personal(tuple(waits), tuple(requests)),
        filters,
        more=found.more,
        empty=empty,
    )


@dataclass(slots=True)
class _Found:
    """`first`: the first repositories, whatever of them is to be shown. `more`: there may be others
    to be shown."""

    first: list[RepositoryData] = field(default_factory=list)
    selected: list[Selected] = field(default_factory=list)
    more: bool = False


def _find(
    candidates: Candidates,
    filters: Filters,
    read: Callable[[Sequence[KnownRepository]], list[RepositoryData]],
    build: BuildCells,
) -> _Found:
    """A page of them; where much is left out, more than a page has to be read for it."""
    found = _Found()
    for number, batch in enumerate(candidates.batches()):
        if len(found.selected) >= REPOSITORIES_ON_PAGE:
            found.more = True
            break
        data = read(batch)
        found.first = found.first if number else data
        found.selected += select(data, build, filters)
    return found
