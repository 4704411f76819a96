"""Cancel in Slack: the run ends, and nothing more is started."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.demo.tools import Tools
from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.model import Message
from sandbox.slack.screen import render
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import DEPLOY_YML, World, live, until

KILL = "DELETE /repos/*/builds/*"


async def cancel(world: World) -> None:
    """As octocat, on the newest message."""
    message = await until(lambda: (world.messages()[-1:] and _can_cancel(world)) or None)
    person = next(iter(world.slack.workspace.users.values()))
    response = await world.slack.press(message, "cancel", person)
    assert response.status == 200


def _can_cancel(world: World) -> Any:
    message = world.messages()[-1]
    return message if "[Cancel]" in render(message) else None


async def description(world: World, deployment_id: int) -> str:
    status = await world.github.wait_for(deployment_id, "error", within=20)
    return str(status.description)


def shown(world: World) -> list[Message]:
    """What the channel sees of threads."""
    return [reply for reply in world.replies() if reply.broadcast]


def thread(world: World) -> str:
    return "\n".join(render(reply) for reply in world.replies())


@pytest.mark.slow
async def test_what_runs_is_ended_and_what_has_not_begun_never_begins(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=60, interactive=True) as (world, tools):
        await _a_run_is_ended(world, tools)
        await a_rejection_is_reported_and_the_run_continues(world)
        await _what_waits_never_begins(world, tools)


async def _a_run_is_ended(world: World, tools: Tools) -> None:
    sha = world.github.world.repository(REPOSITORY).sha("v1")
    tools.drone.add_build(REPOSITORY, sha, status="success")
    deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
    await until(lambda: tools.started("drone") or None)
    tools.drone.faults.add(KILL, Fault.status(500))
    await cancel(world)
    assert await description(world, deployment.id) == "Cancelled by octocat"
    [run] = tools.drone.builds(REPOSITORY, "promote")
    assert run.status == "killed"
    await until(lambda: "Cancelled by octocat" in thread(world) or None)
    assert "stopped" in render(world.messages()[-1])


async def a_rejection_is_reported_and_the_run_continues(world: World) -> None:
    deployment = await world.deploy(ENVIRONMENTS["endpoint"], ref="v1")
    await world.phase(deployment.id, "in_progress", "queued")
    await cancel(world)
    await until(lambda: "Could not be cancelled" in thread(world) or None)
    await until(lambda: _can_cancel(world))
    assert not {"error", "failure"} & set(world.github.states(deployment.id))
    await cancel(world)  # it may be requested again
    await until(lambda: thread(world).count("Could not be cancelled") == 2 or None)
    outcomes = "select outcome from actions where deployment_id = %s"
    await until(lambda: [*_values(world.rows(outcomes, deployment.id))] == ["failed"] * 2 or None)


def _values(rows: list[dict[str, Any]]) -> list[Any]:
    return [value for row in rows for value in row.values()]


async def _what_waits_never_begins(world: World, tools: Tools) -> None:
    started = tools.started("drone")
    sha = world.github.world.repository(REPOSITORY).sha("v2")
    built = tools.drone.add_build(REPOSITORY, sha, status="blocked")
    deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v2")
    await until(lambda: any("waits for a person" in render(r) for r in shown(world)) or None, 20)
    await cancel(world)
    assert await description(world, deployment.id) == "Cancelled by octocat before it began"
    tools.drone.end(built)
    followed = "select 1 from schedule where task = 'advance' and subject = %s"
    await until(lambda: not world.rows(followed, deployment.id) or None, 20)
    assert tools.started("drone") == started


@pytest.mark.slow
async def test_a_rejection_that_comes_once_does_not_keep_the_run_from_being_cancelled(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=60, interactive=True) as (world, tools):
        tools.build("v1")
        odd = {"spinnaker": 403, "woodpecker": 404, "github-actions": 404}
        for count, (name, status) in enumerate(odd.items(), 1):
            deployment = await world.deploy(ENVIRONMENTS[name], ref="v1")
            known = "select 1 from deployments where id = %s and run->>'id' <> ''"
            await until(partial(_row, world, known, deployment.id))
            tools.servers[name].faults.add("* */cancel", Fault.status(status))
            await until(partial(_posted, world, count))
            await cancel(world)
            assert await description(world, deployment.id) == "Cancelled by octocat", name
            assert len(tools.servers[name].faults.fired) == 1, name
        assert tools.spinnaker.executions[0].status == "CANCELED"
        assert tools.woodpecker_repo.deployments[0].status in ("canceled", "killed")
        assert len(world.github.called("POST", "/cancel")) == 2


def _posted(world: World, count: int) -> Any:
    return len(world.messages()) == count or None


def _row(world: World, query: str, deployment_id: int) -> Any:
    return world.rows(query, deployment_id) or None


async def test_a_command_is_killed(store_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox(interactive=True)
    octocat = sandbox.slack.add_user("octocat")
    deploy_yml = f"slack_users: {{octocat: {octocat.id}}}\n{DEPLOY_YML}"
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox) as world:
        deployment = await world.begin_slow(tmp_path / "gate")
        await cancel(world)
        assert await description(world, deployment.id) == "Cancelled by octocat"
        await world.idle()
        [run] = world.rows("select run from deployments where id = %s", deployment.id)
        assert run["run"]["state"] == "error"
        assert not any("test -e" in command for command in _commands())


def _commands() -> list[str]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found
