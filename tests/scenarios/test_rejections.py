"""One odd response is not the truth: what GitHub, Slack or a tool rejects once is tried again."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo.tools import Tools
from sandbox.faults import Fault, Faults
from sandbox.sandbox import REPOSITORY
from sandbox.slack.screen import render
from sandbox.spinnaker.server import Spinnaker
from sandbox.tooling import Mode
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import QUICK, World, live, until

STATUSES = "POST /repos/*/deployments/*/statuses"
# Drone's response while its SQLite is written to by somebody else, for whatever is read.
LOCKED = Fault.status(404, {"message": "database is locked"})
NOT_FOUND = Fault.status(404, {"message": "Not Found"})
# Of a run that each tool has accepted.
RUN = {
    "drone": "GET /repos/*/builds/[0-9]*",
    "endpoint": "GET /jobs/*",
    "github-actions": "GET */actions/runs/*[0-9]",
    "woodpecker": "GET /repos/*/pipelines/[0-9]*",
}
SECOND = timedelta(seconds=1)


async def succeed_once(world: World, tools: Tools, handlers: Any) -> None:
    tools.build("v1")
    requested = {name: await world.deploy(ENVIRONMENTS[name], ref="v1") for name in handlers}
    for name, deployment in requested.items():
        await world.github.wait_for(deployment.id, "success", "failure", "error", within=30)
        assert world.github.states(deployment.id)[-1] == "success", name
        if name != "github-actions":  # GitHub starts a run for each of these deployments
            assert tools.started(name) == 1, name


async def test_a_run_that_its_tool_does_not_know_once_goes_on(
    store_url: str, tmp_path: Path
) -> None:
    often = replace(QUICK, first_event_within=SECOND / 10, event_polls_at_least=SECOND / 10)
    async with relay_with_tools(store_url, tmp_path, takes=3, timing=often) as (world, tools):
        tools.tooling.mode = Mode.POLLED
        # So that the run has to be requested.
        app = world.github.world.app
        app.events = [event for event in app.events if not event.startswith("workflow_")]
        for name, request in RUN.items():
            fault = LOCKED if name == "drone" else NOT_FOUND
            tools.servers[name].faults.add(request, fault)
        await succeed_once(world, tools, RUN)
        fired = {line for name in RUN for line, _ in tools.servers[name].faults.fired}
        assert len(fired) == len(RUN), fired


async def test_an_execution_that_is_not_indexed_yet_is_no_end(
    store_url: str, tmp_path: Path
) -> None:
    """Right after the trigger Spinnaker's own API does not know it."""
    async with Spinnaker() as spinnaker:
        stages = [{"refId": "1", "requisiteStageRefIds": [], "type": "wait", "name": "Deploy"}]
        spinnaker.add_pipeline({"application": "site", "name": "Deploy", "stages": stages})
        options = f"{{url: {spinnaker.url}, application: site, pipeline: Deploy}}"
        deploy_yml = f"envs: [{{name: production, handler: spinnaker, with: {options}}}]"
        async with live(store_url, tmp_path, deploy_yml) as world:
            spinnaker.faults.add("GET /executions", Fault.status(200, []))
            spinnaker.faults.add("GET /pipelines/*", NOT_FOUND)
            deployment = await world.deployed()
            assert world.github.states(deployment.id)[-1] == "success"
            assert len(spinnaker.faults.fired) == 2


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404, 422])
async def test_a_tool_that_rejects_the_first_calls_once_deploys(
    store_url: str, tmp_path: Path, status: int
) -> None:
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        for name, server in tools.servers.items():
            path = "*/actions/runs" if name == "github-actions" else "*"
            server.faults.add(f"GET {path}", Fault.status(status, {"message": "Odd"}))
            if status != 422 and name != "github-actions":
                server.faults.add("POST *", Fault.status(status, {"error": 1}))
        await succeed_once(world, tools, ENVIRONMENTS)


async def test_a_rejection_that_lasts_is_announced_and_then_counts(
    store_url: str, tmp_path: Path
) -> None:
    async with (
        relay_with_tools(store_url, tmp_path, takes=600) as (world, tools),
        world.timed(rejection_announced_after=SECOND / 5, rejection_counts_after=SECOND),
    ):
        tools.build("v1")
        tools.drone.faults.add(RUN["drone"], LOCKED, times=99)
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
        status = await world.github.wait_for(deployment.id, "error", within=20)
        assert status.description == "Build #2 is gone from Drone"
        waits = [s.description for s in world.github.statuses(deployment.id)]
        assert waits.count("Waiting: Build #2 is gone from Drone") == 1
        # With growing pauses.
        assert 4 <= len(tools.drone.faults.fired) <= 8


async def once_before_and_once_after_a_stop(
    world: World, faults: Faults, request: str, table: str
) -> None:
    """Of the relay, for ten minutes."""
    faults.add(request, LOCKED, times=2)
    rejected = f"select 1 from {table} where rejected_since is not null"
    await until(lambda: world.rows(rejected) or None)
    await world.stop_workers()
    for column in ("rejected_since", "rejected_at"):
        world.execute(f"update {table} set {column} = {column} - interval '10 minutes'")
    world.start_worker()
    await until(lambda: len(faults.fired) == 2 or None)


