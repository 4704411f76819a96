"""One call to a tool over HTTP: timeouts, size limits, and what each kind of response means.

Addresses come from deploy.yml alone, so private ones are allowed; redirects are never followed
here. GitHub shows 140 characters of a description, so in messages the remedy comes before the
details. Messages name the tool's host, not its paths or queries, which may hold secrets.

Source: aiohttp 3.14, `client.py` and `connector.py`; RFC 9110, section 15; OpenSSL's `x509_vfy.h`.
What servers reply to plain HTTP on a TLS port: Go's net/http, nginx, Apache httpd and Tomcat.
Units: seconds, bytes.
Errors: `Unavailable` (no connection, TLS, 429: nothing was done), `UnknownOutcome` (timeout, a
connection that broke, 5xx except 501, a response too large or of an unknown shape). Other responses
are returned as they are.
"""

import asyncio
import json
import os
import re
import ssl
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientTimeout, hdrs
from multidict import CIMultiDict
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from handlers.errors import Busy, Rejected, Unavailable, UnknownOutcome
from handlers.text import redacted

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
class Response:
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
            raise self.unknown_outcome(f"answers {self.status} with {what}; {CHECK}") from None

    def read(self, kind: type[T] | TypeAdapter[T]) -> T:
        """Its JSON, in a shape; what the shape does not name is left out."""
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_python(self.json())
        except ValidationError:
            words = f"answers with something the relay does not understand; {CHECK}"
            raise self.unknown_outcome(words) from None

    def unknown_outcome(self, words: str) -> UnknownOutcome:
        return UnknownOutcome(f"{self.tool} at {self.origin} {words}")

    def rejected(self) -> Rejected:
        """Of an answer that is not ok: trying again would not help."""
        return Rejected(self.words(), status=self.status)

    def unavailable(self) -> Unavailable:
        """The same, where it may be mended while a run goes on: a token, a proxy."""
        return Unavailable(self.words())

    def words(self) -> str:
        return f"{self.tool} at {self.origin} answers {self.status}: {self._why()}"

    def _why(self) -> str:
        reason = self.reason()
        match self.status:
            case 401 | 403:
                return _NOT_LET_IN[self.status]
            case status if 300 <= status < 400:
                return f"it is elsewhere; correct its address in deploy.yml{self._leads_to()}"
            case 400 if self.url.scheme == "http" and _WANTS_TLS.search(self.body[:2000]):
                return "it wants https; write https:// in deploy.yml"
            case 404 | 405 if not reason or _LOST.fullmatch(reason.lower()):
                return f"nothing is there; {CHECK}"
        return reason or ("is it up?" if self.status in (502, 503, 504) else "its log may say why")

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

    def reason(self) -> str:
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


TRUST_IT = "let the relay trust its authority"
SET_CA = "set `ca` in deploy.yml to its authority"

_CERTIFICATES = {
    9: "certificate not valid yet; check its clock and the relay's",
    10: "expired certificate; renew it there",
    62: f"certificate of another host; {CHECK}",
    64: f"certificate of another host; {CHECK}",
}


class Broken(Exception):
    """A connection that broke, under a name by which aiohttp does not repeat the request."""


def call_error(tool: str, url: URL, error: Exception, untrusted: str) -> Unavailable:
    """`untrusted` is the remedy where nobody here vouches for the tool's certificate."""
    name = f"{tool} at {host_of(url)}"
    if isinstance(error, aiohttp.ClientSSLError):
        return Unavailable(f"no safe connection to {name}: {_of_tls(error, untrusted)}")
    if isinstance(error, ValueError):  # aiohttp.InvalidURL and UnicodeError among them
        return Unavailable(
            f"{name} cannot be called: put its address, or a header (a token with a line break?),"
            " right in deploy.yml"
        )
    if why := _not_reached(error):
        return Unavailable(f"{name} cannot be reached: {why}")
    if isinstance(error, TimeoutError):
        return UnknownOutcome(f"{name} did not answer in time")
    return UnknownOutcome(f"{name} gave no whole answer{_broken_off(error, url)}")


def _of_tls(error: aiohttp.ClientSSLError, untrusted: str) -> str:
    inner = getattr(error, "certificate_error", None) or error.os_error
    if message := getattr(inner, "verify_message", ""):
        code = getattr(inner, "verify_code", 0)
        return f"{_CERTIFICATES.get(code) or f'untrusted certificate; {untrusted}'} ({message})"
    reason = (getattr(inner, "reason", "") or "TLS failed").lower().replace("_", " ")
    return f"check scheme and port in deploy.yml ({reason})"


def _not_reached(error: Exception) -> str:
    match error:
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy; check the relay's HTTPS_PROXY and HTTP_PROXY"
        case aiohttp.ClientConnectorDNSError():
            return f"its name cannot be resolved; {CHECK}"
        case aiohttp.ClientConnectorError():
            # Not `strerror`, in which asyncio writes the address once more.
            number = error.os_error.errno or 0
            why = os.strerror(number).lower() if number > 0 else "no connection"
            return f"{why}; {CHECK}, and that it is up"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection in time; {CHECK}, and firewalls"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answers {error.status}; check the relay's HTTPS_PROXY and NO_PROXY"
    return ""


