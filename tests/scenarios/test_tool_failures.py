"""Deployments whose tool rejects, is unreachable, limits, gives no clear response, or reports."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from sandbox.demo.tools import SECRETS, Tools
from sandbox.faults import Fault
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from sandbox.slack.screen import render
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import QUICK, World, until
from webhook.security.signing import ReportTokens

# Those that have a server of their own.
REMOTE = [name for name in ENVIRONMENTS if name != "github-actions"]
UNDER_WAY = "select 1 from deployments where run is not null"
HTML = Fault(status_code=200, headers={"Content-Type": "text/html"}, body="<h1>Sign in</h1>")


async def deploy_all(world: World, tools: Tools) -> dict[str, Deployment]:
    tools.build("v1")
    return {name: await world.deploy(ENVIRONMENTS[name], ref="v1") for name in REMOTE}


async def ends(world: World, requested: dict[str, Deployment]) -> dict[str, tuple[str, str]]:
    """Handler -> the final state on GitHub and its description."""
    found = {}
    for name, deployment in requested.items():
        status = await world.github.wait_for(
            deployment.id, "success", "failure", "error", within=60
        )
        found[name] = status.state, status.description
    return found


def waits(world: World, deployment: Deployment) -> bool | None:
    """Whether its status on GitHub mentions it."""
    descriptions = [status.description for status in world.github.statuses(deployment.id)]
    return any(d.startswith("Waiting: ") and "cannot be reached" in d for d in descriptions) or None


async def time_is_up(world: World) -> None:
    """For all deployments. Their next check may be far away: a tool that reports is not polled for
    a while."""
    # In a thread: the worker that may hold the row needs this one.
    due = "update deployments set deadline = now() returning 1"
    await asyncio.to_thread(world.rows, due)
    now = "update schedule set due_at = now() where due_at > %s and claimed_by is null returning 1"

    def over() -> bool | None:
        world.rows(now, datetime.now(UTC) + timedelta(seconds=5))
        return not world.rows("select 1 from deployments where ended_at is null") or None

    await until(over)


async def test_a_rejected_credential_is_an_error_with_a_remedy(
    store_url: str, tmp_path: Path
) -> None:
    wrong = dict.fromkeys(SECRETS, "no-good-credential")
    async with relay_with_tools(store_url, tmp_path, secrets=wrong) as (world, tools):
        found = await ends(world, await deploy_all(world, tools))
        for name, (state, description) in found.items():
            assert state == "error", name
            assert "401" in description, name
            assert "deploy.yml" in description or "signature" in description, (name, description)
            assert tools.started(name) == 0


@pytest.mark.slow
async def test_temporary_errors_are_waited_out_and_nothing_starts_twice(
    store_url: str, tmp_path: Path
) -> None:
    """At every tool; each is called again until its response can be used."""
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        for name in REMOTE:
            for fault in (Fault.status(500), Fault.rate_limited(1), HTML, Fault.drop_before()):
                tools.servers[name].faults.add("GET *", fault)
        tools.tooling.faults.add("POST /deploy", Fault.status(502, acts=True))
        assert all(
            state == "success"
            for state, _ in (await ends(world, await deploy_all(world, tools))).values()
        )
        assert {name: tools.started(name) for name in REMOTE} == dict.fromkeys(REMOTE, 1)


@pytest.mark.slow
async def test_a_tool_that_cannot_be_reached_is_announced_and_given_up_at_the_time_out(
    store_url: str, tmp_path: Path
) -> None:
    timing = replace(QUICK, outage_announced_after=timedelta(seconds=1))
    async with relay_with_tools(store_url, tmp_path, timing=timing) as (world, tools):
        tools.build("v1")
        for name in REMOTE:
            await tools.servers[name].stop()
        requested = {name: await world.deploy(ENVIRONMENTS[name], ref="v1") for name in REMOTE}
        for deployment in requested.values():
            await until(partial(waits, world, deployment))
        await time_is_up(world)
        for name, (state, description) in (await ends(world, requested)).items():
            assert state == "error", name
            assert description.startswith("Gave up after 30m: "), description
            assert "cannot be reached" in description, description


@pytest.mark.slow
async def test_a_tool_that_is_away_for_long_is_announced_once_and_calls_nobody(
    store_url: str, tmp_path: Path
) -> None:
    soon = timedelta(seconds=0.2)
    often = replace(
        QUICK, recheck_at_least=soon, recheck_at_most=soon, outage_announced_after=2 * soon
    )
    async with relay_with_tools(store_url, tmp_path, takes=600, timing=often) as (world, tools):
        tools.build("v1")
        faults = tools.woodpecker.faults
        deployment = await world.deploy(ENVIRONMENTS["woodpecker"], ref="v1")
        await until(lambda: tools.started("woodpecker") or None)
        faults.add("GET *", Fault.status(503), times=1000)
        [waiting] = await until(lambda: said(world, deployment, "Waiting: ") or None)
        failed = len(faults.fired)
        assert failed > 1
        await until(lambda: True if len(faults.fired) > failed + 1 else None)
        await until(lambda: True if waiting in render(world.messages()[-1]) else None)
        faults.clear()
        [back] = await until(lambda: said(world, deployment, "The tool responds") or None)
        tools.woodpecker_repo.deployments[-1].status = "success"
        await world.github.wait_for(deployment.id, "success")
        await world.idle()
        thread = "\n".join(map(render, world.replies()))
        assert thread.count(waiting) == thread.count(back) == 1
        assert said(world, deployment, "Waiting: ") == [waiting]
        assert not any(reply.broadcast or "<@" in reply.text for reply in world.replies())


def said(world: World, deployment: Deployment, prefix: str) -> list[str]:
    """What the statuses on GitHub say that begins so."""
    statuses = world.github.statuses(deployment.id)
    return [one.description for one in statuses if one.description.startswith(prefix)]


@pytest.mark.slow
async def test_a_run_continues_when_its_tool_is_back(store_url: str, tmp_path: Path) -> None:
    timing = replace(QUICK, outage_announced_after=timedelta(0))
    async with relay_with_tools(store_url, tmp_path, takes=600, timing=timing) as (world, tools):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
        await until(lambda: tools.started("drone") or None)
        await world.phase(deployment.id, "in_progress", "queued")
        await tools.drone.stop()
        errors = "select tool_error from deployments where tool_error <> ''"
        await until(lambda: world.rows(errors) or None)
        url = world.github.statuses(deployment.id)[0].log_url
        async with aiohttp.ClientSession() as session, session.get(url) as page:
            html = await page.text()
        assert "retried until its deadline" in html
        assert "cannot be reached" in html
        await tools.drone.start()
        [build] = tools.drone.builds(REPOSITORY, "promote")
        tools.drone.end(build, "success")
        await world.github.wait_for(deployment.id, "success", within=30)
        assert world.rows(errors) == []
        assert tools.started("drone") == 1


async def test_a_run_is_stopped_at_its_time_out(store_url: str, tmp_path: Path) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, tools):
        requested = await deploy_all(world, tools)
        await until(lambda: len(world.rows(UNDER_WAY)) == len(requested) or None)
        await time_is_up(world)
        for name, (state, description) in (await ends(world, requested)).items():
            assert (state, description.partition(";")[0].partition(" (")[0]) == (
                "error",
                "timed out after 30m",
            ), name
        assert tools.drone.builds(REPOSITORY, "promote")[0].status == "killed"
        assert tools.spinnaker.executions[0].status == "CANCELED"
        assert tools.woodpecker_repo.deployments[0].status in ("killed", "canceled")
        endpoint = world.github.statuses(requested["endpoint"].id)[-1].description
        assert "; its run may go on: " in endpoint


@pytest.mark.slow
async def test_a_run_that_reports_is_not_polled(store_url: str, tmp_path: Path) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, tools):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
        requested = await until(lambda: len(tools.drone.called("GET", "builds/2")) or None)
        row = await world.phase(deployment.id, "in_progress", "queued")
        settings, keys = world.setup.settings, world.setup.secret_keys
        report = ReportTokens(settings.server_url, keys).credentials(
            REPOSITORY, deployment.id, row["environment"], row["deadline"]
        )
        headers = {"Authorization": f"Bearer {report.token}"}

        async def report_state(state: str, description: str) -> None:
            body = {"state": state, "description": description}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(report.url, json=body) as response,
            ):
                assert response.status == 201, await response.text()
            await until(lambda: description in descriptions() or None)

        def descriptions() -> list[str]:
            return [status.description for status in world.github.statuses(deployment.id)]

        await report_state("in_progress", "step 1 of 2")
        requested = len(tools.drone.called("GET", "builds/2"))
        await report_state("in_progress", "step 2 of 2")
        await asyncio.sleep(1)  # more than the time between two polls of so young a build
        assert len(tools.drone.called("GET", "builds/2")) == requested
        await report_state("success", "all done")
        await world.phase(deployment.id, "success")
        assert len(tools.drone.called("GET", "builds/2")) == requested
        assert descriptions()[-3:] == ["step 1 of 2", "step 2 of 2", "all done"]


async def test_an_unknown_state_is_shown_without_characters_that_cannot_be_stored(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, tools):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["woodpecker"], ref="v1")
        await until(lambda: tools.started("woodpecker") or None)
        tools.woodpecker.takes = None
        tools.woodpecker_repo.deployments[0].status = "new\0state"

        def shown() -> bool | None:
            descriptions = [s.description for s in world.github.statuses(deployment.id)]
            return any("'new state'" in text for text in descriptions) or None

        await until(shown, within=20)


@pytest.mark.slow
async def test_a_rejection_while_a_start_is_of_unknown_outcome_ends_nothing(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        tools.build("v1")
        tools.woodpecker.faults.add("POST /repos/*/pipelines/*", Fault.drop_after())
        deployment = await world.deploy(ENVIRONMENTS["woodpecker"], ref="v1")
        await until(lambda: tools.started("woodpecker") or None)
        tools.woodpecker.faults.add("GET *", Fault.status(401), times=2)
        status = await world.github.wait_for(
            deployment.id, "success", "failure", "error", within=30
        )
        assert (status.state, tools.started("woodpecker")) == ("success", 1), status.description
        assert len(tools.woodpecker.faults.fired) == 3


@pytest.mark.slow
async def test_drones_build_of_the_commit_is_waited_for_and_promoted_once(
    store_url: str, tmp_path: Path
) -> None:
    """Although the response to the promotion is lost."""
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        sha = world.github.world.repository(REPOSITORY).sha("v1")
        built = tools.drone.add_build(REPOSITORY, sha, status="running")
        tools.drone.faults.add("POST /repos/*/promote", Fault.drop_after())
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")

        def written() -> list[tuple[str, str]]:
            statuses = world.github.statuses(deployment.id)
            return [(status.state, status.description) for status in statuses]

        waiting = ("queued", f"Waiting for Drone's build #{built.number} of {sha[:7]}")
        await until(lambda: waiting in written() or None)
        assert tools.started("drone") == 0
        tools.drone.end(built)
        await world.github.wait_for(deployment.id, "success", within=30)
        assert tools.started("drone") == 1
        assert written().count(waiting) == 1
        assert world.rows("select 1 from deployments where tool_error <> ''") == []
