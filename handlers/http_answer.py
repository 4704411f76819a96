"""What a tool answered: its document, and what is said to people where it is of no use.

GitHub shows 140 characters, so the remedy comes before the details. The words name the tool's host,
not paths or queries, in which secrets may be.

Source: RFC 9110, section 15. What servers say to plain HTTP on a port for TLS: Go's net/http,
nginx, Apache httpd and Tomcat.
Errors: `UnknownOutcome` for a document that is not understood.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import hdrs
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.redaction import redacted

MOST_WORDS = 80
LONGEST_HOST = 60
CHECK = "check its address in deploy.yml"

T = TypeVar("T")

_NOT_LET_IN = {
    401: "it does not know the token; check it in deploy.yml",
    403: "the token may not do this; check its rights",
}
# What servers say to whoever is lost, which tells people no more than the status.
_LOST = re.compile(r"(40[45]\W*)?((page )?not found|method not allowed|no message available)\W*")
_WANTS_TLS = re.compile(rb"https (server|port)|ssl-enabled server|requires tls", re.I)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said to a call of `url`; `tool` is its name in the words of errors, in which
    `secrets` never stand."""

    tool: str
    url: URL = field(repr=False)
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def origin(self) -> str:
        """For the words of errors."""
        return host_of(self.url)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_page(self) -> bool:
        """Whether it is for people: one to sign in at, for example.

        Some frameworks call all that they send HTML, so what it begins with counts, too.
        """
        named_so = "html" in self.headers.get(hdrs.CONTENT_TYPE, "").lower()
        return named_so and self.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            what = "a web page" if self.is_page else "something other than JSON"
            raise self.unclear(f"answers {self.status} with {what}; {CHECK}") from None

    def read(self, kind: type[T] | TypeAdapter[T]) -> T:
        """Its JSON, in a shape; what the shape does not name is left out."""
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_python(self.json())
        except ValidationError:
            words = f"answers with something the relay does not understand; {CHECK}"
            raise self.unclear(words) from None

    def unclear(self, words: str) -> UnknownOutcome:
        return UnknownOutcome(f"{self.tool} at {self.origin} {words}")

    def refusal(self) -> Rejected:
        """Of an answer that is not ok: trying again would not help."""
        return Rejected(self.words(), status=self.status)

    def trouble(self) -> Unavailable:
        """The same, where it may be mended while a run goes on: a token, a proxy."""
        return Unavailable(self.words())

    def words(self) -> str:
        return f"{self.tool} at {self.origin} answers {self.status}: {self._why()}"

    def _why(self) -> str:
        said = self.said()
        match self.status:
            case 401 | 403:
                return _NOT_LET_IN[self.status]
            case status if 300 <= status < 400:
                return f"it is elsewhere; correct its address in deploy.yml{self._leads_to()}"
            case 400 if self.url.scheme == "http" and _WANTS_TLS.search(self.body[:2000]):
                return "it wants https; write https:// in deploy.yml"
            case 404 | 405 if not said or _LOST.fullmatch(said.lower()):
                return f"nothing is there; {CHECK}"
        return said or ("is it up?" if self.status in (502, 503, 504) else "its log may say why")

    def _leads_to(self) -> str:
        target = self.target()
        if target is None:
            return ""
        if target.origin() == self.url.origin():
            return " (it leads to another path)"
        host = host_of(target)
        return f" (it leads to {target.scheme}://{host})" if len(host) <= LONGEST_HOST else ""

    def target(self) -> URL | None:
        """Where a redirect leads."""
        location = self.headers.get(hdrs.LOCATION, "")
        try:
            target = self.url.join(URL(location))
            sound = location and target.scheme in ("http", "https") and target.host
        except ValueError:
            return None
        return target if sound else None

    def said(self) -> str:
        """The tool's own words, if it has any that are short and plain."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            plain = self.headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("text/plain")
            document = self.body[: 4 * MOST_WORDS].decode(errors="replace") if plain else ""
        if isinstance(document, dict):
            of_keys = (document.get(key) for key in ("message", "error", "detail", "title"))
            document = next((words for words in of_keys if isinstance(words, str) and words), "")
        if not isinstance(document, str):
            return ""
        # Hidden before it is cut, or the first part of one might be left.
        words = redacted(" ".join(document.split()), self.secrets)
        return "".join(filter(str.isprintable, words))[:MOST_WORDS]


def host_of(url: URL) -> str:
    """With its port, unless that goes without saying."""
    return url.host_port_subcomponent or ""
