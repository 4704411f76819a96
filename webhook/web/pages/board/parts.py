"""The parts of a board, by the id of the element that each fills, as HTML."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from webhook.web.pages.board.page import BoardPage
from webhook.web.pages.board.reader import Board

SMALL = ("requests", "waits", "counts")


@dataclass(frozen=True, slots=True)
class BoardParts:
    """`rows`: of each repository. `small`: what stands above them. `digest`: of all repositories as
    they are shown."""

    page: BoardPage
    rows: dict[str, Markup]
    small: dict[str, Markup]
    digest: str
    _macros: Any
    _url: str

    @classmethod
    def of(cls, board: Board, url: str, templates: Environment) -> "BoardParts":
        """`url`: the relay's."""
        macros: Any = templates.get_template("board_parts.html").module
        page = board.page
        rows = {
            one.element: board.rows.get(page, one, macros.repository) for one in page.repositories
        }
        small = {f"board-{name}": getattr(macros, name)(page) for name in SMALL}
        digest = blake2b(page.digest.encode(), digest_size=12)
        for row in rows.values():
            digest.update(row.digest)
        html = {name: row.html for name, row in rows.items()}
        return cls(page, html, small, digest.hexdigest(), macros, url)

    @property
    def whole(self) -> Markup:
        """All repositories: the part `board`."""
        whole: Markup = self._macros.board(self.page, self.rows, self._url)
        return whole
