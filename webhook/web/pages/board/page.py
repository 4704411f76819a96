"""The board as a page: which repositories it shows, in which order, and how they are laid out."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from webhook.store.board import ENVIRONMENTS_OF_ONE
from webhook.store.repositories import KnownRepository
from webhook.web.pages.board.cells import Cell, web_url
from webhook.web.pages.board.data import RepositoryData
from webhook.web.pages.board.filters import Filters
from webhook.web.pages.board.waits import MOST, Wait
from webhook.web.pages.elements import Link, line
from webhook.web.requests import RequestView

REPOSITORIES_ON_PAGE = 200
# Of one's own repositories, those that come first.
_MOST_OWN = 100
# Environments become columns where most repositories have the same few.
_MOST_COLUMNS, _LEAST_ROWS, _SHARED, _COVERED = 6, 2, 0.5, 0.8
# Of one repository; the others are there, folded.
_MOST_SHOWN = 8
# What is counted above the list, and how that is said.
_COUNTED = {
    **dict.fromkeys(("running", "waiting", "failed", "locked", "frozen")),
    "drift": "unlike the stage before",
}

BuildCells: TypeAlias = Callable[[RepositoryData], Sequence[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryView:
    """`cells`: one for each column, None where it has no such environment. `others`: environments
    that are no column, and `folded` those of them that few want to see. `cut`: there may be more,
    which only their names find. `own`: the viewer has done
    something there lately."""

    id: int
    name: Link
    own: bool
    cells: tuple[Cell | None, ...]
    others: tuple[Cell, ...]
    folded: tuple[Cell, ...]
    cut: bool

    @property
    def element(self) -> str:
        return f"repository-{self.id}"


@dataclass(frozen=True, slots=True)
class Count:
    """Environments of a state on this page. `url`: of those alone."""

    state: str
    text: str
    number: int
    url: str


@dataclass(frozen=True, slots=True)
class Personal:
    """What waits for the viewer, and what they have requested on pages lately."""

    waits: tuple[Wait, ...] = ()
    requests: tuple[RequestView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPage:
    """`columns`: environments that most repositories have; none: each repository has its own.
    `more_waits`: how many are not listed. `next`: the address of the next page, "" on the last one.
    `empty`: why there is none: nothing, invisible or unmatched."""

    filters: Filters
    waits: tuple[Wait, ...]
    more_waits: int
    requests: tuple[RequestView, ...]
    counts: tuple[Count, ...]
    columns: tuple[str, ...]
    others: bool
    repositories: tuple[RepositoryView, ...]
    next: str
    empty: str

    @property
    def title(self) -> str:
        waiting = len(self.waits) + self.more_waits
        return f"({waiting}) Board" if waiting else "Board"

    @property
    def tone(self) -> str:
        """Of its icon: what matters most to the viewer."""
        if any(one.kind == "failed" for one in self.waits):
            return "bad"
        if self.waits:
            return "hold"
        return "running" if any(one.state == "running" for one in self.counts) else "good"

    @property
    def digest(self) -> str:
        """Of what is where on the page; while it stays the same, each repository is renewed by
        itself."""
        shown = [self.columns, self.others, self.next, [one.id for one in self.repositories]]
        return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Candidates:
    """`own`: come first, on the first page only."""

    own: Sequence[KnownRepository]
    rest: Sequence[KnownRepository]

    @classmethod
    def of(
        cls,
        known: Mapping[int, KnownRepository],
        visible: Collection[int],
        own: Collection[int],
        filters: Filters,
    ) -> "Candidates":
        """By name, and on a later page those after the one with which the last page ended."""
        every = sorted((known[one] for one in visible if one in known), key=_by_name)
        first = [one for one in every if one.repo_id in own][:_MOST_OWN]
        ids = {one.repo_id for one in first}
        rest = [] if filters.mine else [one for one in every if one.repo_id not in ids]
        if not filters.after:
            return cls(first, rest)
        return cls([], [one for one in rest if _by_name(one) > filters.after.casefold()])

    def batches(self) -> Iterator[Sequence[KnownRepository]]:
        every = [*self.own, *self.rest]
        for start in range(0, len(every), REPOSITORIES_ON_PAGE):
            yield every[start : start + REPOSITORIES_ON_PAGE]


def _by_name(one: KnownRepository) -> str:
    return one.name.casefold()


@dataclass(frozen=True, slots=True)
class Selected:
    """A repository with those of its environments that are to be shown."""

    data: RepositoryData
    cells: Sequence[Cell]


def select(data: Iterable[RepositoryData], build: BuildCells, filters: Filters) -> list[Selected]:
    found = (Selected(one, build(one)) for one in data)
    if filters.narrow:
        found = (
            replace(one, cells=[cell for cell in one.cells if cell.matches(filters)])
            for one in found
        )
    return [one for one in found if one.cells]


def build_board(
    selected: Sequence[Selected],
    own: Collection[int],
    personal: Personal,
    filters: Filters,
    *,
    more: bool,
    empty: str,
) -> BoardPage:
    """`selected`: in order; at most a page of them is shown. `more`: there may be others."""
    shown = selected[:REPOSITORIES_ON_PAGE]
    more = bool(shown) and (more or len(selected) > len(shown))
    columns = _columns(shown)
    views = tuple(_view(one, columns, own) for one in shown)
    return BoardPage(
        filters=filters,
        waits=personal.waits[:MOST],
        more_waits=max(0, len(personal.waits) - MOST),
        requests=personal.requests,
        counts=tuple(_counts(shown, filters)),
        columns=tuple(columns.values()),
        others=any(one.others or one.folded for one in views),
        repositories=views,
        next=filters.address(after=shown[-1].data.repo) if more else "",
        empty="" if shown else empty,
    )


def _columns(shown: Sequence[Selected]) -> dict[str, str]:
    """By their names in lower case; in the order of most repositories."""
    every = [cell for one in shown for cell in one.cells]
    number = Counter(cell.environment.text.lower() for cell in every)
    common = [name for name, count in number.items() if count >= _SHARED * len(shown)]
    covered = sum(number[name] for name in common)
    if len(shown) < _LEAST_ROWS or len(common) > _MOST_COLUMNS or covered < _COVERED * len(every):
        return {}
    positions: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    production: Counter[str] = Counter()
    for one in shown:
        for position, cell in enumerate(one.cells):
            name = cell.environment.text.lower()
            names.setdefault(name, cell.environment.text)
            positions.setdefault(name, []).append(position)
            production[name] += cell.production
    return {
        name: names[name]
        for name in sorted(
            common,
            key=lambda name: (
                production[name] * 2 > number[name],
                sum(positions[name]) / len(positions[name]),
                name,
            ),
        )
    }


def _view(one: Selected, columns: Mapping[str, str], own: Collection[int]) -> RepositoryView:
    by_name = {cell.environment.text.lower(): cell for cell in one.cells}
    others = [cell for name, cell in by_name.items() if name not in columns]
    kept = _kept(others)
    return RepositoryView(
        id=one.data.repo_id,
        name=Link(_url(one.data), line(one.data.repo)),
        own=one.data.repo_id in own,
        cells=tuple(by_name.get(name) for name in columns),
        others=tuple(cell for cell in others if cell in kept),
        folded=tuple(cell for cell in others if cell not in kept),
        cut=sum(1 for data in one.data.environments if data.newest) >= ENVIRONMENTS_OF_ONE,
    )


def _kept(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Those that are not folded: what is taken down goes first, then what nobody names, such as
    previews."""
    named = [cell for cell in cells if cell.named]
    rest = [cell for cell in cells if not cell.named and cell.label.kind != "past"]
    room = _MOST_SHOWN - len(named)
    return [*named, *(rest[:room] if room > 0 else [])] or cells[:_MOST_SHOWN]


def _url(data: RepositoryData) -> str:
    """Of the repository on GitHub."""
    return next((web_url(one.newest.repo_url) for one in data.environments if one.newest), "")


def _counts(shown: Iterable[Selected], filters: Filters) -> Iterator[Count]:
    number = Counter(state for one in shown for cell in one.cells for state in cell.states)
    for state, text in _COUNTED.items():
        if number[state]:
            yield Count(
                state, text or state, number[state], replace(filters, state=state).address()
            )
