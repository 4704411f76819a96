"""Drone's handler where a green build of the commit is there."""

from collections.abc import AsyncIterator

import pytest

from handlers.contract import State
from handlers.errors import Rejected, UnknownOutcome
from sandbox.drone import Pipeline
from sandbox.faults import Fault
from tests.handlers.drone_runs import OTHER_SHA, SHA, SLUG, World, a_world
from tests.handlers.runs import a_deployment

PROMOTE = "POST /repos/acme/shop/builds/*/promote"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


@pytest.fixture
async def held() -> AsyncIterator[World]:
    """Builds keep their status until the test changes it."""
    async with a_world(takes=None) as world:
        yield world


async def test_the_build_of_the_commit_is_promoted_and_followed_to_its_end(held: World) -> None:
    built = held.built()
    handler, deployment = held.handler(), a_deployment()
    assert await handler.find(deployment) is None
    shown = [await handler.start(deployment)]
    [promotion] = held.promotions()
    for status in ("pending", "running", "success"):
        held.drone.end(promotion, status)
        shown.append(await handler.check(deployment, shown[-1]))
    assert (promotion.parent, promotion.after, promotion.deploy_to) == (
        built.number,
        SHA,
        "production",
    )
    assert promotion.params == {"GITPLOY_DEPLOYMENT_ID": str(deployment.id)}
    states = list(dict.fromkeys(run.state for run in shown))
    assert states == [State.QUEUED, State.IN_PROGRESS, State.SUCCESS]
    assert {run.url for run in shown} == {held.page(promotion)}
    assert shown[0].description == "Build #2 is waiting for a runner of Drone"
    assert shown[-1].description == ""


async def test_the_newest_green_push_or_tag_build_of_the_commit_is_chosen(held: World) -> None:
    held.built()
    newest = held.built(event="tag")
    held.built("failure")
    held.built("running")
    held.built(event="pull_request")
    held.built(event="custom")
    held.built(sha=OTHER_SHA)
    await held.handler().start(a_deployment())
    assert [promotion.parent for promotion in held.promotions()] == [newest.number]


async def test_the_target_comes_from_deploy_yml(held: World) -> None:
    held.built()
    deployment = a_deployment(environment="eu/production")
    held.repo.pipelines.append(Pipeline("anything"))
    await held.handler().start(deployment)
    await held.handler(target="shop-{payload.size}").start(
        a_deployment(id=2, payload={"size": "xl"})
    )
    assert [build.deploy_to for build in held.promotions()] == ["eu/production", "shop-xl"]


async def test_a_target_that_triggers_nothing_is_an_error(held: World) -> None:
    held.built()
    with pytest.raises(Rejected) as caught:
        await held.handler().start(a_deployment(environment="moon"))
    assert str(caught.value) == (
        "no Drone pipeline is triggered by target 'moon', or the repository's owner is inactive in"
        " Drone, or an extension skips it"
    )
    assert len(str(caught.value)) <= 140


@pytest.mark.parametrize("task", ["rollback", "deploy:rollback"])
async def test_the_task_rollback_is_a_rollback_in_drone(held: World, task: str) -> None:
    held.built()
    handler, deployment = held.handler(), a_deployment(task=task)
    with pytest.raises(Rejected, match="triggered by a rollback to 'production'"):
        await handler.start(deployment)
    held.repo.pipelines.append(Pipeline("anything"))
    run = await handler.start(deployment)
    [build] = held.drone.builds(SLUG, "rollback")
    assert await handler.find(deployment) == run
    assert (run.id, build.deploy_to) == (str(build.number), "production")


async def test_drone_may_know_the_repository_by_another_name(held: World) -> None:
    held.drone.add_repo("corp/shop-ci")
    held.drone.add_build("corp/shop-ci", SHA)
    run = await held.handler(repo="corp/shop-ci").start(a_deployment())
    assert run.url == f"{held.drone.url}/corp/shop-ci/2"


@pytest.mark.parametrize("name", ["../shop", "acme/..", "acme/shop/builds", "acme", "a b/c", "é/b"])
async def test_a_name_that_would_lead_elsewhere_is_rejected(held: World, name: str) -> None:
    with pytest.raises(Rejected, match="not a Drone repository"):
        await held.handler(repo="{payload.repo}").start(a_deployment(payload={"repo": name}))
    assert held.drone.calls == []


async def test_a_start_whose_response_was_lost_is_found_and_not_repeated(held: World) -> None:
    held.built()
    held.drone.faults.add(PROMOTE, Fault.drop_after())
    deployment = a_deployment()
    with pytest.raises(UnknownOutcome):
        await held.handler().start(deployment)
    found = await held.handler().find(deployment)
    assert found is not None
    assert found.url == held.page(held.promotions()[0])
    assert await held.handler().start(deployment) == found
    assert len(held.promotions()) == 1


async def test_of_a_promotion_that_somebody_restarts_the_first_is_ours(held: World) -> None:
    held.built()
    handler, deployment = held.handler(), a_deployment()
    first = await handler.start(deployment)
    for _ in range(2):
        held.built("pending", event="promote", params=dict(held.promotions()[0].params))
    assert await handler.find(deployment) == first


async def test_promotions_of_others_are_not_ours(held: World) -> None:
    held.built()
    await held.handler().start(a_deployment(id=12345678901))
    mark = {"GITPLOY_DEPLOYMENT_ID": "1234567890"}
    held.built(params=mark, event="pull_request")
    held.built(params=mark, event="promote", sha=OTHER_SHA)
    assert await held.handler().find(a_deployment()) is None


async def test_what_drones_own_webhook_deploys_is_not_deployed_again(held: World) -> None:
    held.built()
    deployment = a_deployment()
    theirs = held.drone.deployment_hook(SLUG, deployment.id, SHA, "production")
    assert theirs is not None
    run = await held.handler().start(deployment)
    assert run.id == str(theirs.number)
    assert held.posts() == []


async def test_cancel_kills_the_build(held: World) -> None:
    held.built()
    handler, deployment = held.handler(), a_deployment()
    run = await handler.start(deployment)
    held.drone.end(held.promotions()[0], "running")
    await handler.cancel(deployment, run)
    checked = await handler.check(deployment, run)
    assert (checked.state, checked.description) == (State.ERROR, "Build #2 was killed in Drone")


@pytest.mark.parametrize("gone", [False, True])
async def test_cancel_is_harmless_after_the_end(held: World, gone: bool) -> None:
    held.built()
    handler, deployment = held.handler(), a_deployment()
    run = await handler.start(deployment)
    held.drone.end(held.promotions()[0])
    if gone:
        held.drone.remove(SLUG, held.promotions()[0])
    await handler.cancel(deployment, run)
    assert gone or (await handler.check(deployment, run)).state is State.SUCCESS


async def test_nothing_is_promoted_when_the_time_is_over(held: World) -> None:
    held.built()
    with pytest.raises(Rejected, match="the deployment timed out before"):
        await held.handler().start(a_deployment(lasting=-1))
    assert held.promotions() == []


async def test_a_build_far_back_in_the_list_is_found(held: World) -> None:
    built = held.built(created=0)
    for _ in range(250):
        held.built(sha=OTHER_SHA, created=1)
    await held.handler().start(a_deployment())
    assert [promotion.parent for promotion in held.promotions()] == [built.number]
