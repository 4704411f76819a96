"""Deployments of which the relay learns late: nothing runs blindly."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.model import Deployment, Status
from sandbox.hook_server import HookServer
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Message
from sandbox.slack.screen import render
from tests.world import World, live, until

# Each run leaves a line.
DEPLOY_YML = """
slack: {{channel: "#deploys"}}
slack_users: {{octocat: {octocat}}}
envs:
  - name: "hasty*"
    handler: command
    recover_within: 5m
    with: &with {{run: ["sh", "-c", 'echo "$DEPLOYMENT_ID" >> "$1"', sh, "{ran}"]}}
  - {{name: "slow", handler: command, with: {{run: ["sh", "-c", '{slow}', sh, "{ran}"]}}}}
  - {{name: "*", handler: command, with: *with}}
"""
SLOW = 'echo "$DEPLOYMENT_ID" >> "$1"; while ! test -e "$1.gate"; do sleep 0.05; done'
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
async def late_world(store_url: str, tmp_path: Path, ran: Path) -> Any:
    """Without a worker as yet."""
    sandbox = Sandbox(interactive=True)
    octocat = sandbox.slack.add_user("octocat")
    deploy_yml = DEPLOY_YML.format(octocat=octocat.id, ran=ran, slow=SLOW)
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox, workers=0) as world:
        yield world


async def created(world: World, environment: str, ago: timedelta, **fields: Any) -> Deployment:
    at = world.github.world.now() - ago
    return await world.deploy(environment, at=at, **fields)


async def status(world: World, deployment: Deployment, state: str, **fields: Any) -> Status:
    """Somebody has written it a minute ago."""
    written: Status = await world.github.create_status(deployment.id, state, **fields)
    written.created_at -= MINUTE
    return written


@contextlib.contextmanager
def lost(world: World) -> Iterator[None]:
    """What GitHub sends meanwhile."""
    world.github.webhook_url, url = "", world.github.webhook_url
    yield
    world.github.webhook_url = url


def runs(ran: Path) -> list[int]:
    return [int(line) for line in ran.read_text().split()] if ran.exists() else []


def message_of(world: World, deployment: Deployment) -> Message:
    [found] = [one for one in world.messages() if f"to {deployment.environment} " in one.text]
    return found


async def test_what_is_known_of_it_decides_whether_it_runs(late_world: World, ran: Path) -> None:
    world = late_world
    vercel = world.github.add_user("vercel[bot]")
    in_time = await world.deploy("now")
    late = await created(world, "late", 12 * MINUTE)
    await created(world, "late", MINUTE, by=vercel)  # nobody deploys that here
    older = await created(world, "twice", 20 * MINUTE)
    newer = await created(world, "twice", 15 * MINUTE, task="deploy:rollback")
    old = await created(world, "old", 61 * MINUTE)
    hasty = await created(world, "hasty", 6 * MINUTE)
    done = await created(world, "done", 30 * MINUTE)
    begun = await created(world, "begun", 10 * MINUTE)
    await world.github.settled()
    with lost(world):
        await status(world, done, "in_progress")
        ended = await status(world, done, "success", description="By hand")
        await status(world, begun, "in_progress")
    world.start_worker()
    await world.github.settled()
    for one in (in_time, late, newer):
        await world.github.wait_for(one.id, "success")
    await world.idle()

    assert sorted(runs(ran)) == sorted([in_time.id, late.id, newer.id])
    # Of one in time, GitHub is not asked for anything.
    assert not [
        call
        for call in world.github.calls
        if f"/{in_time.id}/statuses" in call.path and call.method == "GET"
    ]
    [queued, *_] = world.github.statuses(late.id)
    assert queued.description == "Accepted (next: command); arrived 12m late"
    assert "arrived 12m late" in render(message_of(world, late))

    def end(deployment: Deployment) -> str:
        [written] = [one for one in world.github.statuses(deployment.id) if one.by_app]
        assert written.state == "error"
        return str(written.description)

    assert end(older) == f"Delivered 20m late; superseded by {newer.id}"
    assert end(old) == "Delivered 1h1m late; older than 1h: press Retry, or create it again"
    assert end(hasty).endswith("; older than 5m: press Retry, or create it again")
    assert "the tool shows no run of it now" in end(begun)
    # What has ended is left as it is, and nobody is disturbed by it.
    assert world.github.statuses(done.id)[-1] is ended
    [row] = world.rows("select * from deployments where id = %s", done.id)
    assert (row["phase"], row["status_description"]) == ("success", "By hand")
    assert not [one for one in world.messages() if "to done " in one.text]


async def test_what_was_missed_can_be_retried_though_a_newer_one_went(
    late_world: World, ran: Path
) -> None:
    world = late_world
    older = await created(world, "twice", 20 * MINUTE, ref="v1")
    newer = await created(world, "twice", 15 * MINUTE, ref="v2")
    passed = await created(world, "other", 20 * MINUTE)
    await created(world, "other", 15 * MINUTE)
    world.start_worker()
    await world.github.wait_for(newer.id, "success")
    await world.idle()
    here = [one for one in world.messages() if "to twice " in one.text]
    missed, went = sorted(here, key=lambda one: "superseded by" not in one.text)
    assert "[Retry]" in render(missed)
    assert f"Deployment {newer.id} was created after it" in str(missed.blocks)
    assert "[Roll back]" not in render(missed)
    assert "[Retry]" not in render(went)

    person = next(iter(world.slack.workspace.users.values()))
    assert (await world.slack.press(missed, "retry", person)).status == 200
    again = await until(lambda: _by_app(world))
    await world.github.wait_for(again.id, "success")
    assert (again.environment, again.sha) == ("twice", older.sha)
    assert not {older.id, passed.id} & set(runs(ran))
    assert runs(ran).count(newer.id) == runs(ran).count(again.id) == 1
    # The next newer one is not what it was missed for.
    last = await world.deploy("other", ref="v3")
    await world.github.wait_for(last.id, "success")
    assert (await world.slack.press(_button(world, passed), "retry", person)).status == 200
    await until(lambda: world.slack.ephemeral_messages[1:] or None)
    [_, declined] = world.slack.ephemeral_messages
    assert f"Another deployment to other was requested after {passed.id}" in declined.text
    assert len([one for one in world.github.deployments.values() if one.by_app]) == 1


def _by_app(world: World) -> Deployment | None:
    return next((one for one in world.github.deployments.values() if one.by_app), None)


def _button(world: World, deployment: Deployment) -> Message:
    """An earlier message, whether or not it is still offered."""
    text = {"type": "plain_text", "text": "Retry"}
    button = {"type": "button", "action_id": "retry", "value": str(deployment.id), "text": text}
    workspace = world.slack.workspace
    blocks = [{"type": "actions", "elements": [button]}]
    message = Message(world.slack.clock.ts(), workspace.bot.user, "retry", blocks)
    published: Message = workspace.publish(workspace.channel("deploys"), message)
    return published


async def test_a_store_that_has_forgotten_starts_nothing_again(
    late_world: World, ran: Path
) -> None:
    """As after a backup was restored."""
    world = late_world
    world.start_worker()
    done = await world.deployed("done")
    running = await world.deploy("slow")
    await world.github.wait_for(running.id, "in_progress")
    await world.stop_workers()
    for table in ("deliveries", "outbox", "timeline", "deployments", "schedule"):
        world.execute(f"delete from {table}")
    with world.clock.moved(10 * MINUTE):
        for guid in [one.guid for one in world.github.deliveries if one.event == "deployment"]:
            await world.github.redeliver(guid)
        await world.github.settled()
        sent = {one.id: len(world.github.statuses(one.id)) for one in (done, running)}
        world.start_worker()
        await world.phase(running.id, "in_progress")
        Path(f"{ran}.gate").touch()
        await world.github.wait_for(running.id, "success")
        await world.idle()
    assert runs(ran) == [done.id, running.id]
    assert len(world.github.statuses(done.id)) == sent[done.id]
    assert world.github.states(running.id)[sent[running.id] :] == ["success"]
    [row] = world.rows("select * from deployments where id = %s", done.id)
    assert (row["phase"], row["ended_at"] < row["requested_at"]) == ("success", True)


async def test_nothing_is_decided_before_github_has_answered(late_world: World, ran: Path) -> None:
    world = late_world
    late = await created(world, "late", 12 * MINUTE)
    deleted = await created(world, "deleted", 12 * MINUTE)
    await world.github.settled()
    world.github.world.deployments.pop(deleted.id)
    for fault in (Fault.status(503), Fault.status(404), Fault.rate_limited(1)):
        world.github.faults.add(f"GET /repos/*/deployments/{late.id}/statuses", fault)
    world.github.faults.add("GET /repos/*/deployments", Fault.status(502))
    world.start_worker()
    await world.github.wait_for(late.id, "success")
    reason = "it was deleted on GitHub before it could run"
    await until(lambda: reason in world.delivery_outcomes().get("ignored", []) or None)
    await world.idle()
    assert runs(ran) == [late.id]


HOOKS_YML = """
envs:
  - {name: hook, handler: endpoint, with: {url: "${HOOKS}/hooks/deploy"}}
  - {name: safe, handler: endpoint, with: {url: "${HOOKS}/hooks/deploy", restart: safe}}
  - {name: native, handler: github-actions}
