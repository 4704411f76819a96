"""One call to a tool over HTTP: time-outs, sizes, and what each kind of answer means.

Addresses come from deploy.yml alone, so private ones are fine; a redirect is never followed here.
The words of errors name the tool and its origin, not paths or queries, in which secrets may be.

Source: aiohttp 3.14, `client.py` and `connector.py`, for what it raises when.
Units: seconds, bytes.
Errors: `ToolUnavailable` (no connection, TLS, 429: nothing was done), `ToolUnsure` (time-out, a
connection that broke, 5xx but 501, an answer too large or not understood). Other answers come back
as they are.
"""

import asyncio
import json
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

from handlers.trouble import ToolRejected, ToolUnavailable, ToolUnsure

TIMEOUT = 10.0
LARGEST_ANSWER = 8 * 1024 * 1024
# At once, in one process and to one origin: a tool that hangs must not use up what a worker can do.
MOST_CALLS = 6
MOST_WORDS = 80
# Of the time-out, so that "cannot be reached" is told apart from "did not answer".
FOR_THE_CONNECTION = 0.8
# Longer, or shorter, than a `Retry-After` that makes sense while a deployment waits.
LONGEST_WAIT = timedelta(hours=1)
SHORTEST_WAIT = timedelta(seconds=1)

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said; `tool` and `origin` are for the words of errors."""

    tool: str
    origin: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise self.unclear(
                f"answers {self.status} with something other than JSON; does the address in"
                " deploy.yml lead to its API?"
            ) from None

    def read(self, kind: type[T] | TypeAdapter[T]) -> T:
        """Its JSON, in a shape; what the shape does not name is left out."""
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_python(self.json())
        except ValidationError:
            words = "answers with something that the relay does not understand"
            raise self.unclear(words) from None

    def unclear(self, words: str) -> ToolUnsure:
        return ToolUnsure(f"{self.tool} at {self.origin} {words}")

    def refusal(self) -> ToolRejected:
        """Of an answer that is not ok: trying again would not help."""
        return ToolRejected(self.words(), status=self.status)

    def trouble(self) -> ToolUnavailable:
        """The same, where it may be mended while a run goes on: a token, a proxy."""
        return ToolUnavailable(self.words())

    def words(self) -> str:
        start = f"{self.tool} at {self.origin} answers {self.status}"
        match self.status:
            case 401:
                return f"{start}: it does not know the token; check it in deploy.yml"
            case 403:
                return f"{start}: the token may not do this; check its rights"
            case status if 300 <= status < 400:
                return f"{start}: it is elsewhere; correct its address in deploy.yml"
        said = self.said()
        return f"{start}: {said}" if said else start

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
        words = "".join(filter(str.isprintable, " ".join(document.split())))
        return words[:MOST_WORDS]


@contextmanager
def only_asking() -> Iterator[None]:
    """Around calls of a start that only ask: whatever becomes of them, nothing was started."""
    try:
        yield
    except ToolUnsure as trouble:
        raise ToolUnavailable(str(trouble), retry_at=trouble.retry_at) from trouble


class _Broken(Exception):
    """A connection that broke, under a name by which aiohttp does not repeat the request."""


class Http:
    """What handlers call their tools with; one for a worker."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout: float = TIMEOUT) -> None:
        self._session = session
        self._timeout = ClientTimeout(total=timeout, connect=timeout * FOR_THE_CONNECTION)
        self._places: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MOST_CALLS)
        )

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
    ) -> Answer:
        """`tool` is its name in the words of errors. `params` are added to the URL's query."""
        target = URL(url).extend_query(params or {})
        origin = str(target.origin())
        name = f"{tool} at {origin}"
        place = self._places[origin]
        if place.locked():
            soon = datetime.now(UTC) + timedelta(seconds=0.5)
            raise ToolUnavailable(f"enough calls to {name} are under way", retry_at=soon)
        given = CIMultiDict(headers or {})
        credentials: dict[str, str] = {
            header: given.pop(header) for header in _CREDENTIALS if header in given
        }
        try:
            async with (
                place,
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
        except (aiohttp.ClientError, _Broken, ValueError, OSError) as error:
            raise _trouble(name, error) from error
        answer = Answer(tool, origin, response.status, response.headers, body)
        _raise_for(answer)
        return answer


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
            raise _Broken(getattr(error, "strerror", None) or "connection closed") from error

    return send


def _trouble(name: str, error: Exception) -> ToolUnavailable:
    """What a call that got no answer means."""
    if isinstance(error, aiohttp.ClientSSLError):
        return ToolUnavailable(f"no safe connection to {name}: {_tls_words(error)}")
    if isinstance(error, ValueError):  # aiohttp.InvalidURL and UnicodeError among them
        return ToolUnavailable(
            f"{name} cannot be called: its address in deploy.yml, or a value for a header (a token"
            " with a line break?), has to be put right"
        )
    if why := _not_reached(error):
        return ToolUnavailable(f"{name} cannot be reached: {why}")
    if isinstance(error, TimeoutError):
        return ToolUnsure(f"{name} did not answer in time")
    words = str(error) if isinstance(error, _Broken) else type(error).__name__
    return ToolUnsure(f"{name} gave no whole answer ({words})")


def _not_reached(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or "no connection"
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answers {error.status}"
    return ""


async def _read(response: aiohttp.ClientResponse, name: str) -> bytes:
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > LARGEST_ANSWER:
            raise ToolUnsure(f"{name} answers with more than {LARGEST_ANSWER // 1024**2} MB")
    return bytes(pieces)


def _raise_for(answer: Answer) -> None:
    if answer.status == 429:
        words = f"{answer.tool} at {answer.origin} asks to wait (429)"
        raise ToolUnavailable(words, retry_at=_retry_at(answer.headers))
    if answer.status >= 500 and answer.status != 501:  # which is as final as a 404
        raise ToolUnsure(answer.words(), retry_at=_retry_at(answer.headers))


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


def _tls_words(error: aiohttp.ClientSSLError) -> str:
    inner = getattr(error, "certificate_error", None) or error.os_error
    if message := getattr(inner, "verify_message", ""):
        return f"{message}; its certificate, or `ca` in deploy.yml, has to be put right"
    reason = (getattr(inner, "reason", "") or "TLS failed").lower().replace("_", " ")
    return f"{reason}; does its address in deploy.yml have the right scheme and port?"
