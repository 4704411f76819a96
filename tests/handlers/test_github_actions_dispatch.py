"""`github-actions`, `mode: dispatch`: a workflow is started, found again and followed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Run, State
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.github_actions import GitHubActions
from sandbox.faults import Fault
from sandbox.github_actions.model import Job
from sandbox.sandbox import REPOSITORY
from tests.handlers.github_actions_runs import OnGitHub, ended, followed, opened
from tests.handlers.runs import eventually

DISPATCH = "POST *dispatches"
CERTAIN = ("unexpected_inputs", "unknown_ref", "disabled_workflow", "invalid_workflow")
EVENTS = ["deployment", "workflow_dispatch"]


@pytest.fixture
async def on_github(tmp_path: Path) -> AsyncIterator[OnGitHub]:
    async with opened(tmp_path) as on_github:
        yield on_github


@pytest.fixture
async def held(on_github: OnGitHub) -> OnGitHub:
    """Runs do nothing until the test advances them."""
    on_github.actions.runs.paused = True
    return on_github


def dispatcher(on_github: OnGitHub, **options: Any) -> GitHubActions:
    return on_github.handler(**{"mode": "dispatch", "workflow": "deploy.yml", **options})


async def test_a_workflow_is_dispatched_with_its_inputs_and_deploys(on_github: OnGitHub) -> None:
    on_github.dispatched(
        Job(only="production"), run_name="To ${{ inputs.environment }}: ${{ inputs.deployment_id }}"
    )
    handler = dispatcher(on_github, inputs={"environment": "{environment}"})
    deployment = await on_github.deployment(ref="v1")
    run = await ended(handler, deployment)
    [started] = on_github.runs_of(deployment)
    assert (started.event, started.head_branch) == ("workflow_dispatch", "v1")
    assert started.title == f"To production: {deployment.id}"
    assert (run.id, run.state) == (str(started.id), State.SUCCESS)
    assert run.url.endswith(f"/actions/runs/{started.id}")


async def test_a_run_is_known_and_linked_at_once(held: OnGitHub) -> None:
    held.dispatched(run_name="A title without a number")
    deployment = await held.deployment()
    run = await dispatcher(held).start(deployment)
    [started] = held.runs_of(deployment)
    assert (run.id, run.state) == (str(started.id), State.QUEUED)
    assert run.url.endswith(f"/actions/runs/{started.id}")
    run = await dispatcher(held).check(deployment, run)
    assert run.description == "Workflow 'Deploy' is queued on GitHub"


async def test_the_branch_and_the_input_are_the_operators(on_github: OnGitHub) -> None:
    on_github.dispatched(inputs={"id": True, "sha": True}, run_name="#${{ inputs.id }}")
    handler = dispatcher(on_github, ref="main", correlation="id", inputs={"sha": "{sha}"})
    deployment = await on_github.deployment(ref="a" * 40)
    assert (await ended(handler, deployment)).state is State.SUCCESS
    assert on_github.runs_of(deployment)[0].head_branch == "main"


@pytest.mark.parametrize("run_details", ["ignored", "rejected"])
async def test_on_older_servers_the_run_is_found_by_its_title(
    on_github: OnGitHub, run_details: Any
) -> None:
    on_github.actions.run_details = run_details
    on_github.dispatched()
    handler, deployment = dispatcher(on_github), await on_github.deployment()
    other = await on_github.deployment("staging")
    await handler.start(other)
    run = await handler.start(deployment)
    assert (run.state, run.url, run.description) == (
        State.QUEUED,
        "",
        "Waiting for the workflow to start on GitHub",
    )
    run = await followed(handler, deployment, run)
    [started] = on_github.runs_of(deployment)
    assert (run.id, run.state) == (str(started.id), State.SUCCESS)


async def test_a_run_without_a_matching_title_is_given_up_with_a_remedy(held: OnGitHub) -> None:
    held.actions.run_details = "ignored"
    held.dispatched(run_name="Deploy")
    deployment = await held.deployment()
    run = await dispatcher(held).start(deployment)
    assert await dispatcher(held).check(deployment, run) == run
    run = await dispatcher(held, start_within="0s").check(deployment, run)
    assert (run.state, run.description) == (
        State.ERROR,
        "No run of 'deploy.yml' names this deployment; put ${{ inputs.deployment_id }} into its"
        " run-name",
    )


async def test_a_start_that_came_late_still_has_its_time(held: OnGitHub) -> None:
    """GitHub may have been down for long before it accepted the dispatch."""
    held.actions.run_details = "ignored"
    held.dispatched(run_name="Deploy")
    deployment = await held.deployment()
    late = replace(deployment, deadline=deployment.deadline - timedelta(hours=1))
    handler = dispatcher(held)
    run = await handler.start(late)
    assert (await handler.check(late, run)).state is State.QUEUED


@pytest.mark.parametrize("lag", [0, 60], ids=["in the index", "not yet in the index"])
async def test_after_a_lost_response_the_run_is_found_and_not_started_again(
    held: OnGitHub, lag: float
) -> None:
    held.actions.index_lag = lag
    held.dispatched()
    handler, deployment = dispatcher(held), await held.deployment()
    held.sandbox.github.faults.add(DISPATCH, Fault.drop_after())
    with pytest.raises(UnknownOutcome):
        await handler.start(deployment)
    run = await handler.find(deployment)
    [started] = held.runs_of(deployment)
    assert run is not None
    assert run.id == str(started.id)


async def test_nothing_is_found_where_nothing_was_started(held: OnGitHub) -> None:
    held.dispatched()
    deployment, other = await held.deployment(), await held.deployment()
    handler = dispatcher(held)
    await handler.start(other)
    assert await handler.find(deployment) is None
    longer = replace(deployment, id=deployment.id // 10)
    assert await handler.find(longer) is None


@pytest.mark.parametrize(
    ("code", "ref", "more", "message"),
    [
        (
            "unexpected_inputs",
            "main",
            {"inputs": {"size": False}},
            "'deploy.yml' at 'main' does not declare the input 'deployment_id'; add it to its"
            " inputs",
        ),
        (
            "unknown_ref",
            "a" * 40,
            {},
            f"GitHub dispatches workflows on branches and tags only, and '{'a' * 40}' is none; set"
            " `ref` in deploy.yml",
        ),
        (
            "no_dispatch_trigger",
            "main",
            {"on": ["push"]},
            "'deploy.yml' at 'main' has no `on: workflow_dispatch`; add it there",
        ),
        (
            "disabled_workflow",
            "main",
            {"state": "disabled_manually"},
            "'deploy.yml' is disabled in acme/site; enable it there: Actions, 'deploy.yml',"
            ' "Enable workflow"',
        ),
        (
            "invalid_workflow",
            "main",
            {"fault": "(Line: 65, Col: 26): Unexpected symbol: '??'"},
            "GitHub cannot read 'deploy.yml' at 'main'; correct it: (Line: 65, Col: 26):"
            " Unexpected symbol: '??'",
        ),
        (
            "invalid_dispatch",
            "main",
            {"inputs": {"deployment_id": True, "size": True}},
            "GitHub refuses to start 'deploy.yml': Required input 'size' not provided",
        ),
    ],
)
async def test_a_rejected_dispatch_names_what_the_workflow_lacks(
    held: OnGitHub, code: str, ref: str, more: dict[str, Any], message: str
) -> None:
    held.dispatched(**more)
    with pytest.raises(Rejected) as caught:
        await dispatcher(held, ref=ref).start(await held.deployment())
    assert str(caught.value) == message
    assert len(message) <= 140
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert caught.value.certain == (code in CERTAIN)
    assert not held.actions.runs.by_id


@pytest.mark.parametrize(
    ("ref_name", "deleted", "branch"),
    [("v1", set(), "v1"), ("v1", {"v1"}, "main"), ("", set(), "main")],
    ids=["named", "named, and gone", "not named"],
)
async def test_a_commit_is_deployed_by_the_workflow_of_a_branch(
    held: OnGitHub, ref_name: str, deleted: set[str], branch: str
) -> None:
    """Retry and Roll back deploy a commit."""
    held.dispatched(inputs={"deployment_id": True, "sha": True})
    held.actions.deleted_refs = deleted
    deployment = replace(await held.deployment(ref="a" * 40), ref_name=ref_name)
    handler = dispatcher(held, inputs={"sha": "{sha}"})
    run = await handler.start(deployment)
    [started] = held.runs_of(deployment)
    assert (run.id, started.head_branch) == (str(started.id), branch)
    assert started.inputs["sha"] == "a" * 40


async def test_a_commit_is_not_deployed_by_a_workflow_that_is_not_given_it(held: OnGitHub) -> None:
    held.dispatched()
    with pytest.raises(Rejected, match=r'inputs: {sha: "{sha}"}') as caught:
        await dispatcher(held).start(await held.deployment(ref="a" * 40))
    assert caught.value.certain
    assert len(str(caught.value)) <= 140
    assert not held.actions.runs.by_id


async def test_a_server_that_takes_fewer_inputs_is_named(held: OnGitHub) -> None:
    held.actions.max_inputs = 10
    names = [f"input_{number}" for number in range(10)]
    held.dispatched(inputs=dict.fromkeys(["deployment_id", *names], False))
    handler = dispatcher(held, inputs=dict.fromkeys(names, "x"))
    with pytest.raises(Rejected) as caught:
        await handler.start(await held.deployment())
    assert str(caught.value) == "this GitHub takes 10 inputs, and deploy.yml gives 'deploy.yml' 11"
    assert caught.value.certain


async def test_a_branch_without_the_workflow_is_named(held: OnGitHub) -> None:
    held.dispatched().missing_at.add("old")
    with pytest.raises(Rejected, match=r"'deploy.yml' at 'old' has no"):
        await dispatcher(held).start(await held.deployment(ref="old"))


async def test_a_workflow_that_is_not_there_is_named(held: OnGitHub) -> None:
    held.dispatched()
    handler, deployment = dispatcher(held, workflow="deplyo.yml"), await held.deployment()
    with pytest.raises(Rejected) as caught:
        await handler.start(deployment)
    assert str(caught.value) == (
        f"{REPOSITORY} has no workflow 'deplyo.yml' on its default branch that the App can see;"
        " check `workflow` in deploy.yml"
    )


async def test_an_app_that_may_not_start_workflows_is_reported(held: OnGitHub) -> None:
    held.dispatched()
    held.sandbox.installation.permissions["actions"] = "read"
    with pytest.raises(Rejected, match="actions: write"):
        await dispatcher(held).find(await held.deployment())


async def test_a_run_without_a_job_for_the_environment_is_no_success(on_github: OnGitHub) -> None:
    on_github.dispatched(Job(only="staging")).skipped_as = "success"
    handler = dispatcher(on_github, inputs={"environment": "{environment}"})
    run = await ended(handler, await on_github.deployment("production"))
    assert run.state is State.ERROR
    assert run.description.startswith("skipped: no job of workflow 'Deploy' ran")


async def test_a_run_is_cancelled_and_that_is_no_failure(held: OnGitHub) -> None:
    held.dispatched()
    handler, deployment = dispatcher(held), await held.deployment()
    run = await handler.start(deployment)
    held.actions.runs.begin(held.runs_of(deployment)[0])
    await handler.cancel(deployment, run)
    run = await followed(handler, deployment, run)
    assert (run.state, run.description) == (State.ERROR, "Workflow 'Deploy' was cancelled")
    await handler.cancel(deployment, run)  # it has ended
    held.actions.runs.delete(held.runs_of(deployment)[0])
    await handler.cancel(deployment, run)  # it is gone


async def test_a_run_that_github_did_not_name_is_cancelled_too(held: OnGitHub) -> None:
    held.actions.run_details = "ignored"
    held.dispatched()
    handler, deployment = dispatcher(held), await held.deployment()
    run = await handler.start(deployment)
    await handler.cancel(deployment, run)
    [started] = held.runs_of(deployment)
    await eventually(lambda: started.conclusion == "cancelled")


async def test_a_run_that_vanishes_is_rejected_once_it_has_begun(held: OnGitHub) -> None:
    held.dispatched()
    handler, deployment = dispatcher(held), await held.deployment()
    received = await handler.start(deployment)
    [started] = held.runs_of(deployment)
    held.actions.runs.begin(started)
    begun = await handler.check(deployment, received)
    assert begun.state is State.IN_PROGRESS
    held.actions.runs.delete(started)
    with pytest.raises(Unavailable, match="does not know workflow run"):
        await handler.check(deployment, received)
    with pytest.raises(Rejected) as gone:
        await handler.check(deployment, begun)
    assert (str(gone.value), gone.value.status, gone.value.certain) == (
        "The workflow run was deleted on GitHub before the relay saw how it ended",
        404,
        False,
    )


async def test_an_accepted_dispatch_is_not_repeated_whatever_github_responds(
    held: OnGitHub,
) -> None:
    held.dispatched()
    unusual: list[Any] = [{"workflow_run_id": "x"}, [], "text", {"html_url": "javascript:alert(1)"}]
    for body in unusual:
        deployment = await held.deployment()
        fault = Fault(acts=True, status_code=200, body=body)
        held.sandbox.github.faults.add(DISPATCH, fault)
        run = await dispatcher(held).start(deployment)
        assert (run.state, run.url) == (State.QUEUED, "")
        found = await dispatcher(held).check(deployment, run)
        assert found.id == str(held.runs_of(deployment)[0].id)


async def test_changing_the_mode_during_a_run_loses_nothing(held: OnGitHub) -> None:
    held.actions.run_details = "ignored"
    held.dispatched(run_name="Deploy ${{ inputs.deployment_id }}", on=EVENTS)
    deployment = await held.deployment()
    watched, _ = held.runs_of(deployment), await held.handler().start(deployment)
    received = await dispatcher(held).start(deployment)
    shown = await held.handler(workflow="deploy.yml").check(deployment, received)
    assert shown.id == str(watched[0].id)
    both = Run("1 2", State.IN_PROGRESS)
    found = await dispatcher(held, start_within="0s").check(deployment, both)
    assert found.id == str(held.runs_of(deployment)[-1].id)
    held.actions.runs.by_id.clear()
    gone = await dispatcher(held, start_within="0s").check(deployment, both)
    assert gone.state is State.ERROR
