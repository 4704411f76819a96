"""Deployments that the App creates on GitHub."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sandbox.faults import Fault
from tests.github.github_app import OPEN, REPO, OnGitHub, on_github
from webhook.errors import INVALID, Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.github.deployments import NewDeployment, create_deployment, find_deployment

CREATE = "POST /repos/acme/site/deployments"
MARKER = "relay-7f3a"
NEW = NewDeployment(
    ref="topic",
    environment="qa",
    task="deploy:rollback",
    payload={"from": 7},
    description="Rolled back",
    production=False,
    transient=True,
    marker=MARKER,
)


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        yield world


async def test_a_deployment_is_created_as_requested(world: OnGitHub) -> None:
    created = await create_deployment(world.github, world.scope, NEW)
    deployment = world.there.deployments[created]
    assert (deployment.ref, deployment.environment, deployment.task) == (
        "topic",
        "qa",
        "deploy:rollback",
    )
    assert deployment.payload == {"from": 7}
    assert deployment.description == f"Rolled back {MARKER}"
    assert (deployment.production, deployment.transient) == (False, True)
    assert deployment.by_app
    assert world.granted() == [{"contents": "read", "deployments": "write", "metadata": "read"}]


async def test_nothing_is_merged_and_no_commit_status_is_required(world: OnGitHub) -> None:
    world.site.behind = {"topic"}
    world.site.set_check("topic", "ci/build", "failure")
    assert await create_deployment(world.github, world.scope, NEW)
    assert world.site.behind == {"topic"}


async def test_any_payload_and_any_length_of_description_pass(world: OnGitHub) -> None:
    for payload in (None, "a string", {}, {"deep": [1]}):
        requested = replace(NEW, payload=payload, description="word\n" * 99, production=True)
        created = await create_deployment(world.github, world.scope, requested)
        deployment = world.there.deployments[created]
        assert deployment.payload == ({} if payload is None else payload)
        assert deployment.production
        assert deployment.description is not None
        assert len(deployment.description) <= 140
        assert deployment.description.endswith(f"… {MARKER}")
    bare = replace(NEW, description="", marker="")
    created = await create_deployment(world.github, world.scope, bare)
    assert world.there.deployments[created].description == ""


async def test_a_merge_instead_of_a_deployment_is_rejected(world: OnGitHub) -> None:
    merged = {"message": "Auto-merged main into topic on deployment."}
    world.there.faults.add(CREATE, Fault(status_code=202, body=merged))
    message = "GitHub merged a branch instead of deploying: Auto-merged main into topic"
    with pytest.raises(Rejected, match=message) as caught:
        await create_deployment(world.github, world.scope, NEW)
    assert caught.value.status == 202


async def test_a_rejection_has_githubs_message(world: OnGitHub) -> None:
    world.site.missing_refs = {"topic"}
    with pytest.raises(Rejected, match="GitHub returned 422: No ref found for: topic") as caught:
        await create_deployment(world.github, world.scope, NEW)
    assert caught.value.code == INVALID
    conflict = {"message": "Conflict: Commit status checks failed for topic."}
    world.there.faults.add(CREATE, Fault(status_code=409, body=conflict))
    message = "GitHub returned 409: Conflict: Commit status checks failed for topic."
    with pytest.raises(Rejected, match=message):
        await create_deployment(world.github, world.scope, NEW)
    assert not world.there.deployments


async def test_the_error_names_the_missing_permission(world: OnGitHub) -> None:
    world.installation.permissions["deployments"] = "read"
    with pytest.raises(Forbidden, match=f"for {REPO}: give it deployments: write"):
        await create_deployment(world.github, world.scope, NEW)


@pytest.mark.slow
async def test_a_deployment_that_may_have_been_created_is_found_by_its_marker(
    world: OnGitHub,
) -> None:
    for number, (name, fault) in enumerate(OPEN.items()):
        requested = replace(NEW, marker=f"relay-{number}")
        before = set(world.there.deployments)
        world.there.faults.add(CREATE, fault)
        with pytest.raises(UnknownOutcome):
            pytest.fail(
                f"{name}: {await create_deployment(world.client(fault), world.scope, requested)}"
            )
        created = set(world.there.deployments) - before
        assert len(created) == fault.acts, name
        found = await find_deployment(
            world.github, world.scope, sha_or_ref="topic", environment="qa", marker=requested.marker
        )
        assert {found} - {None} == created, name


async def test_a_rate_limit_means_that_nothing_was_created(world: OnGitHub) -> None:
    world.there.faults.add(CREATE, Fault.secondary_limit(60))
    for _ in range(2):
        with pytest.raises(RetryAt):
            await create_deployment(world.github, world.scope, NEW)
    assert len(world.there.called("POST", "/deployments")) == 1


async def test_only_the_apps_own_deployment_of_that_environment_is_found(world: OnGitHub) -> None:
    async def found(where: str = "topic", environment: str = "qa") -> int | None:
        return await find_deployment(
            world.github, world.scope, sha_or_ref=where, environment=environment, marker=MARKER
        )

    await world.there.create_deployment(
        REPO, "topic", environment="qa", description=f"forged {MARKER}"
    )
    assert await found() is None
    first = await create_deployment(world.github, world.scope, NEW)
    await create_deployment(world.github, world.scope, replace(NEW, marker="relay-other"))
    await create_deployment(world.github, world.scope, replace(NEW, description="", marker=""))
    assert await found() == await found(world.site.sha("topic")) == first
    assert await found("main") is None
    assert await found(environment="production") is None
    second = await create_deployment(world.github, world.scope, NEW)
    assert await found() == second
    assert len(world.there.called("GET", "/app")) == 1
    with pytest.raises(ValueError, match="contains nothing"):
        await find_deployment(
            world.github, world.scope, sha_or_ref="topic", environment="qa", marker=""
        )
