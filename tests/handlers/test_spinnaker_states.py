"""Every status of Spinnaker's as GitHub's state, with a description for people."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from handlers.contract import Run, State
from handlers.errors import Rejected
from handlers.spinnaker.gate import Execution
from handlers.spinnaker.states import (
    STATUSES,
    ExecutionState,
    combined,
    decisive,
    execution_state,
    vanished,
)
from sandbox.faults import Fault
from tests.handlers.runs import a_deployment
from tests.handlers.spinnaker_runs import World, a_pipeline, a_world, an_hour_later

OPEN = {"NOT_STARTED", "BUFFERED", "RUNNING", "PAUSED", "SUSPENDED", "REDIRECT"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as created:
        created.spinnaker.add_pipeline(a_pipeline())
        yield created


async def found(world: World, status: str, before: State = State.IN_PROGRESS) -> Run:
    """What is shown once the pipeline has this status."""
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, [execution] = await world.started(handler)
    world.spinnaker.set_status(execution, status)
    return await handler.check(a_deployment(), replace(run, state=before))


@pytest.mark.parametrize(
    ("status", "state", "message"),
    [
        ("NOT_STARTED", State.QUEUED, "not started yet in Spinnaker"),
        ("BUFFERED", State.QUEUED, "held back in Spinnaker"),
        ("RUNNING", State.IN_PROGRESS, ""),
        ("PAUSED", State.IN_PROGRESS, "paused in Spinnaker"),
        ("SUSPENDED", State.IN_PROGRESS, "suspended in Spinnaker until something triggers it"),
        ("REDIRECT", State.IN_PROGRESS, "redirected to another path in Spinnaker"),
        ("SUCCEEDED", State.SUCCESS, ""),
        ("FAILED_CONTINUE", State.FAILURE, "a stage failed, and the pipeline went on"),
        ("TERMINAL", State.FAILURE, "failed in Spinnaker"),
        ("STOPPED", State.FAILURE, "stopped in Spinnaker before its end"),
        ("CANCELED", State.ERROR, "canceled in Spinnaker"),
        ("SKIPPED", State.ERROR, "skipped in Spinnaker: nothing was run"),
    ],
)
async def test_each_status_has_a_state_and_a_description(
    world: World, status: str, state: State, message: str
) -> None:
    run = await found(world, status, before=State.QUEUED)
    assert (run.state, run.description) == (state, message)


def test_all_twelve_statuses_are_known() -> None:
    assert len(STATUSES) == 12
    assert {name for name, (state, _) in STATUSES.items() if not state.final} == OPEN


@pytest.mark.parametrize("before", [State.QUEUED, State.IN_PROGRESS])
async def test_an_unknown_status_changes_the_description_only(world: World, before: State) -> None:
    run = await found(world, "FROZEN", before)
    assert run.state is before
    assert run.description == "Spinnaker says 'FROZEN', which the relay does not know"


async def test_what_was_in_progress_is_not_queued_again(world: World) -> None:
    run = await found(world, "BUFFERED", State.IN_PROGRESS)
    assert (run.state, run.description) == (State.IN_PROGRESS, "held back in Spinnaker")


async def test_a_failed_stage_is_named_with_its_message(world: World) -> None:
    world.spinnaker.fail("Roll out", "Image acme/shop:1 not found")
    run = await world.deploy()
    assert run.state is State.FAILURE
    assert run.description == "stage 'Roll out' failed: Image acme/shop:1 not found"


async def test_a_long_message_is_left_to_spinnakers_page(world: World) -> None:
    world.spinnaker.fail("Roll out", "java.lang.RuntimeException " * 10)
    assert (await world.deploy()).description == "stage 'Roll out' failed"


async def test_the_report_token_is_not_shown(world: World) -> None:
    world.spinnaker.fail("Roll out", f"refused: Bearer {a_deployment().report.token}")
    run = await world.deploy()
    assert run.description == "stage 'Roll out' failed: refused: Bearer ***"


@pytest.mark.parametrize(
    "fault", [Fault.status(500), Fault.status(403), Fault.status(200, "x" * 9 * 2**20)]
)
async def test_a_failure_is_reported_even_if_its_message_cannot_be_read(
    world: World, fault: Fault
) -> None:
    world.spinnaker.fail("Roll out", "no space left")
    world.spinnaker.faults.add("GET /pipelines/*", fault)
    run = await world.deploy()
    assert (run.state, run.description) == (State.FAILURE, "stage 'Roll out' failed")


async def test_long_executions_are_read_in_short(world: World) -> None:
    """Those with many manifests may have more than 8 MB."""
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, [execution] = await world.started(handler)
    execution.stage("Roll out").context["manifests"] = "x" * 9 * 2**20
    run = await handler.check(a_deployment(), run)
    run = await handler.check(a_deployment(), an_hour_later(run))
    assert run.state is State.IN_PROGRESS
    world.spinnaker.release("Roll out")
    assert (await world.follow(handler, run)).state is State.SUCCESS


@pytest.mark.parametrize("continues", [True, False])
async def test_a_success_with_a_failed_stage_names_it(world: World, continues: bool) -> None:
    """Deck's "If stage fails": continue without it, or halt only this branch."""
    stage = {"type": "runJob", "name": "Smoke test", "failPipeline": False}
    world.spinnaker.pipelines[0].config["stages"] = [stage | {"continuePipeline": continues}]
    world.spinnaker.fail("Smoke test", "exit code 1")
    run = await world.deploy()
    assert run.state is State.SUCCESS
    assert run.description == "succeeded, although stage 'Smoke test' failed"


