"""Deployments by a webhook trigger, as the person whose deployment it is sees them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from handlers.contract import Run, State
from handlers.errors import Rejected, Unavailable
from sandbox.faults import Fault
from tests.handlers.runs import a_deployment
from tests.handlers.spinnaker_runs import (
    SOURCE,
    World,
    a_pipeline,
    a_world,
    an_hour_later,
    numbered,
)

DECK = "https://spinnaker.example"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as created:
        yield created


async def test_a_deployment_runs_the_pipeline_that_its_event_triggers(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    run = await world.deploy(deck=DECK)
    [execution] = world.spinnaker.executions
    assert (run.state, run.description) == (State.SUCCESS, "")
    assert run.url == f"{DECK}/#/applications/shop/executions/details/{execution.id}"
    assert execution.status == "SUCCEEDED"


async def test_until_a_pipeline_starts_the_deployment_is_queued(world: World) -> None:
    world.spinnaker.lag = 60
    world.spinnaker.add_pipeline(a_pipeline())
    handler = world.handler(deck=DECK, application="shop")
    run = await handler.start(a_deployment())
    run = await handler.check(a_deployment(), run)
    assert run.state is State.QUEUED
    assert run.description == "waiting for a Spinnaker pipeline to start"
    assert run.url == f"{DECK}/#/applications/shop/executions"


async def test_the_event_has_the_shape_of_githubs(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    await world.deploy(a_deployment(payload={"region": "eu"}))
    [execution] = world.spinnaker.executions
    payload = execution.trigger["payload"]
    assert payload["deployment"]["environment"] == "production"
    assert payload["deployment"]["id"] == a_deployment().id
    assert payload["deployment"]["payload"] == {"region": "eu"}
    assert payload["deployment"]["creator"] == {"login": "octocat"}
    assert payload["repository"]["full_name"] == "acme/shop"
    assert payload["repository"]["owner"] == {"login": "acme"}


async def test_the_pipeline_gets_parameters(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    deployment = a_deployment(payload={"region": "eu", "count": 3})
    await world.deploy(deployment, parameters={"who": "{creator}", "size": "{payload.count}0"})
    [execution] = world.spinnaker.executions
    assert execution.trigger["parameters"] == {
        "owner": "acme",
        "repo": "shop",
        "deployment_id": "1234567890",
        "ref": "main",
        "sha": deployment.sha,
        "environment": "production",
        "report_url": deployment.report.url,
        "report_token": deployment.report.token,
        "region": "eu",
        "count": "3",
        "who": "octocat",
        "size": "30",
    }


async def test_a_payload_replaces_no_other_parameter(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    payload = {"environment": "staging", "report_url": "https://evil.example", "who": "me"}
    await world.deploy(a_deployment(payload=payload), parameters={"who": "{creator}"})
    [execution] = world.spinnaker.executions
    parameters = execution.trigger["parameters"]
    assert parameters["environment"] == "production"
    assert parameters["report_url"] == a_deployment().report.url
    assert parameters["who"] == "octocat"


@pytest.mark.parametrize(
    "facts",
    [
        {"ref": "${1+1}"},
        {"environment": "a${b}"},
        {"payload": {"a": [{"b": "x ${trigger['payload']} y"}]}},
        {"payload": {"${a}": 1}},
        {"payload": '{"a": "${b"}'},
    ],
)
async def test_what_spinnaker_would_evaluate_is_not_sent(
    world: World, facts: dict[str, Any]
) -> None:
    with pytest.raises(Rejected, match=r"contains '\$\{', which Spinnaker would evaluate"):
        await world.handler().start(a_deployment(**facts))
    assert world.posts() == 0


@pytest.mark.parametrize("payload", ['{"a": NaN}', '{"a": 1e999}'])
async def test_a_payload_that_is_not_json_is_not_sent(world: World, payload: str) -> None:
    with pytest.raises(Rejected, match="payload is not plain JSON"):
        await world.handler().start(a_deployment(payload=payload))
    assert world.posts() == 0


async def test_where_no_pipeline_matches_the_source_and_the_constraints_are_named(
    world: World,
) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    handler, deployment = world.handler(start_within="1s"), a_deployment(environment="staging")
    run = await handler.check(deployment, an_hour_later(await handler.start(deployment)))
    assert run.state is State.ERROR
    assert run.description == (
        "no Spinnaker pipeline matched in 1s (searched all applications): acme/shop, staging,"
        " source 'github-deployment'"
    )
    assert world.spinnaker.executions == []


async def test_where_no_pipeline_matches_a_long_name_is_not_cut_off(world: World) -> None:
    handler = world.handler(application="checkout")
    deployment = a_deployment(repo="acme-corp/checkout-service")
    run = await handler.check(deployment, an_hour_later(await handler.start(deployment)))
    message = f"{run.description}"[:139]
    assert "(searched application 'checkout')" in message
    assert "acme-corp/checkout-service, production, source 'github-" in message


async def test_an_application_narrows_where_pipelines_are_searched(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline(application="other"))
    handler = world.handler(application="shop")
    run, _ = await world.started(handler)
    run = await handler.check(a_deployment(), an_hour_later(run))
    assert run.state is State.ERROR
    assert "matched in 2m (searched application 'shop'): acme/shop" in run.description
    [execution] = world.spinnaker.executions
    assert execution.pipeline.application == "other"


async def test_a_pipeline_that_starts_late_is_found_by_a_late_check(world: World) -> None:
    """The relay was down for longer than `start_within`."""
    world.spinnaker.add_pipeline(a_pipeline())
    handler = world.handler()
    run, [execution] = await world.started(handler)
    run = await world.follow(handler, an_hour_later(run))
    assert (run.state, run.id.split()[0]) == (State.SUCCESS, execution.id)


async def test_another_process_continues_where_one_stopped(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    world.spinnaker.hold("Roll out")
    run, [execution] = await world.started(world.handler())
    run = await world.handler().check(a_deployment(), run)
    assert run.state is State.IN_PROGRESS
    world.spinnaker.release("Roll out")
    run = await world.follow(world.handler(), Run(run.id, run.state))
    assert (run.state, run.id.split()[0]) == (State.SUCCESS, execution.id)


async def test_the_deployment_is_open_until_all_pipelines_that_matched_have_ended(
    world: World,
) -> None:
    world.spinnaker.add_pipeline(a_pipeline("Web"))
    world.spinnaker.add_pipeline(
        a_pipeline("Mail", stages=[{"type": "deployManifest", "name": "Mail out"}])
    )
    world.spinnaker.hold("Mail out")
    world.spinnaker.fail("Roll out", "no space left")
    handler = world.handler(deck=DECK)
    run, executions = await world.started(handler, count=2)
    web, mail = sorted(executions, key=lambda e: e.pipeline.name == "Mail")
    await world.until(lambda: web.complete)
    run = await handler.check(a_deployment(), run)
    assert run.state is State.IN_PROGRESS
    assert run.description == "2 pipelines matched, 1 not ended"
    assert run.url.endswith(mail.id)
    world.spinnaker.release("Mail out")
    run = await world.follow(handler, run)
    assert run.state is State.FAILURE
    assert run.description == "2 pipelines matched; 'Web': stage 'Roll out' failed: no space left"
    assert run.url.endswith(web.id)


async def test_several_pipelines_that_succeed_are_counted(world: World) -> None:
    for name in ("Web", "Mail", "Search"):
        world.spinnaker.add_pipeline(a_pipeline(name))
    handler = world.handler()
    run, _ = await world.started(handler, count=3)
    run = await world.follow(handler, run)
    assert (run.state, run.description) == (State.SUCCESS, "3 pipelines matched")


async def test_a_judgment_that_is_waited_for_is_described(world: World) -> None:
    judgment = {"type": "manualJudgment", "name": "Go?"}
    world.spinnaker.add_pipeline(a_pipeline(stages=[judgment]))
    handler = world.handler()
    run, [execution] = await world.started(handler)
    run = await handler.check(a_deployment(), run)
    assert run.state is State.IN_PROGRESS
    assert run.description == "waiting for a judgment in Spinnaker"
    world.spinnaker.judge(execution, "Go?")
    run = await world.follow(handler, run)
    assert (run.state, run.description) == (State.SUCCESS, "")


async def test_a_judgment_against_it_is_a_failure(world: World) -> None:
    judgment = {"type": "manualJudgment", "name": "Go?"}
    world.spinnaker.add_pipeline(a_pipeline(stages=[judgment]))
    handler = world.handler()
    run, [execution] = await world.started(handler)
    world.spinnaker.judge(execution, "Go?", proceed=False)
    run = await world.follow(handler, run)
    assert (run.state, run.description) == (State.FAILURE, "stage 'Go?' failed")


async def test_cancelling_ends_all_pipelines(world: World) -> None:
    for name in ("Web", "Mail"):
        world.spinnaker.add_pipeline(a_pipeline(name))
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, executions = await world.started(handler, count=2)
    await handler.cancel(a_deployment(), run)
    assert [e.status for e in executions] == ["CANCELED", "CANCELED"]
    run = await world.follow(handler, run)
    assert run.state is State.ERROR
    assert "canceled in Spinnaker by anonymous: requested by the relay" in run.description


async def test_cancelling_what_has_ended_does_nothing(world: World) -> None:
    world.spinnaker.add_pipeline(a_pipeline())
    run = await world.deploy()
    await world.handler().cancel(a_deployment(), run)
    [execution] = world.spinnaker.executions
    assert execution.status == "SUCCEEDED"
    world.spinnaker.forget(execution)
    await world.handler().cancel(a_deployment(), run)


async def test_before_a_pipeline_is_known_none_can_be_cancelled(world: World) -> None:
    world.spinnaker.lag = 60
    handler = world.handler()
    run = await handler.start(a_deployment())
    with pytest.raises(Unavailable, match="none could be stopped"):
        await handler.cancel(a_deployment(), run)


async def test_cancelling_where_nothing_ever_matched_is_harmless(world: World) -> None:
    run = await world.handler().start(a_deployment())
    await world.handler().cancel(a_deployment(), an_hour_later(run))


async def test_one_that_cannot_be_cancelled_does_not_keep_the_others_going(world: World) -> None:
    for name in ("Web", "Mail"):
        world.spinnaker.add_pipeline(a_pipeline(name))
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, executions = await world.started(handler, count=2)
    run = await handler.check(a_deployment(), run)
    first = run.id.split()[0]
    world.spinnaker.faults.add(f"PUT /pipelines/{first}/cancel", Fault.status(403))
    with pytest.raises(Rejected, match="returned 403: its user may not do this"):
        await handler.cancel(a_deployment(), run)
    assert sorted(e.status for e in executions) == ["CANCELED", "RUNNING"]


async def test_deployments_under_way_are_not_confused(world: World) -> None:
    """An ID that begins like another one, and two repositories with the same one."""
    everything = {"type": "webhook", "enabled": True, "source": SOURCE}
    world.spinnaker.add_pipeline(a_pipeline(triggers=[everything]))
    first = a_deployment()
    longer = numbered(first, 12345678901)
    handler = world.handler()
    run, [execution] = await world.started(handler, first)
    assert await handler.find(longer) is None
    other = replace(first, report=replace(first.report, url="https://other.example/statuses"))
    assert await handler.find(other) is None
    longer_run, [longer_execution] = await world.started(handler, longer)
    for deployment, own in ((first, execution), (longer, longer_execution)):
        found = await handler.find(deployment)
        assert found
        assert found.id.split()[0] == own.id
    assert (await world.follow(handler, run)).id.split()[0] == execution.id
    assert (await world.follow(handler, longer_run)).id.split()[0] == longer_execution.id
