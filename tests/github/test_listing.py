"""What GitHub lists of installations, their repositories and deployments."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.model import Deployment
from tests.github.github_app import REPO, OnGitHub, on_github
from webhook.errors import UnknownOutcome
from webhook.github import listing
from webhook.github.deployment_history import as_deployment, newest_after, statuses_of
from webhook.github.listing import ListedRepository

NO_LIST = {
    "500": Fault.status(500),
    "nothing in it": Fault(status_code=200, body={}),
    "another shape": Fault(status_code=200, body=[1, None]),
    "not GitHub's": Fault(status_code=200, body="<html>a proxy's page</html>"),
}


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        yield world


async def created(world: OnGitHub, environment: str = "qa", **fields: Any) -> Deployment:
    fields = {"environment": environment, "required_contexts": [], **fields}
    deployment: Deployment = await world.there.create_deployment(REPO, **fields)
    return deployment


async def site(world: OnGitHub) -> ListedRepository:
    [found] = await listing.repositories_of(world.github, world.installation.id)
    return found


async def test_all_pages_of_an_installations_repositories_are_read_with_one_token(
    world: OnGitHub,
) -> None:
    new = [world.there.add_repository(f"acme/r{number}") for number in range(120)]
    world.installation.repositories.extend(new)
    found = await listing.repositories_of(world.github, world.installation.id)
    assert [one.full_name for one in found][:2] == [REPO, "acme/r0"]
    assert (len(found), all(one.writable for one in found)) == (121, True)
    assert world.granted() == [{"metadata": "read"}]
    [installed] = await world.github.installations()
    assert listing.may_list(installed)


async def test_deployments_are_paged_and_an_unchanged_page_is_not_sent_again(
    world: OnGitHub,
) -> None:
    for _ in range(101):
        await created(world)
    repository = await site(world)
    page = await listing.deployments_page(world.github, repository, 1)
    assert page is not None
    assert (len(page.deployments), page.last) == (100, False)
    assert await listing.deployments_page(world.github, repository, 1, page.etag) is None
    rest = await listing.deployments_page(world.github, repository, 2)
    assert rest is not None
    assert (len(rest.deployments), rest.last) == (1, True)
    last = await created(world)
    changed = await listing.deployments_page(world.github, repository, 1, page.etag)
    assert changed is not None
    assert changed.deployments[0].deployment.id == last.id
    assert not await listing.has_status(world.github, repository, last.id)
    await world.there.create_status(last.id, "queued")
    assert await listing.has_status(world.github, repository, last.id)


async def test_the_newest_later_one_counts_of_the_same_environment(world: OnGitHub) -> None:
    first, last = await created(world), await created(world, task="deploy:rollback")
    await created(world, "prod")
    about = as_deployment(world.there.documents.deployment(first))
    assert about is not None
    assert await newest_after(world.github, world.scope, about, lambda _: True) == last.id
    assert await newest_after(world.github, world.scope, about, lambda _: False) == 0
    states = ("queued", "in_progress", "success")
    for state in states:
        await world.there.create_status(first.id, state)
    found = await statuses_of(world.github, world.scope, first.id)
    assert tuple(one.state for one in found) == states[::-1]


@pytest.mark.parametrize("fault", NO_LIST.values(), ids=NO_LIST)
async def test_what_is_no_list_is_no_empty_one(world: OnGitHub, fault: Fault) -> None:
    deployment = await created(world)
    repository = await site(world)
    about = as_deployment(world.there.documents.deployment(deployment))
    assert about is not None
    await world.github.require_access(world.scope)
    await listing.has_status(world.github, repository, deployment.id)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: statuses_of(world.github, world.scope, deployment.id),
        lambda: newest_after(world.github, world.scope, about, lambda _: True),
        lambda: listing.has_status(world.github, repository, deployment.id),
        lambda: listing.deployments_page(world.github, repository, 1),
        lambda: listing.repositories_of(world.github, world.installation.id),
    ]
    for call in calls:
        world.there.faults.add("GET *", fault)
        with pytest.raises(UnknownOutcome):
            await call()
