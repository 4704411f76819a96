"""One call to whoever is notified over HTTP, and what its response means.

Addresses come from deploy.yml and may be secrets: none is in an error. Redirects are not followed.
Source: aiohttp 3.14, `client_exceptions.py`; RFC 9110, 10.2.3 (Retry-After).
Units: seconds, bytes.
Errors: `RetryAt` (429, or no connection: nothing was done), `UnknownOutcome` (a time-out, a
connection that broke, 5xx). Other responses come back as they are.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from webhook.errors import RetryAt, UnknownOutcome

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=8)
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
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


async def call(
    session: aiohttp.ClientSession,
    who: str,
    method: str,
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    clock: Callable[[], datetime],
) -> Response:
    """`who` is called, in the text of errors."""
    try:
        async with session.request(
            method, url, data=body, headers=headers, allow_redirects=False, timeout=TIMEOUT
        ) as received:
            response = Response(received.status, await received.content.read(LARGEST_RESPONSE))
            retry_after = received.headers.get("Retry-After", "")
    except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, aiohttp.ConnectionTimeoutError) as no:
        at = clock() + timedelta(seconds=USUAL_WAIT)
        raise RetryAt(f"{who} cannot be reached ({type(no).__name__})", at) from None
    except TimeoutError:
        raise UnknownOutcome(f"{who} did not answer in time") from None
    except (aiohttp.ClientError, OSError) as no:  # without its text, which may hold the address
        raise UnknownOutcome(f"{who} gave no whole answer ({type(no).__name__})") from None
    if response.status == 429:
        seconds = _wait(response.document().get("retry_after"), retry_after, clock())
        raise RetryAt(f"{who} limits how often it is called", clock() + timedelta(seconds=seconds))
    if response.status >= 500:
        raise UnknownOutcome(f"{who} gave no clear answer (HTTP {response.status})")
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
