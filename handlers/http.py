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

from handlers.errors import BUSY, Rejected, Unavailable, UnknownOutcome
from handlers.text import one_line, redacted

TIMEOUT = 10.0
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
# At once, in one process and to one origin: a tool that hangs must not use up what a worker can do.
MAX_CALLS_PER_ORIGIN = 6
MAX_CALLS = 12
# Of the timeout, so that "cannot be reached" differs from "did not respond".
CONNECT_SHARE = 0.8
# Longer, or shorter, than a `Retry-After` that makes sense while a deployment waits.
LONGEST_WAIT = timedelta(hours=1)
SHORTEST_WAIT = timedelta(seconds=1)

MAX_REASON = 80  # characters
MAX_HOST = 60
CHECK = "check its address in deploy.yml"
TRUST_IT = "let the relay trust its authority"
SET_CA = "set `ca` in deploy.yml to its authority"

T = TypeVar("T")

_FORBIDDEN = {
    401: "it does not know the token; check it in deploy.yml",
    403: "the token may not do this; check its rights",
}
# Servers' bodies for an unknown path, which add nothing to the status.
_UNHELPFUL = re.compile(
    r"(40[45]\W*)?((page )?not found|method not allowed|no message available)\W*"
)
_WANTS_TLS = re.compile(rb"https (server|port)|ssl-enabled server|requires tls", re.I)
_CERTIFICATES = {
    9: "certificate not valid yet; check its clock and the relay's",
    10: "expired certificate; renew it there",
    62: f"certificate of another host; {CHECK}",
    64: f"certificate of another host; {CHECK}",
}
_CREDENTIALS = (hdrs.AUTHORIZATION, hdrs.COOKIE)


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `headers` may hold credentials; `body` is None where there is none."""

    method: str
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A tool's response to a call of `url`; `tool` is its name in messages, in which `secrets` are
    hidden."""

    tool: str
    url: URL = field(repr=False)
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def origin(self) -> str:
        """For messages."""
        return host_of(self.url)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_page(self) -> bool:
        """Whether it is a web page for people, to sign in for example.

        Some frameworks call all that they send HTML, so the first byte counts, too.
        """
        is_html = "html" in self.headers.get(hdrs.CONTENT_TYPE, "").lower()
        return is_html and self.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            what = "a web page" if self.is_page else "something other than JSON"
            raise self.unknown_outcome(f"returned {self.status} with {what}; {CHECK}") from None

    def read(self, shape: type[T] | TypeAdapter[T]) -> T:
        """Its JSON in that shape; fields that the shape does not name are left out."""
        adapter = shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)
        try:
            return adapter.validate_python(self.json())
        except ValidationError:
            predicate = f"returned something the relay does not understand; {CHECK}"
            raise self.unknown_outcome(predicate) from None

    def unknown_outcome(self, predicate: str) -> UnknownOutcome:
        return UnknownOutcome(f"{self.tool} at {self.origin} {predicate}", code="bad_response")

    def rejected(self) -> Rejected:
        """For a response that is not ok, where trying again would not help."""
        return Rejected(self.message(), status=self.status, reason=self.reason())

    def unavailable(self) -> Unavailable:
        """The same for something that may be fixed while a run is in progress: a token, a proxy."""
        return Unavailable(self.message())

    def message(self) -> str:
        return f"{self.tool} at {self.origin} returned {self.status}: {self._explanation()}"

    def _explanation(self) -> str:
        reason = self.reason()
        match self.status:
            case 401 | 403:
                return _FORBIDDEN[self.status]
            case status if 300 <= status < 400:
                return f"it has moved; correct its address in deploy.yml{self._leads_to()}"
            case 400 if self.url.scheme == "http" and _WANTS_TLS.search(self.body[:2000]):
                return "it wants https; write https:// in deploy.yml"
            case 404 | 405 if not reason or _UNHELPFUL.fullmatch(reason.lower()):
                return f"nothing is there; {CHECK}"
        return reason or ("is it up?" if self.status in (502, 503, 504) else "its log may say why")

    def _leads_to(self) -> str:
        target = self.target()
        if target is None:
            return ""
        if target.origin() == self.url.origin():
            return " (it leads to another path)"
        host = host_of(target)
        return f" (it leads to {target.scheme}://{host})" if len(host) <= MAX_HOST else ""

    def target(self) -> URL | None:
        """Where a redirect leads."""
        location = self.headers.get(hdrs.LOCATION, "")
        try:
            target = self.url.join(URL(location))
            is_valid = location and target.scheme in ("http", "https") and target.host
        except ValueError:
            return None
        return target if is_valid else None

    def reason(self) -> str:
        """The tool's own explanation, on one line; empty if there is none in plain text."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            is_text = self.headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("text/plain")
            document = self.body[: 4 * MAX_REASON].decode(errors="replace") if is_text else ""
        if isinstance(document, dict):
            values = (document.get(key) for key in ("message", "error", "detail", "title"))
            document = next((text for text in values if isinstance(text, str) and text), "")
        if not isinstance(document, str):
            return ""
        # Redacted before it is cut, or the first part of a secret might be left.
        return one_line(redacted(one_line(document), self.secrets), MAX_REASON)


def host_of(url: URL) -> str:
    """With its port, unless it is the scheme's own."""
    return url.host_port_subcomponent or ""


