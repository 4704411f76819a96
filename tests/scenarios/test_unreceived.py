"""Deployments that GitHub has and nobody delivered are found, and none is deployed twice."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.screen import render
from tests.world import QUICK, World, live, until

DEPLOY_YML = """
slack: {{channel: "#deploys"}}
envs:
  - name: "*"
    repos: ["acme/*"]
    handler: command
    with: {{run: ["sh", "-c", 'echo "$DEPLOYMENT_ID" >> "$1"', sh, "{ran}"]}}
"""
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AT_ONCE = replace(
    QUICK,
    deployments_listed_after_start=timedelta(0),
    deployments_listed_again_after=timedelta(seconds=0.2),
)
LIST = "/repos/acme/site/deployments"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
async def deaf_world(store_url: str, tmp_path: Path, ran: Path) -> Any:
    """GitHub's hook is switched off; there is no worker as yet."""
    sandbox = Sandbox()
    sandbox.github.add_installation("acme", ["acme/other"])
    sandbox.github.add_installation("elsewhere", ["elsewhere/site"])
    deploy_yml = DEPLOY_YML.format(ran=ran)
    async with live(
        store_url, tmp_path, deploy_yml, sandbox=sandbox, workers=0, timing=AT_ONCE
    ) as world:
        world.github.webhook_url = ""
        yield world


async def created(world: World, environment: str, ago: timedelta, **fields: Any) -> Deployment:
    at = world.github.world.now() - ago
    return await world.deploy(environment, at=at, **fields)


def runs(ran: Path) -> list[int]:
    return [int(line) for line in ran.read_text().split()] if ran.exists() else []


def listed(world: World) -> list[str]:
    return [row["guid"] for row in world.rows("select guid from deliveries where way = 'listed'")]


def calls(world: World, suffix: str = LIST) -> list[int]:
    return [call.status for call in world.github.called("GET", suffix)]


async def list_again(world: World) -> None:
    """All listings that were requested have ended."""
    before = len(calls(world, "/app/installations"))
    world.bring_forward("task = 'list_deployments'")
    await until(lambda: len(calls(world, "/app/installations")) > before or None)
    idle = "select from schedule where task = 'list_deployments' and claimed_by is null"
    await until(lambda: world.rows(idle) or None)
    await world.idle()


def knew(world: World, ago: timedelta) -> None:
    """As where the relay has listed it before."""
    number = world.github.repository(REPOSITORY).id
    world.execute(
        "insert into listed_repositories (repo_id, since, listed_until, etag, listed_at)"
        f" values ({number}, now() - %s, now() - %s, '', now() - %s)",
        *[ago] * 3,
    )


async def test_what_nobody_delivered_is_run_unless_somebody_else_does(
    deaf_world: World, ran: Path
) -> None:
    world = deaf_world
    actions = world.github.add_user("github-actions[bot]")
    vercel = world.github.add_user("vercel[bot]")
    knew(world, 4 * HOUR)
    lost = await created(world, "lost", 12 * MINUTE)
    superseded = await created(world, "twice", 30 * MINUTE)
    newer = await created(world, "twice", 20 * MINUTE)
    old = await created(world, "old", 2 * HOUR)
    young = await created(world, "young", MINUTE)
    job = await created(world, "job", 20 * MINUTE, by=actions, workflow_run={})
    await world.github.create_status(job.id, "queued", by=actions)
    by_token = await created(world, "token", 20 * MINUTE, by=actions)
    fresh = await created(world, "fresh", 10 * MINUTE, by=actions)
    done = await created(world, "done", 20 * MINUTE)
    await world.github.create_status(done.id, "success")
    left = await created(world, "left", 20 * MINUTE, by=vercel)
    before = await created(world, "before", 5 * HOUR)
    world.start_worker()
    for one in (lost, newer, by_token):
        await world.github.wait_for(one.id, "success")
    for one in (superseded, old):
        await world.github.wait_for(one.id, "error")
    await world.idle()
    assert sorted(runs(ran)) == sorted([lost.id, newer.id, by_token.id])
    found = [lost, superseded, newer, old, by_token]
    assert sorted(listed(world)) == sorted(f"listed-{one.id}" for one in found)
    assert not [one for one in (young, fresh, left, before) if world.github.statuses(one.id)]
    assert world.github.states(job.id) == ["queued"]
    # The words name the cause.
    why = "nobody delivered it, is the App's webhook active?"
    [queued, *_] = world.github.statuses(lost.id)
    assert queued.description == f"Accepted (next: command); arrived 12m late: {why}"
    [error] = world.github.statuses(superseded.id)
    why = "Nobody delivered it (is the App's webhook active?)"
    assert error.description == f"{why}; superseded by {newer.id}"
    assert any(f"{why}; older than 1h: " in render(one) for one in world.messages())
    assert not calls(world, "/repos/elsewhere/site/deployments")

    # Each is found once, whatever comes afterwards: its event, too.
    world.github.webhook_url = f"{world.url}/webhook"
    await world.github.deliver("deployment", world.github.events.deployment(lost))
    with world.clock.moved(HOUR):
        await list_again(world)
    assert runs(ran).count(lost.id) == 1
    assert len(listed(world)) == len(found) + 2  # those that were too young
    assert sorted(runs(ran)) == sorted([lost.id, newer.id, by_token.id])


async def test_what_was_deployed_before_the_relay_came_is_not_its_business(
    deaf_world: World, ran: Path
) -> None:
    world = deaf_world
    early = await created(world, "early", 10 * MINUTE)
    world.start_worker()
    known = "select from listed_repositories"
    await until(lambda: len(world.rows(known)) == 2 or None)
    assert not calls(world)
    since = await created(world, "since", timedelta(0))
    with world.clock.moved(10 * MINUTE):
        await list_again(world)
        assert not calls(world)  # listed hourly
    with world.clock.moved(HOUR - MINUTE):
        world.execute("update listed_repositories set listed_at = listed_at - interval '1 hour'")
        await list_again(world)
        await world.github.wait_for(since.id, "success")
        await world.idle()
    assert runs(ran) == [since.id]
    assert not world.github.statuses(early.id)


async def test_what_has_not_changed_costs_nothing_and_a_failure_stops_nobody_else(
    deaf_world: World, ran: Path
) -> None:
    world = deaf_world
    knew(world, 4 * HOUR)
    other = world.github.repository("acme/other").id
    world.execute(
        f"insert into listed_repositories select {other}, since, listed_until, '', listed_at"
        " from listed_repositories"
    )
    lost = await world.github.create_deployment(
        "acme/other",
        environment="x",
        required_contexts=[],
        at=world.github.world.now() - 9 * MINUTE,
    )
    world.github.faults.add(f"GET {LIST}", Fault.status(502))
    world.github.faults.add(f"GET {LIST}", Fault.rate_limited(1))
    world.start_worker()
    await world.github.wait_for(lost.id, "success")
    await until(lambda: calls(world)[-1:] == [200] or None)
    assert calls(world) == [502, 429, 200]
    assert calls(world, "/repos/acme/other/deployments").count(200) == 1 + 1  # the newest, too
    await world.idle()
    world.execute("update listed_repositories set listed_at = listed_at - interval '1 hour'")
    await list_again(world)
    assert calls(world) == [502, 429, 200, 304]
    assert runs(ran) == [lost.id]
