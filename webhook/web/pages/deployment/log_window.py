"""The part of an output that a page shows: its end, or the lines around one that is linked to.

Where lines begin is known for what was read before, so that a page of a long output does not read
all of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock

import psycopg
import structlog
from cachetools import LRUCache
from markupsafe import Markup

from webhook.store import output
from webhook.store.database import Sync, SyncPool
from webhook.web.pages.deployment.log import Log
from webhook.web.pages.terminal_text import take

log = structlog.get_logger()

# Bytes of output that a page shows, and of HTML that they may become (its lines at the end count).
PAGE_OUTPUT = 32 * 1024
PAGE_HTML = 28 * 1024
# Bytes shown before the line that is linked to.
_BEFORE = 2 * 1024
BLOCK = output.READ_LIMIT
_MOST_KNOWN = 200

# The bytes of one output between two offsets, as far as they are there. Errors: psycopg's.
Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class LogLine:
    number: int
    html: Markup


@dataclass(frozen=True, slots=True)
class LogView:
    """`offset`: where what is printed next begins; None: not the end is shown. `earlier`, `later`:
    the line before the first, and after the last; 0: there is none. `cut`: more was
    printed before. `total`: how many lines there are."""

    lines: tuple[LogLine, ...]
    offset: int | None
    earlier: int
    later: int
    cut: bool
    total: int


class LogWindows:
    """Of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        # How many lines end in each whole block of an output, which do not change.
        self._blocks: LRUCache[int, list[int]] = LRUCache(_MOST_KNOWN)

    def end(self, connection: Sync, deployment_id: int, *, over: bool) -> LogView:
        """`over`: nothing more is printed."""
        read = partial(_between, connection, deployment_id)
        index = self._index(deployment_id, read)
        begin = index.line_start(index.length - PAGE_OUTPUT)
        lines, used = Log().add(read(begin, index.length), final=over)
        first = 1 + index.lines_before(begin)
        shown = _last(lines)
        first += len(lines) - len(shown)
        cut = begin > 0 or first > 1
        return LogView(_numbered(shown, first), begin + used, first - 1, 0, cut, index.lines)

    def around(
        self, connection: Sync, deployment_id: int, *, line: int = 0, until: int = 0
    ) -> LogView:
        """With `line`, or what ends with `until`."""
        read = partial(_between, connection, deployment_id)
        index = self._index(deployment_id, read)
        if until:
            end = index.start_of(until + 1)
            begin = index.line_start(end - PAGE_OUTPUT)
        else:
            begin = index.line_start(index.start_of(line) - _BEFORE)
            end = index.line_start(begin + PAGE_OUTPUT)
        lines, _ = Log().add(read(begin, end), final=True)
        first = 1 + index.lines_before(begin)
        shown = _last(lines) if until else _first(lines)
        first += len(lines) - len(shown) if until else 0
        after = first + len(shown)
        later = after if end < index.length or len(shown) < len(lines) else 0
        return LogView(_numbered(shown, first), None, first - 1, later, first > 1, index.lines)

    def start_after(self, deployment_id: int, read: Read, line: int) -> int:
        """Where the line after that begins; the end, where there is none."""
        return self._index(deployment_id, read).start_of(line + 1) if line else 0

    def _index(self, deployment_id: int, read: Read) -> "_Index":
        with self._lock:
            blocks = list(self._blocks.get(deployment_id, ()))
        while True:
            begin = len(blocks) * BLOCK
            rest = read(begin, begin + BLOCK)
            if len(rest) < BLOCK:
                break
            blocks.append(rest.count(b"\n"))
        with self._lock:
            self._blocks[deployment_id] = blocks
        begun = bool(rest) and not rest.endswith(b"\n")
        lines = sum(blocks) + rest.count(b"\n") + begun
        return _Index(read, blocks, begin + len(rest), lines)


@dataclass(frozen=True, slots=True)
class _Index:
    read: Read
    blocks: list[int]
    length: int
    lines: int

    def lines_before(self, offset: int) -> int:
        """That end before it."""
        block = min(offset // BLOCK, len(self.blocks))
        rest = self.read(block * BLOCK, offset)
        return sum(self.blocks[:block]) + rest.count(b"\n")

    def line_start(self, offset: int) -> int:
        """Where the next line begins; where none does soon, there itself."""
        if offset <= 0:
            return 0
        if offset >= self.length:
            return self.length
        near = self.read(offset - 1, offset + PAGE_OUTPUT - 1)
        return offset + max(0, near.find(b"\n"))

    def start_of(self, line: int) -> int:
        """Of that line; of what is not there, the end."""
        missing, block = line - 1, 0
        while block < len(self.blocks) and self.blocks[block] < missing:
            missing -= self.blocks[block]
            block += 1
        raw = self.read(block * BLOCK, (block + 1) * BLOCK)
        at = 0
        for _ in range(missing):
            at = raw.find(b"\n", at) + 1
            if not at:
                return self.length
        return block * BLOCK + at


def read_apart(pool: SyncPool, deployment_id: int) -> Read:
    """With a connection for each time only: for what takes its time between."""

    def read(begin: int, end: int) -> bytes:
        with pool.connection() as connection:
            return _between(connection, deployment_id, begin, end)

    return read


def whole(pool: SyncPool, deployment_id: int) -> Iterator[str]:
    """All of it as text, piece by piece. It was begun to be sent when the store goes away."""
    offset, used = 0, 1
    while used:
        try:
            with pool.connection() as connection:
                raw = output.read(connection, deployment_id, offset)
        except psycopg.Error as error:
            log.warning("a download is cut off", error=type(error).__name__)
            yield "\n(The rest is missing: the relay's store does not respond. Try again.)\n"
            return
        text, used = take(raw)
        if not used:
            text, used = take(raw, final=True)
        yield text
        offset += used


def resumed(connection: Sync, deployment_id: int, offset: int) -> Log:
    """As it was there: in the midst of a line, perhaps, and of a colour."""
    before = _between(connection, deployment_id, max(0, offset - PAGE_OUTPUT), offset)
    found = Log()
    found.add(before[before.rfind(b"\n") + 1 :], final=True)
    return found


def _between(connection: Sync, deployment_id: int, begin: int, end: int) -> bytes:
    """As far as there is output."""
    return b"".join(_pieces(connection, deployment_id, begin, end))


def _pieces(connection: Sync, deployment_id: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end and (piece := output.read(connection, deployment_id, begin)):
        yield piece[: end - begin]
        begin += len(piece)


def _last(lines: list[str]) -> list[str]:
    return _first(lines[::-1])[::-1]


def _first(lines: list[str]) -> list[str]:
    """As many as a page may have; one at least. A line has some 50 bytes beside its text."""
    size = 0
    for count, line in enumerate(lines):
        size += len(line.encode()) + 50
        if size > PAGE_HTML and count:
            return lines[:count]
    return lines


def _numbered(lines: list[str], first: int) -> tuple[LogLine, ...]:
    # What is printed was escaped where it was made HTML.
    return tuple(LogLine(number, Markup(html)) for number, html in enumerate(lines, first))  # noqa: S704