def call_error(tool: str, url: URL, error: Exception, untrusted: str) -> Unavailable:
    """For a call without a response; `untrusted` is the remedy for an unknown authority."""
    name = f"{tool} at {host_of(url)}"
    if isinstance(error, aiohttp.ClientSSLError):
        message = f"no safe connection to {name}: {_tls_reason(error, untrusted)}"
        return Unavailable(message, code="tls_failed")
    if isinstance(error, ValueError):  # aiohttp.InvalidURL and UnicodeError among them
        return Unavailable(
            f"{name} cannot be called: correct its address or a header (a token with a line break?)"
            " in deploy.yml",
            code="bad_request",
        )
    if reason := _connect_reason(error):
        return Unavailable(f"{name} cannot be reached: {reason}", code="unreachable")
    if isinstance(error, TimeoutError):
        return UnknownOutcome(f"{name} did not respond in time", code="timeout")
    detail, remedy = "it broke off in the middle", ""
    if isinstance(error, aiohttp.ClientResponseError):
        remedy = _scheme_remedy(url) or "; check scheme and port in deploy.yml"
        detail = "this is not HTTP"
    return broken_connection(name, f"({detail}){remedy}")


def broken_connection(name: str, detail: str) -> UnknownOutcome:
    return UnknownOutcome(f"{name} gave no full response {detail}", code="broken_connection")


def _scheme_remedy(url: URL) -> str:
    return "; should its address begin with https://?" if url.scheme == "http" else ""


def _tls_reason(error: aiohttp.ClientSSLError, untrusted: str) -> str:
    inner = getattr(error, "certificate_error", None) or error.os_error
    if detail := getattr(inner, "verify_message", ""):
        number = getattr(inner, "verify_code", 0)
        return f"{_CERTIFICATES.get(number) or f'untrusted certificate; {untrusted}'} ({detail})"
    reason = (getattr(inner, "reason", "") or "TLS failed").lower().replace("_", " ")
    return f"check scheme and port in deploy.yml ({reason})"


def _connect_reason(error: Exception) -> str:
    """Why there was no connection; empty if there was one."""
    match error:
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy; check the relay's HTTPS_PROXY and HTTP_PROXY"
        case aiohttp.ClientConnectorDNSError():
            return f"its name cannot be resolved; {CHECK}"
        case aiohttp.ClientConnectorError():
            # Not `strerror`, in which asyncio writes the address once more.
            number = error.os_error.errno or 0
            reason = os.strerror(number).lower() if number > 0 else "no connection"
            return f"{reason}; {CHECK}, and that it is up"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection in time; {CHECK}, and firewalls"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy returned {error.status}; check the relay's HTTPS_PROXY and NO_PROXY"
    return ""


