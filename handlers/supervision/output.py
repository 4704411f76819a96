"""A command's output as it is kept: redacted, its beginning and its end.

Units: bytes. A line `::environment_url::https://...` says where the deployment can be seen.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from handlers.text import Redactor, one_line, web_url

KEPT_END = 16 * 1024
LONGEST_LINE = 4 * 1024  # of those searched for the marker

_MARKER = b"::environment_url::"
_MARKED_URL = re.compile(rb"^%b(\S+)[ \t\r]*$" % _MARKER, re.M)
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")


class Output:
    """Written without buffering, so that the file can be read while the command runs."""

    def __init__(self, path: Path, limit: int, secrets: Iterable[str]) -> None:
        self._file = path.open("wb", buffering=0)
        self._limit = limit
        self._redactor = Redactor(secrets)
        self._size = 0
        self._end = b""
        self._line = b""
        self.environment_url = ""

    def write(self, data: bytes) -> None:
        self._append(self._redactor.feed(data))

    def close(self) -> None:
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
