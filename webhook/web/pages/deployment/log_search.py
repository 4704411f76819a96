"""The lines of a whole output that have a text, not only of the part that a page shows.

Text is compared as it is shown, without colours and without what was printed over, in whatever
case; it is no pattern. The output is read block by block, none of which is kept. Of a line that is
longer than a block, what was printed over is found, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from time import thread_time

from webhook.web.pages.deployment.log import plain
from webhook.web.pages.deployment.log_window import BLOCK, PAGE_HTML, Read
from webhook.web.pages.terminal_text import harmless, whole_part

# Characters that one may search for.
LONGEST_WANTED = 200
# Lines that a page shows (fewer where they are long), bytes of output that it reads for them, and
# seconds of its thread: lines that change themselves, as progress bars do, can take long.
MOST_LINES = 200
MOST_READ = 8 * 1024 * 1024
MOST_SECONDS = 1.0
# Characters of a line that are shown, and of these before its first match.
_LONGEST_EXCERPT = 300
_BEFORE = 60
_MARK = len("<mark></mark>")


@dataclass(frozen=True, slots=True)
class Part:
    text: str
    matches: bool = False


@dataclass(frozen=True, slots=True)
class FoundLine:
    number: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`first`, `last`: the lines that were searched; there is none where `last` is less. `count`:
    all that match, of which `lines` are the first. `whole`: the output's end was reached. `torn`:
    the last one is so long that its rest was not searched."""

    wanted: str
    first: int
    last: int
    lines: tuple[FoundLine, ...]
    count: int
    whole: bool
    torn: bool

    @property
    def limit(self) -> str:
        return f"at most {MOST_READ // 1024**2} MB, and for at most {MOST_SECONDS:g} s"

    @property
    def more(self) -> int:
        """After which line to go on; 0 where all is shown."""
        if len(self.lines) < self.count:
            return self.lines[-1].number
        return 0 if self.whole else self.last

    @property
    def summary(self) -> str:
        if self.last < self.first:
            return f"The output has no line {self.first:,}"
        number = "No line" if not self.count else "1 line" if self.count == 1 else ""
        number = number or f"{self.count:,} lines"
        if len(self.lines) < self.count:
            number = f"The first {len(self.lines):,} of {number}"
        return f"{number} with “{self.wanted}”{self._where}"

    @property
    def _where(self) -> str:
        if not self.whole:
            return f" in lines {self.first:,} to {self.last:,}"
        return f" from line {self.first:,} on" if self.first > 1 else ""


def as_shown(wanted: str) -> str:
    """What somebody has typed or copied, as lines have it."""
    return harmless(" ".join(wanted.splitlines()))


def search(
    read: Read,
    wanted: str,
    *,
    begin: int,
    after: int,
    beside: int,
    seconds: float = MOST_SECONDS,
) -> Found:
    """From the byte `begin` on, where the line after `after` begins. `beside`: bytes of HTML that a
    line takes besides its text. Errors: psycopg's."""
    finder = _Finder(wanted.casefold(), beside, after)
    offset, whole = begin, False
    until = thread_time() + seconds
    while not whole and offset < begin + MOST_READ and (offset == begin or thread_time() < until):
        raw = read(offset, offset + BLOCK)
        whole = len(raw) < BLOCK
        if not whole:
            raw = raw[: raw.rfind(b"\n") + 1] or whole_part(raw)
        finder.add(raw)
        offset += len(raw)
    whole = whole or not read(offset, offset + 1)
    return Found(
        wanted=wanted,
        first=after + 1,
        last=finder.ended + finder.begun,
        lines=tuple(finder.lines),
        count=finder.count,
        whole=whole,
        torn=finder.begun and not whole,
    )


@dataclass(slots=True)
class _Finder:
    """`ended`: lines before the one that comes next, or is `begun`."""

    wanted: str
    beside: int
    ended: int
    begun: bool = False
    lines: list[FoundLine] = field(default_factory=list)
    count: int = 0
    _last: int = 0
    _full: bool = False
    _size: int = 0
    _rest: str = ""

    def add(self, raw: bytes) -> None:
        """Ends with a line, unless that is longer than a block or the output's last one."""
        text = self._rest + plain(raw)
        *ended, begun = text.split("\n")
        if self.wanted in text.casefold():
            for number, one in enumerate((*ended, begun), self.ended + 1):
                if number > self._last and self.wanted in one.casefold():
                    self._keep(number, one)
        self.ended += len(ended)
        self.begun = bool(begun) or (self.begun and not ended)  # all of it may be printed over
        # A match may have begun there.
        self._rest = begun[max(0, len(begun) - len(self.wanted) + 1) :]

    def _keep(self, number: int, line: str) -> None:
        self._last = number
        self.count += 1
        if self._full or len(self.lines) == MOST_LINES:
            return
        parts = tuple(excerpt(line, self.wanted))
        size = sum(len(escape(one.text).encode()) + _MARK * one.matches for one in parts)
        self._size += size + self.beside
        self._full = self._size > PAGE_HTML and bool(self.lines)
        if not self._full:
            self.lines.append(FoundLine(number, parts))


def excerpt(line: str, wanted: str) -> Iterator[Part]:
    """Around the first match. `wanted` is casefolded, and there is one."""
    begin = 0
    if len(line) > _LONGEST_EXCERPT:
        first, _ = next(_matches(line, wanted))
        begin = max(0, first - _BEFORE)
    shown, at = line[begin : begin + _LONGEST_EXCERPT], 0
    if begin:
        yield Part("…")
    for start, end in _joined(_matches(shown, wanted)):
        if start > at:
            yield Part(shown[at:start])
        yield Part(shown[start:end], matches=True)
        at = end
    if at < len(shown):
        yield Part(shown[at:])
    if begin + len(shown) < len(line):
        yield Part("…")


def _matches(line: str, wanted: str) -> Iterator[tuple[int, int]]:
    """Where they are in the line, whose characters may be more than one when casefolded (ß)."""
    folded = line.casefold()
    at = range(len(line))
    origin = at if len(folded) == len(line) else [i for i in at for _ in line[i].casefold()]
    found = folded.find(wanted)
    while found >= 0:
        end = found + len(wanted)
        yield origin[found], origin[end - 1] + 1
        found = folded.find(wanted, end)


def _joined(matches: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those that touch, as one."""
    before: tuple[int, int] | None = None
    for start, end in matches:
        if before is not None and start <= before[1]:
            before = before[0], end
            continue
        if before is not None:
            yield before
        before = start, end
    if before is not None:
        yield before
