"""HTTP requests to GitHub's API, as GitHub documents them.

Source: docs.github.com/rest/about-the-rest-api/api-versions. A GitHub Enterprise Server that is
older than API versions ignores the header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from gidgethub import sansio
from gidgethub.abc import CACHE_TYPE
from gidgethub.aiohttp import GitHubAPI

API_VERSION = "2022-11-28"
# In place of a document that is as it was.
NOT_MODIFIED = object()


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` are found whatever their case. `next_url`: of the next page, as GitHub gives it."""

    document: Any
    headers: Mapping[str, str]
    next_url: str | None


class Transport(GitHubAPI):
    """gidgethub's client with the version of the API, and nothing about a body where none is."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        requester: str,
        base_url: str,
        cache: CACHE_TYPE | None = None,
    ) -> None:
        super().__init__(session, requester, base_url=base_url, cache=cache)
        self._http = session

    async def get_if_changed(
        self, url: str, etag: str, *, oauth_token: str, media: str | None
    ) -> tuple[Any, str]:
        """The document and its ETag, "" if it has none. `NOT_MODIFIED` while it is the one that
        had `etag`, which does not count against the rate limit."""
        address = sansio.format_url(url, None, base_url=self.base_url)
        cache: CACHE_TYPE = {address: (etag, None, NOT_MODIFIED, None)} if etag else {}
        once = Transport(self._http, self.requester, self.base_url, cache)
        accept = sansio.accept_format(media=media)
        document = await once.getitem(url, accept=accept, oauth_token=oauth_token)
        # A response without an ETag leaves that of the one before, which it need not be.
        etags = (kept[0] for kept in cache.values() if kept[2] is document)
        return document, next(etags, None) or ""

    async def send(self, method: str, url: str, *, jwt: str) -> Response:
        """With what the response's headers say."""
        address = sansio.format_url(url, None, base_url=self.base_url)
        sent = sansio.create_headers(self.requester, jwt=jwt)
        status, headers, body = await self._request(method, address, sent)
        document, _, next_url = sansio.decipher_response(status, headers, body)
        return Response(document, headers, next_url)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = {**headers, "x-github-api-version": API_VERSION}
        if not body:
            sent.pop("content-length", None)  # aiohttp writes it where it belongs
        # What has no body would get one's Content-Type.
        unwritten = () if body else ("Content-Type",)
        async with self._http.request(
            method, url, headers=sent, data=body or None, skip_auto_headers=unwritten
        ) as response:
            return response.status, response.headers, await response.read()
