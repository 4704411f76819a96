"""Reads and builds a board for a viewer. What those who may see the same repositories have in
common, which is nearly all of it, can be made once for all of them.

Errors: psycopg's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple

from cachetools import LRUCache
from markupsafe import Markup

from webhook.store import board
from webhook.store.board import InFlight
from webhook.store.database import Sync
from webhook.store.repositories import KnownRepository
from webhook.web.auth.viewer import Viewer
from webhook.web.pages.board import data as board_data
from webhook.web.pages.board.cells import Cell, Freezes, build_cell
from webhook.web.pages.board.data import Activity, EnvironmentData, RepositoryData, Routes
from webhook.web.pages.board.filters import Filters
from webhook.web.pages.board.page import (
    REPOSITORIES_ON_PAGE,
    BoardPage,
    Candidates,
    Personal,
    RepositoryView,
    Selected,
    build_board,
    select,
)
from webhook.web.pages.board.waits import asked_for_approval, waits_for
from webhook.web.requests import requests_of
from webhook.web.services import PageServices

# That are kept: those of some boards, of some kilobytes each.
_MOST_ROWS = 1000


@dataclass(slots=True)
class Content:
    """What those who may see the same repositories see of them. `first`: the first repositories,
    whatever of them is to be shown. `more`: there may be others."""

    activity: Activity
    first: list[RepositoryData] = field(default_factory=list)
    selected: list[Selected] = field(default_factory=list)
    more: bool = False


class Row(NamedTuple):
    html: Markup
    digest: bytes


class Rows:
    """What is rendered of repositories, whoever looks: nothing of the viewer is in it but that a
    repository is their own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: LRUCache[Any, Row] = LRUCache(_MOST_ROWS)

    def get(self, page: BoardPage, one: RepositoryView, render: Callable[..., Markup]) -> Row:
        """As `render(page, one)` returns it."""
        key = page.columns, page.others, one
        with self._lock:
            known = self._known.get(key)
        if known is None:
            html = render(page, one)
            known = Row(html, blake2b(html.encode(), digest_size=12).digest())
            with self._lock:
                self._known[key] = known
        return known


@dataclass(frozen=True, slots=True)
class Board:
    page: BoardPage
    rows: Rows


# By what it is known, and how it is made.
Make = Callable[[Any, Callable[[], Content]], Content]


def make_now(_key: Any, make: Callable[[], Content]) -> Content:
    return make()


class BoardReader:
    def __init__(self, services: PageServices) -> None:
        self._services = services
        self._routes = Routes(services.config)
        self._rows = Rows()

    def read(self, viewer: Viewer, filters: Filters, get: Make = make_now) -> Board:
        """Also outside a request. `get`: it may know the content already."""
        services, person = self._services, viewer.person
        assert person is not None
        known, visible = services.permissions.repositories(), viewer.visible()
        with services.pool.connection() as connection:
            own = board.lately_active(connection, person.id) & visible
            about = requests_of(connection, viewer.session, services.actions, lambda _: True)
        # On a single page, everybody's repositories are the same in another order.
        several = len(visible) > REPOSITORIES_ON_PAGE or filters.mine
        candidates = Candidates.of(known, visible, own if several else (), filters)
        content = get(
            (visible, filters, own if several else None),
            lambda: self._content(candidates, visible, filters),
        )
        waits = Personal(requests=tuple(about))
        if not filters.after:
            waits = self._personal(viewer, visible, content, waits)
        empty = "unmatched" if visible else "invisible" if known else "nothing"
        selected = content.selected
        if not several:
            selected = sorted(selected, key=lambda one: one.data.repo_id not in own)
        page = build_board(selected, own, waits, filters, more=content.more, empty=empty)
        return Board(page, self._rows)

    def _content(
        self, candidates: Candidates, visible: frozenset[int], filters: Filters
    ) -> Content:
        """Where much is left out, more than a page has to be read for it."""
        services = self._services
        self._routes.renew()
        now = services.clock()
        freezes = Freezes(now)

        def build(data: RepositoryData) -> list[Cell]:
            return [self._cell(data, one, freezes) for one in data.environments]

        with services.pool.connection() as connection:
            content = Content(board_data.read_activity(connection, visible, now))
            for number, batch in enumerate(candidates.batches()):
                if len(content.selected) >= REPOSITORIES_ON_PAGE:
                    content.more = True
                    break
                data = self._read(connection, batch, filters, content.activity)
                content.first = content.first if number else data
                content.selected += select(data, build, filters)
        return content

    def _cell(self, data: RepositoryData, one: EnvironmentData, freezes: Freezes) -> Cell:
        routed = self._routes.routed(data.repo, one.stage.name)
        freeze = freezes.of(routed.windows)
        return build_cell(data.repo_id, data.repo, one, freeze, named=routed.named)

    def _read(
        self,
        connection: Sync,
        some: Sequence[KnownRepository],
        filters: Filters,
        activity: Activity,
    ) -> list[RepositoryData]:
        return board_data.read(connection, some, filters.names, activity, self._routes)

    def _personal(
        self, viewer: Viewer, visible: frozenset[int], content: Content, personal: Personal
    ) -> Personal:
        assert viewer.person is not None
        every = content.activity.every
        waits = waits_for(
            viewer.person,
            content.activity,
            content.first,
            answered=self._answered(viewer.person.id, every),
            may_write=viewer.with_permission("write", visible),
            routed=self._routes,
            now=self._services.clock(),
        )
        return Personal(tuple(waits), personal.requests)

    def _answered(self, user_id: int, every: Sequence[InFlight]) -> frozenset[int]:
        asked = asked_for_approval(every)
        if not asked:
            return frozenset()
        with self._services.pool.connection() as connection:
            return board.answered(connection, user_id, asked)