@cache
def tls_context(
    ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """Of paths to PEM files. Errors: OSError (`ssl.SSLError` among them) if they do not fit."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        # Without a password OpenSSL would prompt for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, password="")
    return context


@contextmanager
def read_only() -> Iterator[None]:
    """Around calls of a start that only read: whatever their outcome, nothing was started."""
    try:
        yield
    except UnknownOutcome as error:
        raise Unavailable(str(error), code=error.code, retry_at=error.retry_at) from error


class Http:
    """What handlers call their tools with; one for each worker."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float = TIMEOUT,
        secrets: frozenset[str] = frozenset(),
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._timeout = ClientTimeout(total=timeout, connect=timeout * CONNECT_SHARE)
        self._per_origin: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_CALLS_PER_ORIGIN)
        )
        self._all = asyncio.Semaphore(MAX_CALLS)

    def hide(self, secrets: frozenset[str]) -> None:
        """These too, in messages from now on."""
        self._secrets |= secrets

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
        """`params` are added to the URL's query. In messages, `tool` is its name and `untrusted`
        the remedy if its certificate is not trusted."""
        target = URL(url).extend_query(params or {})
        name = f"{tool} at {host_of(target)}"
        of_origin = self._per_origin[str(target.origin())]
        if of_origin.locked() or self._all.locked():
            raise Unavailable(f"too many calls to {name} are under way", code=BUSY)
        given = CIMultiDict(headers or {})
        credentials: dict[str, str] = {
            header: given.pop(header) for header in _CREDENTIALS if header in given
        }
        try:
            async with (
                of_origin,
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
                    middlewares=(_one_request(name, credentials),),
                ) as received,
            ):
                body = await _read(received, name)
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise call_error(tool, target, error, untrusted) from error
        response = Response(tool, target, received.status, received.headers, body, self._secrets)
        _raise_for_status(response)
        return response

    async def send(
        self,
        tool: str,
        request: Request,
        *,
        tls: ssl.SSLContext | None = None,
        untrusted: str = TRUST_IT,
    ) -> Response:
        """As `call`."""
        return await self.call(
            tool,
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            tls=tls,
            untrusted=untrusted,
        )


def _one_request(name: str, credentials: Mapping[str, str]) -> ClientMiddlewareType:
    """One call is one request, with the credentials that were given and no others.

    aiohttp by itself repeats a GET, PUT or DELETE whose connection broke, although the tool may
    have acted, and adds passwords from ~/.netrc and cookies of earlier responses.
    """

    async def send(request: ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        for header in _CREDENTIALS:
            request.headers.popall(header, None)
        request.headers.update(credentials)
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            reason = getattr(error, "strerror", None) or "connection closed"
            # Not an error of aiohttp's, or it would repeat the request.
            raise broken_connection(name, f"({reason}){_scheme_remedy(request.url)}") from error

    return send


async def _read(received: aiohttp.ClientResponse, name: str) -> bytes:
    pieces = bytearray()
    async for piece in received.content.iter_any():
        pieces += piece
        if len(pieces) > MAX_RESPONSE_BYTES:
            most = f"{MAX_RESPONSE_BYTES // 1024**2} MB"
            raise UnknownOutcome(f"{name} returned more than {most}; {CHECK}", code="too_large")
    return bytes(pieces)


def _raise_for_status(response: Response) -> None:
    retry_at = _retry_at(response.headers)
    if response.status == 429:
        message = f"{response.tool} at {response.origin} asks to wait (429)"
        raise Unavailable(message, code="rate_limited", retry_at=retry_at)
    if response.status >= 500 and response.status != 501:  # which is as final as a 404
        raise UnknownOutcome(response.message(), code="server_error", retry_at=retry_at)


def _retry_at(headers: Mapping[str, str]) -> datetime | None:
    """Source: RFC 9110, `Retry-After`: seconds, or a date."""
    text = headers.get("Retry-After", "")
    now = datetime.now(UTC)
    try:
        if text.isdecimal():
            requested = now + timedelta(seconds=min(int(text[:9]), 10**6))
        else:
            requested = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(now + SHORTEST_WAIT, min(requested, now + LONGEST_WAIT))
