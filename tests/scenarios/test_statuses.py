"""Statuses reach GitHub once and in order, whatever GitHub responds and whoever else writes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from sandbox.faults import Fault
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import DEPLOY_YML, World, live, until

STATUSES = "POST /repos/*/deployments/*/statuses"


@pytest.mark.slow
async def test_no_status_is_lost_or_written_twice_without_a_clear_response(
    world: World,
) -> None:
    unclear = [
        Fault.drop_after(),
        Fault.drop_before(),
        Fault.status(502, acts=True),
        Fault.status(500),
    ]
    for fault in unclear:
        world.github.faults.add(STATUSES, fault, times=2)
    requested = [await world.deploy() for _ in unclear]
    for deployment in requested:
        await world.github.wait_for(deployment.id, "success", within=30)
    await world.idle()
    for deployment in requested:
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert len(world.github.faults.fired) == 2 * len(unclear)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [Fault.rate_limited, Fault.secondary_limit, Fault.primary_limit])
async def test_githubs_rate_limits_are_respected(
    world: World, limit: Callable[[int], Fault]
) -> None:
    fault = limit(1)
    world.github.faults.add(STATUSES, fault)
    deployment = await world.deployed()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    limited, again = world.github.called("POST", "/statuses")[:2]
    reset = float((fault.headers or {}).get("x-ratelimit-reset", 0))  # of when the fault was made
    assert again.time >= (reset or limited.time + 0.9)


@pytest.mark.slow
async def test_one_token_serves_several_deployments_and_an_invalid_one_is_replaced(
    world: World,
) -> None:
    deployment = await world.deployed()
    assert world.github.token_requests == 1
    world.github.world.tokens.clear()
    another = await world.deployed()
    assert world.github.token_requests == 2
    assert world.github.states(deployment.id) == world.github.states(another.id)


async def test_a_report_that_is_being_stored_while_the_run_ends_counts(
    world: World, tmp_path: Path
) -> None:
    """Its transaction ends after the relay has begun to record the end."""
    deployment = await world.begin_slow(tmp_path / "gate")
    report = (
        "insert into timeline (deployment_id, actor, state, description, counted, judged)"
        " values (%s, 'command', 'failure', 'the smoke test failed', false, false)"
    )
    waits = (
        "select 1 from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock' and query like 'update deployments%%'"
    )
    with psycopg.connect(world.store_url) as connection:
        connection.execute("select 1 from deployments where id = %s for update", [deployment.id])
        connection.execute(report, [deployment.id])
        (tmp_path / "gate").touch()
        await until(lambda: world.rows(waits) or None)
    row = await world.phase(deployment.id, "failure", "success")
    assert (row["phase"], row["status_description"]) == ("failure", "the smoke test failed")
    await world.idle()


@pytest.mark.slow
async def test_no_status_of_ours_follows_an_end_that_somebody_else_reported(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        world.github.faults.add(STATUSES, Fault.rate_limited(1), times=1000)
        deployment = await world.begin_slow(gate)
        await world.github.create_status(deployment.id, "success")
        await world.phase(deployment.id, "success")
        world.github.faults.clear()
        gate.touch()
        await world.idle()
        assert world.github.states(deployment.id) == ["success"]


async def test_an_end_that_a_status_of_ours_hides_is_written_again(
    store_url: str, tmp_path: Path
) -> None:
    """GitHub got a person's status before ours; its event arrived after ours was written."""
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, _tools):
        url, world.github.webhook_url = world.github.webhook_url, ""
        deployment = await world.deploy(ENVIRONMENTS["endpoint"], ref="v1")
        theirs = await world.github.create_status(deployment.id, "failure", description="seen")
        world.github.webhook_url = url
        await world.github.deliver("deployment", world.github.events.deployment(deployment))
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        assert world.github.states(deployment.id)[-1] != "failure"
        event = world.github.events.deployment_status(deployment, theirs)
        await world.github.deliver("deployment_status", event)
        await until(lambda: world.github.states(deployment.id)[-1] == "failure" or None)
        assert world.github.statuses(deployment.id)[-1].by_app


async def test_no_status_of_ours_that_waited_for_a_token_hides_an_end(
    world: World, tmp_path: Path
) -> None:
    world.github.faults.add("POST /app/installations/*/access_tokens", Fault.hang(0.5))
    deployment = await world.deploy("slow", payload={"gate": str(tmp_path / "gate")})
    await world.phase(deployment.id, "queued")
    await world.github.create_status(deployment.id, "success")
    await world.phase(deployment.id, "success")
    (tmp_path / "gate").touch()
    await world.idle()
    assert world.github.states(deployment.id) == ["success"]


async def test_an_end_that_is_being_recorded_is_waited_for(world: World, tmp_path: Path) -> None:
    """Its transaction has not seen our claim, and ends after we look for it."""
    token = "POST /app/installations/*/access_tokens"
    world.github.faults.add(token, Fault.hang(0.5))
    deployment = await world.deploy("slow", payload={"gate": str(tmp_path / "gate")})
    await world.phase(deployment.id, "queued")
    end = (
        "insert into timeline (deployment_id, actor, state, description, counted)"
        " values (%s, 'ada', 'success', '', true)"
    )
    with psycopg.connect(world.store_url) as connection:
        connection.execute("select 1 from deployments where id = %s for update", [deployment.id])
        connection.execute(end, [deployment.id])
        await until(lambda: world.github.world.tokens or None)
        await asyncio.sleep(0.3)
    (tmp_path / "gate").touch()
    await world.idle()
    assert world.github.states(deployment.id) == ["success"]


async def test_a_status_is_written_without_an_environment_url_that_github_rejects(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deploy_yml = DEPLOY_YML.rstrip().removesuffix("}") + ', environment_url: "https://invalid"}'
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        invalid = {"message": "Validation Failed", "errors": ["environment_url is invalid"]}
        world.github.faults.add(STATUSES, Fault.status(422, invalid))
        gate.touch()
        status = await world.github.wait_for(deployment.id, "success", within=20)
        assert status.environment_url == ""


async def test_anothers_status_without_a_log_url_does_not_hide_ours(
    world: World, tmp_path: Path
) -> None:
    deployment = await world.begin_slow(tmp_path / "gate")
    await world.github.wait_for(deployment.id, "in_progress")
    world.github.faults.add(STATUSES, Fault.drop_after())
    (tmp_path / "gate").touch()
    await world.github.wait_for(deployment.id, "success")
    # Newer than ours, which is searched now.
    await world.github.create_status(deployment.id, "in_progress")
    await world.idle()
    assert world.github.states(deployment.id)[-2:].count("success") == 1
    assert not world.rows("select 1 from outbox where kind = 'status' and state <> 'sent'")


async def test_a_limit_in_an_older_servers_message_is_waited_for(world: World) -> None:
    message = "You have triggered an abuse detection mechanism. Please wait a few minutes."
    world.github.faults.add(STATUSES, Fault.status(403, {"message": message}))
    await world.deploy()
    query = "select error from outbox where kind = 'status' and state = 'waiting'"
    rows = await until(lambda: [row for row in world.rows(query) if row["error"]] or None)
    assert rows[0]["error"].startswith("GitHub's rate limit: You have triggered an abuse")
