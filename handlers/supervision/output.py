"""A command's output as it is kept: redacted, its beginning and its end.

Units: bytes. A line `::environment_url::https://...` says where the deployment can be seen.

What is beyond the limit costs nearly nothing: only its last bytes are kept, as they came, and
redacted at the end; and it is searched for the marker.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from handlers.text import Redactor, one_line, web_url, worth_hiding

KEPT_END = 16 * 1024
LONGEST_LINE = 4 * 1024  # of those searched for the marker
MOST_UNREAD = 256 * 1024

_MARKER = b"::environment_url::"
_MARKED_URL = re.compile(rb"^%b(\S+)[ \t\r]*$" % _MARKER, re.M)
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")


class Output:
    """Written without buffering, so that the file can be read while the command runs."""

    def __init__(self, path: Path, limit: int, secrets: Iterable[str]) -> None:
        self._file = path.open("wb", buffering=0)
        self._limit = limit
        self._secrets = list(secrets)
        self._redactor = Redactor(self._secrets)
        self._size = 0
        self._end = b""
        self._line = b""
        self.environment_url = ""
        self._recent = b""  # in which a marker may have begun
        self._marked = 0  # for how many more bytes a line with the marker may go on
        # Of what is beyond the limit: the last bytes, and whether earlier ones were dropped.
        self._unread = bytearray()
        self._dropped = False
        self._longest_secret = max(map(len, worth_hiding(self._secrets)), default=0)

    @property
    def is_full(self) -> bool:
        """Only the end of what comes now is kept."""
        return self._size >= self._limit

    def write(self, data: bytes) -> None:
        marked = self._is_marked(data)
        if not self.is_full:
            self._append(self._redactor.feed(data))
            return
        self._unread += data
        if marked:
            self._read_unread()
        elif len(self._unread) > MOST_UNREAD:
            self._drop(len(self._unread) - KEPT_END - 2 * self._longest_secret)

    def _is_marked(self, data: bytes) -> bool:
        """Whether a line with the marker begins or goes on in it."""
        recent = self._recent + data
        self._recent = recent[-len(_MARKER) :]
        if _MARKER in recent:
            self._marked = LONGEST_LINE
            return True
        goes_on = self._marked > 0
        self._marked -= min(self._marked, len(data))
        return goes_on

    def close(self) -> None:
        self._read_unread()
        self._append(self._redactor.finish())
        self._find_url(b"\n")
        beyond = self._size - self._limit
        if beyond > len(self._end):
            self._keep(b"\n[... %b bytes left out ...]\n" % f"{beyond - len(self._end):,}".encode())
        if beyond > 0:
            self._keep(self._end[-beyond:])
        self._file.close()

    def last_line(self) -> str:
        """The last line that is not blank, as plain text."""
        text = _ESCAPE_SEQUENCE.sub("", self._end.decode(errors="replace"))
        lines = (one_line(line) for line in reversed(text.splitlines()))
        return next(filter(None, lines), "")

    def _drop(self, count: int) -> None:
        if count > 0:
            del self._unread[:count]
            self._size += count
            self._dropped = True

    def _read_unread(self) -> None:
        """As if nothing had been dropped, but for the bytes that might be the end of a secret whose
        beginning was: those of two secrets' length, as a secret may be held back after the one."""
        if self._dropped:
            self._redactor = Redactor(self._secrets)
            unsafe = 2 * self._longest_secret
            self._size += len(self._redactor.feed(bytes(self._unread[:unsafe])))
            del self._unread[:unsafe]
            self._end, self._line, self._dropped = b"", b"\0", False
        data = bytes(self._unread)
        self._unread.clear()
        self._append(self._redactor.feed(data))

    def _append(self, data: bytes) -> None:
        self._keep(data[: max(0, self._limit - self._size)])
        self._size += len(data)
        self._end = (self._end + data)[-KEPT_END:]
        self._find_url(data)

    def _keep(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._limit = self._size  # a full disk costs the output, not the deployment

    def _find_url(self, data: bytes) -> None:
        lines, _, rest = (self._line + data).rpartition(b"\n")
        if _MARKER in lines:  # the expression alone would take seconds for 100 MB
            for match in _MARKED_URL.finditer(lines):
                url = web_url(match[1].decode(errors="replace"))
                self.environment_url = url or self.environment_url
        # The rest of a line that is too long is not searched: the NUL prevents a match.
        self._line = rest if len(rest) <= LONGEST_LINE else b"\0"
