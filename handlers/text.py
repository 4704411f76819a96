"""Text from outside: one line of it, an address in it, and secrets hidden in it.

Secrets are hidden in a stream of bytes, too, wherever its pieces happen to be cut. Every byte that
belongs to any occurrence of a secret is hidden, so that two secrets that overlap leave no part of
either. What might still become a secret is held back until it is decided.

Standard library only: supervise.py runs without site-packages.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

STARS = b"***"
SHORTEST_SECRET = 4
SHORTEST_LINE = 8

MAX_URL = 2000  # characters


def one_line(text: str, limit: int | None = None) -> str:
    """Plain text on one line, without characters that could turn or hide the text around it.

    A longer text than `limit` is cut and ends with an ellipsis.
    """
    if limit is not None:
        text = text[: 10 * limit]  # it may be megabytes
    visible = "".join(letter for letter in text if letter.isprintable() or letter.isspace())
    line = " ".join(visible.split())
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1]}…"


def web_url(value: Any, longest: int = MAX_URL) -> str:
    """The value, if it is an http or https address that people may be sent to; empty otherwise."""
    if not isinstance(value, str) or len(value) > longest:
        return ""
    if not value.isprintable() or set(' <>"') & set(value):
        return ""
    try:
        url = urlsplit(value)
        is_valid = url.scheme in ("http", "https") and url.hostname and url.username is None
        return value if is_valid and url.port != 0 else ""
    except ValueError:
        return ""


def worth_hiding(secrets: Iterable[str]) -> list[bytes]:
    """The secrets, and the longer lines of those with several; tools print keys line by line."""
    found = set()
    for secret in secrets:
        whole = secret.strip()
        if len(whole) >= SHORTEST_SECRET:
            found.add(whole)
        found |= {line.strip() for line in whole.splitlines() if len(line.strip()) >= SHORTEST_LINE}
    return sorted(secret.encode(errors="surrogateescape") for secret in found)


class Redactor:
    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = worth_hiding(secrets)
        self._held = b""
        self._hidden = 0  # so many bytes of `_held` belong to a secret whose stars are out already

    def feed(self, data: bytes) -> bytes:
        text = self._held + data
        return self._redact(text, min((_undecided(text, s) for s in self._secrets), default=None))

    def finish(self) -> bytes:
        return self._redact(self._held, None)

    def _redact(self, text: bytes, decided: int | None) -> bytes:
        """The text up to `decided`, redacted; the rest is held for the next call."""
        stop = len(text) if decided is None else decided
        pieces = []
        covered = self._hidden
        for begin, end in sorted(self._occurrences(text, stop)):
            if begin >= covered:
                pieces += [text[covered:begin], STARS]
            covered = max(covered, end)
        pieces.append(text[covered:stop])
        self._held = text[stop:]
        self._hidden = max(0, covered - stop)
        return b"".join(pieces)

    def _occurrences(self, text: bytes, stop: int) -> Iterator[tuple[int, int]]:
        for secret in self._secrets:
            begin = text.find(secret)
            while 0 <= begin < stop:
                yield begin, begin + len(secret)
                begin = text.find(secret, begin + 1)


def _undecided(text: bytes, secret: bytes) -> int:
    """Where the text's ending may turn out to be the beginning of the secret."""
    begin = text.find(secret[:1], max(0, len(text) - len(secret) + 1))
    while begin >= 0:
        if secret.startswith(text[begin:]):
            return begin
        begin = text.find(secret[:1], begin + 1)
    return len(text)


def redacted(text: str, secrets: Iterable[str]) -> str:
    redactor = Redactor(secrets)
    return (redactor.feed(text.encode(errors="replace")) + redactor.finish()).decode()