@pytest.mark.slow
async def test_one_odd_response_before_a_stop_of_the_relay_and_one_after_it_are_no_end(
    store_url: str, tmp_path: Path
) -> None:
    slow = replace(QUICK, rejection_retry_at_least=SECOND)
    async with relay_with_tools(store_url, tmp_path, takes=1, timing=slow) as (world, tools):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
        await world.github.wait_for(deployment.id, "in_progress")
        for faults, request, table in (
            (tools.drone.faults, RUN["drone"], "deployments"),
            (world.github.faults, STATUSES, "outbox"),
        ):
            await once_before_and_once_after_a_stop(world, faults, request, table)
        await world.github.wait_for(deployment.id, "success")
        assert world.rows("select 1 from outbox where state = 'rejected'") == []


@pytest.mark.slow
async def test_a_response_of_the_run_ends_the_doubt(store_url: str, tmp_path: Path) -> None:
    """Each rejection after a good response is the first one."""
    async with (
        relay_with_tools(store_url, tmp_path, takes=600) as (world, tools),
        world.timed(rejection_announced_after=timedelta(0), rejection_counts_after=SECOND / 2),
    ):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["woodpecker"], ref="v1")
        faults = tools.woodpecker.faults

        def descriptions() -> list[str]:
            return [status.description for status in world.github.statuses(deployment.id)]

        def ended(count: int) -> bool | None:
            return descriptions().count("The tool responds again") == count or None

        for count in (1, 2, 3):
            faults.add(RUN["woodpecker"], NOT_FOUND)
            await until(partial(ended, count))
        assert world.rows("select 1 from deployments where rejected_since is not null") == []
        assert descriptions().count("Waiting: it is gone from Woodpecker") == len(faults.fired) == 3


@pytest.mark.slow
async def test_the_last_status_is_written_whatever_github_returned_before(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with (
        live(store_url, tmp_path) as world,
        world.timed(
            rejection_counts_after=20 * SECOND,
            rejection_retry_at_most=SECOND / 10,
            installation_retry_at_least=SECOND / 10,
            installation_retry_at_most=SECOND / 10,
        ),
    ):
        deployment = await world.begin_slow(gate)
        await world.github.wait_for(deployment.id, "in_progress")
        odd = [
            Fault.status(404, {"message": "Not Found"}),
            Fault.status(403, {"message": "Resource not accessible by integration"}),
            Fault.status(403, {"message": "This installation has been suspended"}),
            Fault.status(410, {"message": "Gone"}),
            Fault.status(422, {"message": "Unprocessable"}),
        ]
        for fault in odd:
            world.github.faults.add(STATUSES, fault)
        gate.touch()
        await world.github.wait_for(deployment.id, "success", within=10)
        assert len(world.github.faults.fired) == len(odd)
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]


@pytest.mark.slow
async def test_a_search_that_is_rejected_once_leads_to_no_second_status(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        deployment = await world.begin_slow(gate)
        await world.github.wait_for(deployment.id, "in_progress")
        world.github.faults.add(STATUSES, Fault.drop_after())
        # Each search is made with another token too.
        world.github.faults.add(STATUSES.replace("POST", "GET"), NOT_FOUND, times=2)
        gate.touch()
        written = (
            "select 1 from outbox where kind = 'status' and state = 'sent' having count(*) = 3"
        )
        await until(lambda: world.rows(written) or None)
        assert len(world.github.faults.fired) == 3
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]


async def test_a_status_that_github_keeps_rejecting_is_given_up_and_says_why(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        deployment = await world.begin_slow(gate)
        await world.github.wait_for(deployment.id, "in_progress")
        world.github.faults.add(STATUSES, NOT_FOUND, times=99)
        gate.touch()
        await world.phase(deployment.id, "success")
        query = "select error, attempts from outbox where kind = 'status' and state = 'rejected'"
        [status] = await until(lambda: world.rows(query) or None)
        assert status["error"] == "GitHub returned 404: Not Found"
        assert status["attempts"] > 2


async def test_commits_that_github_does_not_know_at_once_are_shown_later(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with (
        live(store_url, tmp_path) as world,
        world.timed(rejection_counts_after=20 * SECOND, changelog_error_cached=timedelta(0)),
    ):
        repository = world.github.repository(REPOSITORY)
        gate.touch()
        first = repository.push("The first page")
        await world.deploy("slow", ref=first, payload={"gate": str(gate)})
        await world.idle()
        gate.unlink()
        world.github.faults.add("GET /repos/*/compare/*", NOT_FOUND)
        second = repository.push("The second page")
        await world.deploy("slow", ref=second, payload={"gate": str(gate)})
        await until(lambda: world.github.faults.fired or None)
        await until(lambda: world.messages()[1:] or None)
        gate.touch()
        await until(lambda: "Deploys 1 commit" in render(world.messages()[-1]) or None)


async def test_a_message_that_slack_rejects_once_is_sent(store_url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with (
        live(store_url, tmp_path) as world,
        world.timed(rejected_retry_at_least=SECOND / 10),
    ):
        deployment = await world.begin_slow(gate)
        await world.github.wait_for(deployment.id, "in_progress")
        await until(lambda: world.replies() or None)
        world.slack.faults.add("POST /chat.postMessage", Fault.slack("channel_not_found"))
        gate.touch()
        # After this reply nothing happens by which it would be sent anyway.
        await until(lambda: "succeeded" in "".join(map(render, world.replies())) or None, within=5)
        assert len(world.slack.faults.fired) == 1
