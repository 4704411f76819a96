"""One call to whoever is notified over HTTP, and what its response means.

Addresses come from deploy.yml and may be secrets: none is in an error. Redirects are not followed.
Source: aiohttp 3.14, `client_exceptions.py`; RFC 9110, 10.2.3 (Retry-After).
Units: seconds, bytes.
Errors: `RetryAt` (429, or no connection: nothing was done), `UnknownOutcome` (a time-out, a
connection that broke, 5xx). Other responses come back as they are.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from webhook.errors import RetryAt, UnknownOutcome
from webhook.notifiers.contract import NotifierContext

LARGEST_RESPONSE = 256 * 1024
SHORTEST_WAIT, LONGEST_WAIT = 0.5, 3600.0
# Where somebody limits, or cannot be reached, and does not say for how long.
USUAL_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def document(self) -> dict[str, Any]:
        """Empty where the body is no JSON object."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):  # not JSON, or nested without end
            return {}
        return found if isinstance(found, dict) else {}


def digest_of(document: Any) -> str:
    """Equal for equal JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


async def call(
    context: NotifierContext,
    who: str,
    method: str,
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
) -> Response:
    """`who` is called, in the text of errors."""
    # So that "cannot be reached" differs from "did not respond".
    timeout = aiohttp.ClientTimeout(total=context.timeout, connect=context.timeout * 0.8)
    try:
        async with context.http.request(
            method, url, data=body, headers=headers, allow_redirects=False, timeout=timeout
        ) as received:
            response = Response(received.status, await received.content.read(LARGEST_RESPONSE))
            retry_after = received.headers.get("Retry-After", "")
    except (
        aiohttp.ClientConnectorError,
        aiohttp.InvalidURL,
        aiohttp.ConnectionTimeoutError,
    ) as error:
        text = f"{who} cannot be reached ({type(error).__name__})"
        raise RetryAt.in_seconds(text, USUAL_WAIT, context.clock()) from None
    except TimeoutError:
        raise UnknownOutcome(f"{who} did not respond in time") from None
    except (aiohttp.ClientError, OSError) as error:  # without its text, which may hold the address
        raise UnknownOutcome(f"{who} gave no full response ({type(error).__name__})") from None
    if response.status == 429:
        now = context.clock()
        seconds = _wait(response.document().get("retry_after"), retry_after, now)
        raise RetryAt.in_seconds(f"{who} limits how often it is called", seconds, now)
    if response.status >= 500:
        raise UnknownOutcome(f"{who} gave no clear response (HTTP {response.status})")
    return response


def _wait(of_the_body: Any, of_the_header: str, now: datetime) -> float:
    """In the body it is the more exact one."""
    if isinstance(of_the_body, int | float) and not isinstance(of_the_body, bool):
        seconds = float(of_the_body)
    elif of_the_header.isascii() and of_the_header.isdigit():
        seconds = float(of_the_header)
    else:
        seconds = _until(of_the_header, now)
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def _until(date: str, now: datetime) -> float:
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return USUAL_WAIT
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