def _broken_off(error: Exception, url: URL) -> str:
    wants_tls = "; should its address begin with https://?" if url.scheme == "http" else ""
    match error:
        case Broken():
            return f" ({error}){wants_tls}"
        case aiohttp.ClientResponseError():
            return f" (this is not HTTP){wants_tls or '; check scheme and port in deploy.yml'}"
    return " (it broke off in the middle)"


TIMEOUT = 10.0
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
# At once, in one process and to one origin: a tool that hangs must not use up what a worker can do.
MAX_CALLS_PER_ORIGIN = 6
MAX_CALLS = 12
# Of the time-out, so that "cannot be reached" is told apart from "did not answer".
FOR_THE_CONNECTION = 0.8
# Longer, or shorter, than a `Retry-After` that makes sense while a deployment waits.
LONGEST_WAIT = timedelta(hours=1)
SHORTEST_WAIT = timedelta(seconds=1)


@cache
def tls_context(
    ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """Of paths to PEM files. Errors: OSError (`ssl.SSLError` among them) where they do not fit."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, password="")
    return context


@contextmanager
def read_only() -> Iterator[None]:
    """Around calls of a start that only ask: whatever becomes of them, nothing was started."""
    try:
        yield
    except UnknownOutcome as error:
        raise Unavailable(str(error), retry_at=error.retry_at) from error


class Http:
    """What handlers call their tools with; one for a worker."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float = TIMEOUT,
        secrets: frozenset[str] = frozenset(),
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._timeout = ClientTimeout(total=timeout, connect=timeout * FOR_THE_CONNECTION)
        self._places: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_CALLS_PER_ORIGIN)
        )
        self._all = asyncio.Semaphore(MAX_CALLS)

    async def call(
        self,
        tool: str,
        method: str,
        url: str | URL,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        tls: ssl.SSLContext | None = None,
        untrusted: str = TRUST_IT,
    ) -> Response:
        """`params` are added to the URL's query. For the words of errors: `tool` is its name, and
        `untrusted` the remedy where its certificate is not trusted."""
        target = URL(url).extend_query(params or {})
        name = f"{tool} at {host_of(target)}"
        place = self._places[str(target.origin())]
        if place.locked() or self._all.locked():
            raise Busy(f"enough calls to {name} are under way")
        given = CIMultiDict(headers or {})
        credentials: dict[str, str] = {
            header: given.pop(header) for header in _CREDENTIALS if header in given
        }
        try:
            async with (
                place,
                self._all,
                self._session.request(
                    method,
                    target,
                    headers=given,
                    json=json,
                    data=data,
                    ssl=tls or True,
                    allow_redirects=False,
                    timeout=self._timeout,
                    middlewares=(_as_given(credentials),),
                ) as response,
            ):
                body = await _read(response, name)
        except (aiohttp.ClientError, Broken, ValueError, OSError) as error:
            raise call_error(tool, target, error, untrusted) from error
        response = Response(tool, target, response.status, response.headers, body, self._secrets)
        _raise_for(response)
        return response


_CREDENTIALS = (hdrs.AUTHORIZATION, hdrs.COOKIE)


def _as_given(credentials: Mapping[str, str]) -> ClientMiddlewareType:
    """One call is one request, with the credentials that were given and no others.

    aiohttp by itself repeats a GET, PUT or DELETE whose connection broke, although the tool may
    have acted, and adds passwords from ~/.netrc and cookies of earlier answers.
    """

    async def send(request: ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        for name in _CREDENTIALS:
            request.headers.popall(name, None)
        request.headers.update(credentials)
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise Broken(getattr(error, "strerror", None) or "connection closed") from error

    return send


async def _read(response: aiohttp.ClientResponse, name: str) -> bytes:
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > MAX_RESPONSE_BYTES:
            most = f"{MAX_RESPONSE_BYTES // 1024**2} MB"
            raise UnknownOutcome(f"{name} answers with more than {most}; {CHECK}")
    return bytes(pieces)


def _raise_for(response: Response) -> None:
    if response.status == 429:
        words = f"{response.tool} at {response.origin} asks to wait (429)"
        raise Unavailable(words, retry_at=_retry_at(response.headers))
    if response.status >= 500 and response.status != 501:  # which is as final as a 404
        raise UnknownOutcome(response.words(), retry_at=_retry_at(response.headers))


def _retry_at(headers: Mapping[str, str]) -> datetime | None:
    """Source: RFC 9110, `Retry-After`: seconds, or a date."""
    text = headers.get("Retry-After", "")
    now = datetime.now(UTC)
    try:
        if text.isdecimal():
            wanted = now + timedelta(seconds=min(int(text[:9]), 10**6))
        else:
            wanted = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(now + SHORTEST_WAIT, min(wanted, now + LONGEST_WAIT))
