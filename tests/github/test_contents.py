"""A file of a repository, as GitHub shows it."""

from collections.abc import AsyncIterator

import pytest

from sandbox.faults import Fault
from tests.github.github_app import REPO, OnGitHub, on_github
from webhook.errors import UnknownOutcome
from webhook.github.contents import Content, Unchanged, read_file

CALL = f"GET /repos/{REPO}/contents/*"


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        yield world


async def test_what_comes_without_an_etag_is_not_kept_under_that_of_another(
    world: OnGitHub,
) -> None:
    world.installation.permissions["contents"] = "read"
    world.site.push("One", files={"deploy.yml": "a"})
    first = await read_file(world.github, world.scope, "deploy.yml")
    assert isinstance(first, Content)
    again = await read_file(world.github, world.scope, "deploy.yml", etag=first.etag)
    assert again == Unchanged(first.etag)
    other = {"type": "file", "sha": "b", "encoding": "base64", "content": "Yg=="}
    world.there.faults.add(CALL, Fault.status(200, other))
    odd = await read_file(world.github, world.scope, "deploy.yml", etag=first.etag)
    assert odd == Content("", "b", b"b")
    assert await read_file(world.github, world.scope, "deploy.yml", etag="") == first


@pytest.mark.parametrize(
    "document", [{"type": "file", "sha": "b", "encoding": "base64", "content": "a"}, "a", None]
)
async def test_what_is_no_file_is_unclear(world: OnGitHub, document: object) -> None:
    world.installation.permissions["contents"] = "read"
    world.there.faults.add(CALL, Fault(status_code=200, body=document))
    with pytest.raises(UnknownOutcome):
        await read_file(world.github, world.scope, "deploy.yml")
