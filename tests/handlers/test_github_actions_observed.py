"""`github-actions` follows a run by the documents in GitHub's events."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Deployment, Run, State, ToolEvent
from sandbox.github_actions.model import Job, WorkflowRun
from tests.handlers.github_actions_runs import OnGitHub, opened

WAITING = Run("", State.QUEUED)


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[OnGitHub]:
    """Runs do nothing until the test advances them."""
    async with opened(tmp_path) as on_github:
        on_github.actions.runs.paused = True
        yield on_github


def events_of(held: OnGitHub, run: WorkflowRun, *jobs: int) -> list[ToolEvent]:
    """The newest of the run, and of these of its jobs."""
    documents = held.actions.documents
    every = [documents.job(run, run.jobs[index]) for index in jobs]
    return [
        ToolEvent("workflow_run", documents.run(run)),
        *(ToolEvent("workflow_job", document) for document in every),
    ]


async def begun(held: OnGitHub, *jobs: Job, **more: Any) -> tuple[Deployment, WorkflowRun]:
    held.workflow("deploy.yml", *jobs, **more)
    deployment = await held.deployment()
    [run] = held.runs_of(deployment)
    return deployment, run


async def test_a_run_is_followed_to_its_end_without_a_call(held: OnGitHub) -> None:
    deployment, run = await begun(held, Job("build"), Job(outcome="failure", step="Smoke"))
    handler = held.handler(workflow="deploy.yml")
    shown = await handler.observe(deployment, WAITING, events_of(held, run))
    assert (shown.id, shown.state) == (str(run.id), State.QUEUED)
    held.actions.runs.begin(run)
    shown = await handler.observe(deployment, shown, events_of(held, run))
    assert shown.state is State.IN_PROGRESS
    held.actions.runs.finish(run)
    shown = await handler.observe(deployment, shown, events_of(held, run, 0, 1))
    assert (shown.state, shown.description) == (
        State.FAILURE,
        "job 'deploy' failed at step 'Smoke'",
    )
    assert not held.sandbox.github.calls


@pytest.mark.parametrize("known", [(), (0,)], ids=["no job known", "a skipped job known"])
async def test_a_success_without_a_job_that_ran_is_not_believed(
    held: OnGitHub, known: tuple[int, ...]
) -> None:
    deployment, run = await begun(held, Job(only="staging"))
    run.workflow.skipped_as = "success"
    held.actions.runs.begin(run)
    held.actions.runs.finish(run)
    shown = await held.handler().observe(deployment, WAITING, events_of(held, run, *known))
    assert shown.state is State.ERROR
    assert shown.description.startswith("skipped: no job of workflow 'Deploy' ran")


async def test_a_job_of_an_earlier_attempt_proves_nothing(held: OnGitHub) -> None:
    deployment, run = await begun(held)
    held.actions.runs.finish(run)
    [_, earlier] = events_of(held, run, 0)
    held.actions.runs.rerun(run)
    held.actions.runs.finish(run)
    events = [*events_of(held, run), earlier]
    shown = await held.handler().observe(deployment, WAITING, events)
    assert shown.state is State.SUCCESS
    assert held.calls("GET", "/jobs") == 1


async def test_a_job_that_waits_makes_its_run_wait(held: OnGitHub) -> None:
    deployment, run = await begun(held, Job(approval=True))
    held.actions.runs.begin(run)
    waiting = events_of(held, run, 0)
    run.status = "in_progress"  # as the event has it that came before
    shown = await held.handler().observe(deployment, WAITING, [*events_of(held, run), waiting[1]])
    assert shown.held
    held.actions.runs.approve(run)
    shown = await held.handler().observe(deployment, shown, events_of(held, run, 0))
    assert (shown.held, shown.state) == (False, State.IN_PROGRESS)


async def test_events_of_another_shape_or_of_other_runs_change_nothing(held: OnGitHub) -> None:
    deployment, run = await begun(held)
    document = held.actions.documents.run(run)
    strange: list[Any] = [None, 7, [], {}, {"id": "x"}, document | {"updated_at": "soon"}]
    others = [document | change for change in ({"event": "push"}, {"head_sha": "0" * 40})]
    events = [
        ToolEvent(name, one)
        for one in strange + others
        for name in ("workflow_run", "workflow_job")
    ]
    for options in ({}, {"mode": "dispatch", "workflow": "deploy.yml"}):
        handler = held.handler(**options)
        assert await handler.observe(deployment, WAITING, events) == WAITING