async def test_who_canceled_it_and_why_is_described(world: World) -> None:
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, [execution] = await world.started(handler)
    world.spinnaker.orca.cancel(execution, "alice", "wrong\nversion")
    run = await handler.check(a_deployment(), run)
    assert run.state is State.ERROR
    assert run.description == "canceled in Spinnaker by alice: wrong version"


async def test_a_pipeline_that_vanishes_is_rejected(world: World) -> None:
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, [execution] = await world.started(handler)
    run = await handler.check(a_deployment(), run)
    world.spinnaker.forget(execution)
    with pytest.raises(Rejected) as gone:
        await handler.check(a_deployment(), run)
    assert str(gone.value) == f"vanished: Spinnaker has no execution {execution.id} any more"
    assert (gone.value.status, gone.value.certain) == (404, False)


@pytest.mark.parametrize(
    ("other", "depends"), [(State.SUCCESS, True), (State.FAILURE, False), (State.QUEUED, False)]
)
def test_a_pipeline_that_vanishes_counts_where_the_others_do_not_decide(
    other: State, depends: bool
) -> None:
    gone = vanished("01J")
    assert decisive([ExecutionState(other), gone]) == (gone if depends else None)


async def test_a_pipeline_that_cannot_be_searched_for_has_not_vanished(world: World) -> None:
    """Its configuration was deleted, or a list leaves it out: Orca's own response counts."""
    world.spinnaker.hold("Roll out")
    handler = world.handler()
    run, [execution] = await world.started(handler)
    run = await handler.check(a_deployment(), run)
    world.spinnaker.faults.add("GET */search", Fault.status(200, []), times=9)
    world.spinnaker.faults.add("GET /executions", Fault.status(200, []), times=9)
    assert (await handler.check(a_deployment(), run)).state is State.IN_PROGRESS
    world.spinnaker.set_status(execution, "SUCCEEDED")
    assert (await handler.check(a_deployment(), run)).state is State.SUCCESS


def test_with_one_of_two_ended_the_deployment_is_under_way() -> None:
    execution_states = [
        ExecutionState(State.SUCCESS),
        ExecutionState(State.QUEUED, "held back in Spinnaker", "Mail"),
    ]
    run = combined(execution_states, Run("", State.QUEUED), "")
    assert run.state is State.IN_PROGRESS
    assert run.description == "2 pipelines matched, 1 not ended; 'Mail': held back in Spinnaker"


def a_stage(**facts: Any) -> dict[str, Any]:
    return {"name": "Deploy", "type": "deploy", "status": "TERMINAL"} | facts


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (None, "failed in Spinnaker"),
        ([], "failed in Spinnaker"),
        ([a_stage(name=None)], "stage 'deploy' failed"),
        ([a_stage(name="x" * 50)], f"stage '{'x' * 39}…' failed"),
        ([a_stage(name="a\nb\x1b")], "stage 'a b' failed"),
        ([a_stage(context={"exception": "no"})], "stage 'Deploy' failed"),
        ([a_stage(context={"exception": {"details": [1]}})], "stage 'Deploy' failed"),
        ([a_stage(context={"exception": {"details": {"errors": [{}]}}})], "stage 'Deploy' failed"),
        (
            [a_stage(context={"exception": {"details": {"error": "Timed out"}}})],
            "stage 'Deploy' failed: Timed out",
        ),
        (
            [
                a_stage(
                    name="Deploy in eu",
                    parentStageId="1",
                    context={"exception": {"details": {"errors": ["No quota"]}}},
                ),
                a_stage(),
            ],
            "stage 'Deploy' failed: No quota",
        ),
    ],
)
def test_any_description_of_a_failure_becomes_plain_text(stages: Any, message: str) -> None:
    document = {"id": "01X", "status": "TERMINAL", "stages": stages}
    execution = Execution.model_validate(document)
    assert execution_state(execution, State.IN_PROGRESS, "", "secret").description == message


def test_a_pipeline_that_could_not_start_reports_why() -> None:
    execution = Execution(id="01X", status="TERMINAL", cancellationReason="Failed on startup: x")
    message = execution_state(execution, State.QUEUED, "", "secret").description
    assert message == "failed in Spinnaker: Failed on startup: x"
