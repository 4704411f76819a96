"""What an open board gets: of the repositories those that have changed, and all of them where there
are others, or in another order."""

from collections.abc import Callable, Hashable

from webhook.web.changes import Wake
from webhook.web.live import Parts, Shared, parts_event
from webhook.web.pages.board.parts import BoardParts
from webhook.web.pages.board.reader import Content, Make

WHOLE = "board"
# What changes a board.
TOPICS = frozenset({"deployments", "locks", "approvals"})


class BoardFeed:
    """`read`: the board as it is now. `shown`: the digest of what the page began with, so that it
    need not be sent again."""

    done = False
    behind = False

    def __init__(self, read: Callable[[Make], BoardParts], shared: Shared, shown: str) -> None:
        self._read = read
        self._shared = shared
        self._shown_first = shown
        self._shown: dict[str, int] = {}
        self._layout = ""

    def poll(self, wake: Wake) -> list[str]:
        def known(key: Hashable, make: Callable[[], Content]) -> Content:
            return self._shared.get(("board", key), wake.since, make)

        board = self._read(known)
        html = dict(board.small)
        if not self._layout and board.digest == self._shown_first:
            self._keep(board)
        elif self._layout != board.page.digest:
            self._keep(board)
            html[WHOLE] = board.whole
        else:
            html |= board.rows
        self._layout = board.page.digest
        return parts_event(Parts(board.page.title, board.page.tone, html), self._shown)

    def _keep(self, board: BoardParts) -> None:
        """The page has all of them."""
        self._shown.pop(WHOLE, None)
        self._shown |= {name: hash(row) for name, row in board.rows.items()}