"""


async def test_a_tool_that_cannot_be_searched_is_left_to_a_person(
    store_url: str, tmp_path: Path
) -> None:
    async with HookServer() as hooks:
        environ = {"HOOKS": hooks.url}
        async with live(store_url, tmp_path, HOOKS_YML, environ=environ, workers=0) as world:
            with lost(world):
                hook = await created(world, "hook", 10 * MINUTE)
                safe = await created(world, "safe", 10 * MINUTE)
                native = await created(world, "native", 2 * HOUR)
                for one in (hook, safe, native):
                    await status(world, one, "in_progress")
            for one in (hook, safe, native):
                event = world.github.events.deployment(one)
                await world.github.deliver("deployment", event)
            world.start_worker()
            # Its key makes another start harmless; the other may run twice.
            await until(lambda: hooks.executions or None)
            held = await until(lambda: _held(world, hook))
            assert held.startswith("It had begun before and may still run")
            assert world.github.states(hook.id)[-1] == "in_progress"
            # A workflow runs whether the relay hears of it or not: it is followed, however old.
            row = await world.phase(native.id, "in_progress", "queued")
            assert (row["lateness"], row["ended_at"]) == ("late", None)
            assert len(hooks.executions) == 1


def _held(world: World, deployment: Deployment) -> str | None:
    query = "select description from timeline where deployment_id = %s and held"
    return next((row["description"] for row in world.rows(query, deployment.id)), None)
