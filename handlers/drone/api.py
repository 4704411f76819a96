"""Calls to Drone: the token's user, and the builds of one repository.

Source: https://github.com/harness/drone/tree/drone/handler/api, user and repos/builds (Drone 2)
Units: times are Unix seconds.
Errors: those of http.py; `Rejected` for Drone's 4xx (it returns 404, too, to users who may not see
or do something); `UnknownOutcome` for JSON of another shape.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from yarl import URL

from handlers.errors import Rejected
from handlers.http import SET_CA, Http, Request, Response

PAGE = 100  # the most that Drone lists at once

Status = Annotated[str, Field(max_length=60)]
T = TypeVar("T")


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Step(_Document):
    name: str
    status: Status
    exit_code: int = 0
    errignore: bool = False
    error: str = ""


class Stage(_Document):
    """One pipeline of a build; only it, not the build, is `blocked` while it waits for approval."""

    status: Status
    error: str = ""
    steps: list[Step] | None = None


class Build(_Document):
    """Its stages come with one build, not with a list."""

    number: int = Field(ge=1, le=2**63 - 1)
    status: Status
    event: str
    after: str
    created: int
    error: str = ""
    params: dict[str, str] | None = None
    deploy_id: int = 0
    stages: list[Stage] | None = None


class User(_Document):
    login: Annotated[str, Field(min_length=1, max_length=250)]


_ONE = TypeAdapter(Build)
_LIST = TypeAdapter(list[Build])
_CREATED: TypeAdapter[Build | None] = TypeAdapter(Build | None)


async def token_owner(http: Http, url: str, token: str, tls: ssl.SSLContext | None) -> str:
    """The login of its user."""
    response = await http.call(
        "Drone", "GET", f"{url}/api/user", headers=_headers(token), tls=tls, untrusted=SET_CA
    )
    return _read(TypeAdapter(User), response).login


@dataclass(frozen=True, slots=True)
class Builds:
    """Of `repo`, which is Drone's slug."""

    http: Http
    url: str
    token: str = field(repr=False)
    repo: str
    tls: ssl.SSLContext | None = None

    def page_of(self, number: int) -> str:
        """Where people see a build."""
        return f"{self.url}/{self.repo}/{number}"

    async def newest(self, page: int) -> list[Build]:
        """Newest first, a hundred on each page."""
        response = await self._call("GET", "", {"page": f"{page}", "per_page": f"{PAGE}"})
        if response.status == 404:
            predicate = f"has no repository '{self.repo}', or none that the token's user may see"
            raise Rejected(f"Drone at {response.origin} {predicate}", status=404)
        return _read(_LIST, response)

    async def one(self, number: int) -> Build:
        return _read(_ONE, await self._call("GET", f"/{number}"))

    async def are_visible(self) -> bool:
        return (await self._call("GET", "", {"per_page": "1"})).ok

    async def promote(self, number: int, verb: str, query: Mapping[str, str]) -> Build | None:
        """`verb` is `promote` or `rollback`; None where no pipeline is triggered."""
        response = await self._send(self.to_promote(number, verb, query))
        return self._created(response, "its token's user needs write access to")

    async def create(self, query: Mapping[str, str]) -> Build | None:
        """Of a commit and a branch; None where no pipeline is triggered."""
        response = await self._send(self.to_create(query))
        return self._created(response, "no such commit, or its token's user lacks write access to")

    def to_promote(self, number: int | str, verb: str, query: Mapping[str, str]) -> Request:
        return self._request("POST", f"/{number}/{verb}", query)

    def to_create(self, query: Mapping[str, str]) -> Request:
        return self._request("POST", "", query)

    async def kill(self, number: int) -> None:
        """Drone returns 200 for one that has ended, too, and 404 to users who may only read."""
        response = await self._call("DELETE", f"/{number}")
        if response.ok or (response.status == 404 and await self._is_gone(number)):
            return
        raise response.unavailable()

    async def _is_gone(self, number: int) -> bool:
        return (await self._call("GET", f"/{number}")).status == 404

    def _created(self, response: Response, not_found: str) -> Build | None:
        if response.status == 404:
            message = f"Drone at {response.origin} returned 404: {not_found} {self.repo}"
            raise Rejected(message, status=404)
        if response.status in (414, 431):
            message = (
                f"Drone at {response.origin}: payload and parameters are too long for an address"
            )
            raise Rejected(message, status=response.status)
        return _read(_CREATED, response)

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> Response:
        return await self._send(self._request(method, path, query))

    def _request(self, method: str, path: str, query: Mapping[str, str] | None = None) -> Request:
        url = URL(f"{self.url}/api/repos/{self.repo}/builds{path}").extend_query(query or {})
        return Request(method, url, _headers(self.token))

    async def _send(self, request: Request) -> Response:
        return await self.http.send("Drone", request, tls=self.tls, untrusted=SET_CA)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _read(kind: TypeAdapter[T], response: Response) -> T:
    if not response.ok:
        raise response.rejected()
    return response.read(kind)
