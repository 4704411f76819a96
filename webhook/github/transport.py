"""HTTP requests to GitHub's API, as GitHub documents them.

Source: docs.github.com/rest/about-the-rest-api/api-versions. A GitHub Enterprise Server that is
older than API versions ignores the header.
"""

from collections.abc import Mapping

import aiohttp
from gidgethub.aiohttp import GitHubAPI

API_VERSION = "2022-11-28"


class Transport(GitHubAPI):
    """gidgethub's client with the version of the API, and nothing about a body where none is."""

    def __init__(self, session: aiohttp.ClientSession, requester: str, base_url: str) -> None:
        super().__init__(session, requester, base_url=base_url)
        self._http = session

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = {**headers, "x-github-api-version": API_VERSION}
        if not body:
            sent.pop("content-length", None)  # aiohttp writes it where it belongs
        # An empty body that is not None would get a Content-Type.
        async with self._http.request(method, url, headers=sent, data=body or None) as response:
            return response.status, response.headers, await response.read()
