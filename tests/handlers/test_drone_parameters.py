"""What a promotion of Drone carries."""

import json
from collections.abc import AsyncIterator

import pytest

from handlers.errors import Rejected
from tests.handlers.drone_runs import World, a_world
from tests.handlers.runs import a_deployment


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds keep their status until the test changes it."""
    async with a_world(takes=None) as world:
        yield world


async def test_the_payload_and_the_parameters_go_along_and_ours_win(world: World) -> None:
    world.built()
    payload = {
        "version": "1.2",
        "replicas": 3,
        "flags": {"a": True},
        "COLOUR": "blue",
        "my-key": "x",
    }
    handler = world.handler(
        parameters={"COLOUR": "green", "WHO": "{creator}", "V": "{payload.version}"}
    )
    await handler.start(a_deployment(payload=payload))
    [promotion] = world.promotions()
    assert promotion.params == {
        "version": "1.2",
        "replicas": "3",
        "flags": '{"a":true}',
        "my-key": "x",
        "COLOUR": "green",
        "WHO": "octocat",
        "V": "1.2",
        "GITPLOY_DEPLOYMENT_ID": "1234567890",
    }


async def test_a_payload_cannot_choose_what_is_not_its_own(world: World) -> None:
    world.built()
    payload = {
        "target": "staging",
        "access_token": "x",
        "GITPLOY_DEPLOYMENT_ID": "5",
        "GITPLOY_BUILD_FOR": "5",
        "DRONE_DEPLOY_TO": "staging",
        "CI_BUILD_EVENT": "push",
        "PLUGIN_API_TOKEN": "x",
        "PATH=/evil": "x",
        "": "x",
        "kept": "a;target=staging&target=b",
    }
    await world.handler().start(a_deployment(payload=json.dumps(payload)))
    [promotion] = world.promotions()
    assert promotion.deploy_to == "production"
    assert promotion.params == {
        "kept": "a;target=staging&target=b",
        "GITPLOY_DEPLOYMENT_ID": "1234567890",
    }


async def test_any_text_arrives_as_it_is(world: World) -> None:
    world.built()
    unusual = "a+b c&d=e;f%20#é\n\t'\"\U0001f680"
    await world.handler().start(
        a_deployment(payload={unusual.replace("=", "").replace("\n\t", ""): unusual})
    )
    assert unusual in world.promotions()[0].params.values()


@pytest.mark.parametrize("payload", [{"a": "nul\0"}, {"a": "\ud800"}, {"a\nb": "x"}])
async def test_what_no_variable_can_hold_is_rejected(world: World, payload: object) -> None:
    world.built()
    with pytest.raises(Rejected, match="payload"):
        await world.handler().start(a_deployment(payload=payload))
    assert world.promotions() == []


async def test_the_payload_may_be_kept_back(world: World) -> None:
    world.built()
    handler = world.handler(payload=False, parameters={"V": "{payload.version}"})
    await handler.start(a_deployment(payload={"version": "1", "secret": "x"}))
    assert world.promotions()[0].params == {"V": "1", "GITPLOY_DEPLOYMENT_ID": "1234567890"}


async def test_a_pipeline_can_learn_where_to_report(world: World) -> None:
    world.built()
    templates = {"URL": "{report_url}", "API": "{report_api}", "TOKEN": "{report_token}"}
    await world.handler(parameters=templates).start(a_deployment())
    report, params = a_deployment().report, world.promotions()[0].params
    assert (params["URL"], params["API"], params["TOKEN"]) == (report.url, report.api, report.token)
