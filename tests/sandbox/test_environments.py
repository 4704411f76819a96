"""Jobs in environments with the App's protection rule: GitHub asks, and takes one decision."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandbox.github.model import Installation
from sandbox.github.server import GitHub
from sandbox.github_actions.model import Job, WorkflowRun
from tests.handlers.runs import eventually
from tests.sandbox.test_github_actions import Receiver

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
REPOSITORY = "acme/api"


@pytest.fixture
async def run(github: GitHub, installation: Installation) -> WorkflowRun:
    github.actions.runs.delay = 0.01
    github.app.events.append("deployment_protection_rule")
    github.actions.environments.enable_rule(REPOSITORY, "production")
    jobs = [Job("one", environment="production"), Job("two", environment="Production")]
    workflow = github.actions.add_workflow(REPOSITORY, on=["push"], jobs=jobs)
    started = github.actions.start(workflow, by=github.add_user("hubot").account)
    await eventually(lambda: started.status == "waiting")
    return started


async def test_github_asks_and_one_decision_is_for_all_jobs_there(
    github: GitHub,
    run: WorkflowRun,
    send: Send,
    token: str,
    shape: Shape,
    event_shape: Shape,
) -> None:
    async with Receiver() as receiver:
        github.webhook_url = f"{receiver.url}/webhook"
        github.actions.runs.rerun(run, by=github.add_user("mona").account)
        await eventually(lambda: len(receiver.bodies("deployment_protection_rule")) == 2)
        await github.settled()
        asked = receiver.bodies("deployment_protection_rule")
        for body in asked:
            event_shape("deployment_protection_rule", body)
        for body in receiver.bodies("deployment"):
            event_shape("deployment", body)
            assert body["workflow_run"]["triggering_actor"]["login"] == "mona"
        statuses = receiver.bodies("deployment_status")
        assert {one["deployment_status"]["state"] for one in statuses} == {"waiting"}
        github.webhook_url = ""
    path = asked[0]["deployment_callback_url"].removeprefix(github.api_url)
    runs = f"/repos/{REPOSITORY}/actions/runs/{run.id}"
    _, [pending] = await send("GET", f"{runs}/pending_deployments", token)
    shape("PendingDeployment", pending)
    body = {"environment_name": "production", "comment": "wait"}
    assert (await send("POST", path, token, body))[0] == 204
    body = {"environment_name": "PRODUCTION", "state": "approved", "comment": "go"}
    assert (await send("POST", path, token, body))[0] == 204
    assert (await send("POST", path, token, body))[0] == 422
    await eventually(lambda: run.conclusion == "success")
    for job in run.jobs:
        assert job.deployment is not None
        assert github.states(job.deployment.id) == ["waiting", "queued", "in_progress", "success"]
    _, reviews = await send("GET", f"{runs}/approvals", token)
    for review in reviews:
        shape("EnvironmentApprovals", review)
    assert [review["state"] for review in reviews] == ["pending", "approved"]


async def test_what_github_does_not_take(
    github: GitHub, run: WorkflowRun, send: Send, token: str
) -> None:
    path = f"/repos/{REPOSITORY}/actions/runs/{run.id}/deployment_protection_rule"
    name = {"environment_name": "production"}
    for body in (
        name,
        {**name, "state": "pending", "comment": "x"},
        {**name, "comment": "x" * 1025},
        {"environment_name": "staging", "comment": "x"},
    ):
        assert (await send("POST", path, token, body))[0] == 422
    for _ in range(10):
        assert (await send("POST", path, token, {**name, "comment": "x" * 1024}))[0] == 204
    assert (await send("POST", path, token, {**name, "comment": "x"}))[0] == 422
    assert (await send("POST", path.replace(str(run.id), "7"), token, {**name, "comment": "x"}))[
        0
    ] == 404
    for known in github.world.tokens.values():
        known.permissions["deployments"] = "read"
    assert (await send("POST", path, token, {**name, "state": "approved"}))[0] == 403
    github.actions.environments.expire(run)
    assert run.conclusion == "failure"
