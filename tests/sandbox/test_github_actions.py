"""GitHub Actions: deployments start workflows, runs advance by themselves and send events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from sandbox.github.model import Deployment, Installation
from sandbox.github.server import GitHub
from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.server import Server
from tests.handlers.runs import eventually

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
REPOSITORY = "acme/api"
PATH = f"/repos/{REPOSITORY}/actions"
DISPATCHES = f"{PATH}/workflows/deploy.yml/dispatches"
RUN_NAME = "Deploy ${{ github.event.deployment.environment }} #${{ github.event.deployment.id }}"


class Receiver(Server):
    def __init__(self) -> None:
        super().__init__()
        self.received: list[tuple[str, Any]] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhook", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        self.received.append((request.headers["X-GitHub-Event"], await request.json()))
        return web.Response(status=202)

    def bodies(self, event: str) -> list[Any]:
        return [body for name, body in self.received if name == event]


@pytest.fixture(autouse=True)
def _quick(github: GitHub, installation: Installation) -> None:
    github.actions.runs.delay = 0.01


@pytest.fixture
async def receiver(github: GitHub) -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        github.webhook_url = f"{server.url}/webhook"
        yield server


async def a_run(github: GitHub, **fields: Any) -> tuple[Deployment, WorkflowRun]:
    deployment = await github.create_deployment(REPOSITORY, required_contexts=[], **fields)
    [run] = github.actions.runs_of(deployment)
    return deployment, run


async def ended(run: WorkflowRun) -> WorkflowRun:
    await eventually(lambda: run.status == "completed")
    return run


async def test_a_deployment_starts_each_workflow_on_deployment(github: GitHub) -> None:
    github.actions.add_workflow(REPOSITORY, "deploy.yml", run_name=RUN_NAME)
    github.actions.add_workflow(REPOSITORY, "notify.yml", name="Notify")
    github.actions.add_workflow(REPOSITORY, "manual.yml", on=["workflow_dispatch"])
    github.actions.add_workflow("acme/web", "deploy.yml")
    deployment = await github.create_deployment(REPOSITORY, "v1", environment="qa")
    runs = github.actions.runs_of(deployment)
    assert [(run.workflow.file, run.title) for run in runs] == [
        ("deploy.yml", f"Deploy qa #{deployment.id}"),
        ("notify.yml", "Notify"),
    ]
    assert {(run.event, run.head_sha, run.head_branch) for run in runs} == {
        ("deployment", deployment.sha, "v1")
    }
    assert [(await ended(run)).conclusion for run in runs] == ["success", "success"]


async def test_a_commit_without_the_file_and_a_workflows_own_deployment_start_nothing(
    github: GitHub,
) -> None:
    workflow = github.actions.add_workflow(REPOSITORY)
    workflow.missing_at.add("v0")
    old = await github.create_deployment(REPOSITORY, "v0")
    own = await github.create_deployment(REPOSITORY, "v1", workflow_run={})
    assert github.actions.runs_of(old) == github.actions.runs_of(own) == []


async def test_a_run_of_which_every_job_is_skipped_is_skipped(github: GitHub) -> None:
    github.actions.add_workflow(REPOSITORY, jobs=[Job(only="production")])
    _, skipped = await a_run(github, environment="qa")
    _, run = await a_run(github, environment="Production")
    assert (await ended(skipped)).conclusion == "skipped"
    assert (await ended(run)).conclusion == "success"


async def test_jobs_write_statuses_as_actions(github: GitHub, receiver: Receiver) -> None:
    github.actions.add_workflow(REPOSITORY, jobs=[Job(states=("in_progress", "success"))])
    deployment, run = await a_run(github)
    await ended(run)
    await github.settled()
    assert github.states(deployment.id) == ["in_progress", "success"]
    bodies = receiver.bodies("deployment_status")
    assert {b["deployment_status"]["creator"]["login"] for b in bodies} == {"github-actions[bot]"}
    assert {b["workflow_run"]["id"] for b in bodies} == {run.id}
    assert all(b["deployment_status"]["performed_via_github_app"] is None for b in bodies)


async def test_every_event_has_githubs_shape(
    github: GitHub, receiver: Receiver, event_shape: Shape
) -> None:
    jobs = [Job("build"), Job("smoke", only="qa"), Job(approval=True, outcome="failure")]
    github.actions.add_workflow(REPOSITORY, jobs=jobs)
    _, run = await a_run(github)
    await eventually(lambda: run.status == "waiting")
    github.actions.runs.approve(run)
    await ended(run)
    await github.settled()
    run_events = receiver.bodies("workflow_run")
    assert sorted(body["action"] for body in run_events) == [
        "completed",
        "in_progress",
        "requested",
    ]
    for body in run_events:
        event_shape("workflow_run", body)
    job_events = receiver.bodies("workflow_job")
    for body in job_events:
        event_shape("workflow_job", body)
    actions = [(b["workflow_job"]["name"], b["action"]) for b in job_events]
    assert actions.count(("deploy", "waiting")) == 1
    assert actions.count(("smoke", "completed")) == 1
    assert ("smoke", "in_progress") not in actions


async def test_no_event_is_sent_to_an_app_that_does_not_subscribe(
    github: GitHub, receiver: Receiver
) -> None:
    github.app.events.remove("workflow_job")
    github.actions.add_workflow(REPOSITORY)
    _, run = await a_run(github)
    await ended(run)
    await github.settled()
    assert receiver.bodies("workflow_run")
    assert not receiver.bodies("workflow_job")


async def test_runs_and_jobs_have_githubs_shape(
    github: GitHub, send: Send, token: str, shape: Shape
) -> None:
    github.actions.add_workflow(REPOSITORY, jobs=[Job("build"), Job("deploy", outcome="failure")])
    _, run = await a_run(github)
    _, waiting = await send("GET", f"{PATH}/runs/{run.id}", token)
    assert shape("WorkflowRun", waiting).status == "queued"
    await ended(run)
    _, document = await send("GET", f"{PATH}/runs/{run.id}", token)
    assert shape("WorkflowRun", document).conclusion == "failure"
    _, jobs = await send("GET", f"{PATH}/runs/{run.id}/jobs", token)
    assert jobs["total_count"] == 2
    found = [shape("Job", job) for job in jobs["jobs"]]
    assert [(job.name, job.conclusion) for job in found] == [
        ("build", "success"),
        ("deploy", "failure"),
    ]
    assert [step.conclusion for step in found[1].steps] == ["success", "failure"]


async def test_a_rerun_keeps_its_id(github: GitHub, send: Send, token: str, shape: Shape) -> None:
    github.actions.add_workflow(REPOSITORY)
    _, run = await a_run(github)
    created = (await ended(run)).created_at
    github.actions.runs.rerun(run)
    assert (run.status, run.conclusion, run.created_at) == ("queued", None, created)
    await ended(run)
    _, document = await send("GET", f"{PATH}/runs/{run.id}", token)
    assert shape("WorkflowRun", document).run_attempt == 2


async def test_paused_runs_wait_for_the_test(github: GitHub) -> None:
    github.actions.runs.paused = True
    github.actions.add_workflow(REPOSITORY)
    _, run = await a_run(github)
    await asyncio.sleep(0.05)
    assert run.status == "queued"
    github.actions.runs.begin(run)
    assert run.status == "in_progress"
    github.actions.runs.finish(run, "timed_out")
    assert (run.status, run.conclusion) == ("completed", "timed_out")


async def test_lists_have_githubs_filters(github: GitHub, send: Send, token: str) -> None:
    github.actions.add_workflow(REPOSITORY, on=["deployment"])
    github.actions.add_workflow(REPOSITORY, "other.yml", on=["deployment", "workflow_dispatch"])
    deployment = await github.create_deployment(REPOSITORY, "v1")
    await github.create_deployment(REPOSITORY, "v2")
    body = {"ref": "v1", "return_run_details": True}
    await send("POST", f"{PATH}/workflows/other.yml/dispatches", token, body)

    async def count(query: str, path: str = "/runs") -> int:
        status, document = await send("GET", f"{PATH}{path}?{query}", token)
        assert status == 200
        assert document["total_count"] == len(document["workflow_runs"])
        return int(document["total_count"])

    assert await count("") == 5
    assert await count("event=deployment") == 4
    assert await count(f"event=deployment&head_sha={deployment.sha}") == 2
    assert await count(f"head_sha={deployment.sha}") == 3
    assert await count(f"head_sha={deployment.sha[:7]}") == 0
    assert await count("event=workflow_dispatch", "/workflows/other.yml/runs") == 1
    assert await count("created=%3E%3D2020-01-01T00:00:00Z") == 5
    assert await count("created=%3C2020-01-01T00:00:00Z") == 0
    assert await count("branch=v2&status=skipped") == 0
    github.actions.index_lag = 60
    assert (await count("event=deployment"), await count("")) == (0, 5)
    assert (await send("GET", f"{PATH}/workflows/none.yml/runs", token))[0] == 404


async def test_a_run_is_cancelled_after_a_delay_and_only_once(
    github: GitHub, send: Send, token: str
) -> None:
    github.actions.runs.paused = True
    github.actions.add_workflow(REPOSITORY, jobs=[Job(states=("in_progress", "success"))])
    deployment, run = await a_run(github)
    github.actions.runs.begin(run)
    path = f"{PATH}/runs/{run.id}/cancel"
    assert await send("POST", path, token) == (202, {})
    assert (await ended(run)).conclusion == "cancelled"
    status, document = await send("POST", path, token)
    assert (status, document["message"]) == (
        409,
        "Cannot cancel a workflow run that is completed.",
    )
    assert github.states(deployment.id) == ["in_progress"]


async def test_a_deleted_run_and_one_of_another_repository_are_not_found(
    github: GitHub, send: Send, token: str
) -> None:
    github.actions.add_workflow(REPOSITORY)
    _, run = await a_run(github)
    assert (await send("GET", f"/repos/acme/web/actions/runs/{run.id}", token))[0] == 404
    github.actions.runs.delete(run)
    for ending in ("", "/jobs"):
        assert (await send("GET", f"{PATH}/runs/{run.id}{ending}", token))[0] == 404


async def test_reading_needs_actions_read_and_changes_need_actions_write(
    github: GitHub, installation: Installation, send: Send, app_jwt: Callable[..., str]
) -> None:
    github.actions.runs.paused = True
    github.actions.add_workflow(REPOSITORY, on=["deployment", "workflow_dispatch"])
    _, run = await a_run(github)

    async def token_for(permissions: dict[str, str]) -> str:
        path = f"/app/installations/{installation.id}/access_tokens"
        _, document = await send("POST", path, app_jwt(), {"permissions": permissions})
        return str(document["token"])

    none, read = await token_for({"deployments": "write"}), await token_for({"actions": "read"})
    assert (await send("GET", f"{PATH}/runs", none))[0] == 403
    assert (await send("GET", f"{PATH}/runs/{run.id}/jobs", none))[0] == 403
    assert (await send("GET", f"{PATH}/runs", read))[0] == 200
    assert (await send("POST", f"{PATH}/runs/{run.id}/cancel", read))[0] == 403
    assert (await send("POST", DISPATCHES, read, {"ref": "v1"}))[0] == 403
