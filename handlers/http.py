"""One call to a tool over HTTP: time-outs, sizes, and what each kind of answer means.

Addresses come from deploy.yml alone, so private ones are fine; a redirect is never followed here.
The words of errors name the tool and its origin, not paths or queries, in which secrets may be.

Units: seconds, bytes.
Errors: `ToolUnavailable` (no connection, TLS, 429: nothing was done), `ToolUnsure` (time-out, a
connection that broke, 5xx, an answer too large or not JSON). Other answers come back as they are.
"""

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import aiohttp
from aiohttp import ClientTimeout
from yarl import URL

from handlers.trouble import ToolRejected, ToolUnavailable, ToolUnsure

TIMEOUT = 10.0
LARGEST_ANSWER = 8 * 1024 * 1024
# At once, in one process and to one origin: a tool that hangs must not use up what a worker can do.
MOST_CALLS = 6
MOST_WORDS = 80
# Longer than a `Retry-After` that makes sense while a deployment waits.
LONGEST_WAIT = timedelta(hours=1)


@cache
def tls_context(
    ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """Of paths to PEM files. Errors: OSError (`ssl.SSLError` among them) where they do not fit."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
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
            raise ToolUnsure(
                f"{self.tool} at {self.origin} answers {self.status} with something other than"
                " JSON; does the address in deploy.yml lead to its API?"
            ) from None

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
        said = self._said()
        return f"{start}: {said}" if said else start

    def _said(self) -> str:
        """The tool's own words, if it has any that are short and plain."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        if isinstance(document, dict):
            document = document.get("message") or document.get("error") or ""
        return " ".join(document.split())[:MOST_WORDS] if isinstance(document, str) else ""


class Http:
    """What handlers call their tools with; one for a worker."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout: float = TIMEOUT) -> None:
        self._session = session
        self._timeout = ClientTimeout(total=timeout)
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
        try:
            async with (
                place,
                self._session.request(
                    method,
                    target,
                    headers=headers,
                    json=json,
                    data=data,
                    ssl=tls or True,
                    allow_redirects=False,
                    timeout=self._timeout,
                ) as response,
            ):
                body = await _read(response, name)
        except aiohttp.ClientSSLError as error:
            raise ToolUnavailable(f"no safe connection to {name}: {_tls_words(error)}") from error
        except aiohttp.ClientConnectorError as error:
            words = error.os_error.strerror or "no connection"
            raise ToolUnavailable(f"{name} cannot be reached: {words}") from error
        except TimeoutError as error:
            raise ToolUnsure(f"{name} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ToolUnsure(f"{name} gave no whole answer ({type(error).__name__})") from error
        answer = Answer(tool, origin, response.status, response.headers, body)
        _raise_for(answer)
        return answer


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
    if answer.status >= 500:
        raise ToolUnsure(answer.words(), retry_at=_retry_at(answer.headers))


def _retry_at(headers: Mapping[str, str]) -> datetime | None:
    """Source: RFC 9110, `Retry-After`: seconds, or a date."""
    text = headers.get("Retry-After", "")
    now = datetime.now(UTC)
    if text.isdecimal():
        return now + min(timedelta(seconds=min(int(text), 10**6)), LONGEST_WAIT)
    try:
        return min(parsedate_to_datetime(text).astimezone(UTC), now + LONGEST_WAIT)
    except (ValueError, TypeError):
        return None


def _tls_words(error: aiohttp.ClientSSLError) -> str:
    inner = getattr(error, "certificate_error", None) or error.os_error
    reason = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "TLS failed"
    return f"{reason}; its certificate, or `ca` in deploy.yml, has to be put right"
