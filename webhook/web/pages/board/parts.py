"""The parts of a board, by the id of the element that each fills, as HTML."""

import hashlib
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from webhook.web.pages.board.page import BoardPage
from webhook.web.pages.board.reader import Board

SMALL = ("requests", "waits", "counts")


@dataclass(frozen=True, slots=True)
class BoardParts:
    """`rows`: of each repository. `small`: what stands above them."""

    page: BoardPage
    rows: dict[str, Markup]
    small: dict[str, Markup]
    _macros: Any
    _url: str

    @classmethod
    def of(cls, board: Board, url: str, templates: Environment) -> "BoardParts":
        """`url`: the relay's."""
        macros: Any = templates.get_template("board_parts.html").module
        page = board.page
        rows = {
            one.element: Markup(board.rows.get(page, one, macros.repository))  # noqa: S704 - rendered
            for one in page.repositories
        }
        small = {f"board-{name}": getattr(macros, name)(page) for name in SMALL}
        return cls(page, rows, small, macros, url)

    @property
    def whole(self) -> Markup:
        """All repositories: the part `board`."""
        whole: Markup = self._macros.board(self.page, self.rows, self._url)
        return whole

    @property
    def digest(self) -> str:
        """Of all repositories as they are shown."""
        digest = hashlib.blake2b(self.page.digest.encode(), digest_size=12)
        for row in self.rows.values():
            digest.update(row.encode())
        return digest.hexdigest()
