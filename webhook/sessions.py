"""The aiohttp session with which one process calls all others: GitHub, Slack, tools.

Source: aiohttp 3.14, `client.py`.
Units: seconds, bytes.
"""

from typing import Any
from urllib.request import getproxies_environment

import aiohttp

# For a whole call. A call of a process that died is over after that, too.
TIMEOUT = aiohttp.ClientTimeout(total=10)
# A policy or a list of links may fill more than aiohttp's 8 KiB of one header, which would then be
# read as no HTTP at all, after the call has been acted upon.
MAX_HEADER = 128 * 1024
MAX_HEADERS = 1000


def open_session() -> aiohttp.ClientSession:
    """With the proxies that the environment names, and without cookies."""
    return aiohttp.ClientSession(
        timeout=TIMEOUT,
        # Where there is none, aiohttp would only search ~/.netrc, in a thread at each call.
        trust_env=bool(getproxies_environment()),
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        max_headers=MAX_HEADERS,
    )


class _NoConnector(aiohttp.BaseConnector):
    """Calls nobody."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        raise aiohttp.ClientConnectionError("nobody is called here")


def closed_session() -> aiohttp.ClientSession:
    """For what must have no effect outside: each call fails before there is a connection."""
    return aiohttp.ClientSession(connector=_NoConnector(), cookie_jar=aiohttp.DummyCookieJar())
