"""One call to a tool over HTTP: time-outs, sizes, and what each kind of answer means.

Addresses come from deploy.yml alone, so private ones are fine; a redirect is never followed here.

Source: aiohttp 3.14, `client.py` and `connector.py`.
Units: seconds, bytes.
Errors: `Unavailable` (no connection, TLS, 429: nothing was done), `UnknownOutcome` (time-out, a
connection that broke, 5xx but 501, an answer too large or not understood). Other answers come back
as they are.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientTimeout, hdrs
from multidict import CIMultiDict
from yarl import URL

from handlers.errors import Busy, Unavailable, UnknownOutcome
from handlers.http_answer import CHECK, Answer, host_of
from handlers.http_trouble import SET_CA, TRUST_IT, Broken, no_answer

__all__ = ["SET_CA", "Answer"]

TIMEOUT = 10.0
LARGEST_ANSWER = 8 * 1024 * 1024
# At once, in one process and to one origin: a tool that hangs must not use up what a worker can do.
MOST_CALLS = 6
MOST_CALLS_IN_ALL = 12
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
def only_asking() -> Iterator[None]:
    """Around calls of a start that only ask: whatever becomes of them, nothing was started."""
    try:
        yield
    except UnknownOutcome as trouble:
        raise Unavailable(str(trouble), retry_at=trouble.retry_at) from trouble


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
            lambda: asyncio.Semaphore(MOST_CALLS)
        )
        self._all = asyncio.Semaphore(MOST_CALLS_IN_ALL)

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
    ) -> Answer:
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
            raise no_answer(tool, target, error, untrusted) from error
        answer = Answer(tool, target, response.status, response.headers, body, self._secrets)
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
            raise Broken(getattr(error, "strerror", None) or "connection closed") from error

    return send


async def _read(response: aiohttp.ClientResponse, name: str) -> bytes:
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > LARGEST_ANSWER:
            most = f"{LARGEST_ANSWER // 1024**2} MB"
            raise UnknownOutcome(f"{name} answers with more than {most}; {CHECK}")
    return bytes(pieces)


def _raise_for(answer: Answer) -> None:
    if answer.status == 429:
        words = f"{answer.tool} at {answer.origin} asks to wait (429)"
        raise Unavailable(words, retry_at=_retry_at(answer.headers))
    if answer.status >= 500 and answer.status != 501:  # which is as final as a 404
        raise UnknownOutcome(answer.words(), retry_at=_retry_at(answer.headers))


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
