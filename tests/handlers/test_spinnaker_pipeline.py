"""Deployments that run a pipeline by its name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from handlers.contract import Run, State
from handlers.errors import Rejected, UnknownOutcome
from sandbox.faults import Fault
from tests.handlers.runs import a_deployment
from tests.handlers.spinnaker_runs import World, a_pipeline, a_world, numbered

DECK = "https://spinnaker.example"
BY_NAME: dict[str, Any] = {"application": "shop", "pipeline": "Deploy to production"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as created:
        created.spinnaker.add_pipeline(a_pipeline("Deploy to production", triggers=[]))
        yield created


async def test_a_pipeline_runs_by_its_name(world: World) -> None:
    run = await world.deploy(**BY_NAME, deck=DECK)
    [execution] = world.spinnaker.executions
    assert run == Run(
        execution.id,
        State.SUCCESS,
        f"{DECK}/#/applications/shop/executions/details/{execution.id}",
    )


async def test_a_pipeline_runs_by_its_id(world: World) -> None:
    run = await world.deploy(application="shop", pipeline=world.spinnaker.pipelines[0].id)
    assert run.state is State.SUCCESS


async def test_it_gets_the_same_parameters_and_payload_as_by_a_webhook(world: World) -> None:
    deployment = a_deployment(payload={"region": "eu"})
    await world.deploy(deployment, **BY_NAME, parameters={"who": "{creator}"})
    [execution] = world.spinnaker.executions
    parameters = execution.trigger["parameters"]
    assert parameters["region"] == "eu"
    assert parameters["who"] == "octocat"
    assert parameters["report_token"] == deployment.report.token
    payload = execution.trigger["payload"]
    assert payload["deployment"]["environment"] == "production"
    assert payload["parameters"] == parameters


async def test_a_second_start_gives_the_execution_that_runs(world: World) -> None:
    world.spinnaker.hold("Roll out")
    first = await world.handler(**BY_NAME).start(a_deployment())
    assert await world.handler(**BY_NAME).start(a_deployment()) == first
    assert len(world.spinnaker.executions) == 1


@pytest.mark.parametrize("ended", [False, True])
async def test_a_start_whose_response_got_lost_is_found(world: World, ended: bool) -> None:
    """Ended too: Spinnaker would run a second one for its correlation ID."""
    if not ended:
        world.spinnaker.hold("Roll out")
    world.spinnaker.faults.add("POST *", Fault.drop_after())
    with pytest.raises(UnknownOutcome, match="gave no full response"):
        await world.handler(**BY_NAME).start(a_deployment())
    [execution] = world.spinnaker.executions
    await world.until(lambda: execution.complete or (execution.status == "RUNNING" and not ended))
    found = await world.handler(**BY_NAME).find(a_deployment())
    assert found
    assert (found.id, found.state.final) == (execution.id, ended)


async def test_other_deployments_are_not_found(world: World) -> None:
    await world.deploy(**BY_NAME)
    for number in (12345678901, 123456789):
        assert await world.handler(**BY_NAME).find(numbered(a_deployment(), number)) is None


@pytest.mark.parametrize(
    "names",
    [BY_NAME | {"pipeline": "deploy to production"}, BY_NAME | {"application": "shoop"}],
)
async def test_an_unknown_pipeline_is_an_error_that_names_it(
    world: World, names: dict[str, Any]
) -> None:
    message = (
        f"no pipeline '{names['pipeline']}' in application '{names['application']}'; check both"
    )
    with pytest.raises(Rejected, match=message):
        await world.handler(**names).start(a_deployment())


async def test_a_disabled_pipeline_is_an_error(world: World) -> None:
    world.spinnaker.pipelines[0].config["disabled"] = True
    with pytest.raises(Rejected, match="400: Pipeline is disabled and cannot be started"):
        await world.handler(**BY_NAME).start(a_deployment())


async def test_a_parameter_that_the_pipeline_requires_is_named(world: World) -> None:
    needed = {"name": "size", "required": True}
    world.spinnaker.pipelines[0].config["parameterConfig"] = [needed]
    with pytest.raises(Rejected, match="Required parameter size is missing"):
        await world.handler(**BY_NAME).start(a_deployment())
    assert (await world.deploy(**BY_NAME, parameters={"size": "2"})).state is State.SUCCESS


async def test_it_is_cancelled(world: World) -> None:
    world.spinnaker.hold("Roll out")
    handler = world.handler(**BY_NAME)
    run, [execution] = await world.started(handler)
    await handler.cancel(a_deployment(), run)
    assert execution.status == "CANCELED"
    assert execution.reason == "requested by the relay of the GitHub deployment"
