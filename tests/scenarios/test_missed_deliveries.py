"""Deliveries that did not arrive come back by themselves, whatever the reason."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from sandbox.faults import Fault
from sandbox.github.model import Delivery
from sandbox.github.webhooks import ARRIVES, Transit
from sandbox.sandbox import Sandbox, free_ports
from tests.world import QUICK, World, live, until
from webhook.engine.recovery import recover
from webhook.engine.retention import Retention
from webhook.errors import Conflict, RetryAt
from webhook.slack.actions import ACTIONS
from webhook.worker import open_services

DEPLOY_YML = """
envs:
  - name: production
    handler: command
    serialization: false
    with: {run: ["sh", "-c", "echo deploying $DEPLOYMENT_REF"]}
"""
LIST, ONE = "GET /app/hook/deliveries", "GET /app/hook/deliveries/*"
MINUTE = timedelta(minutes=1)


async def compare(world: World) -> None:
    """Compare GitHub's list now, and wait until that is done."""
    await world.github.settled()
    compared = "select compared_at from delivery_scan"
    before = world.rows(compared)
    world.bring_forward("task = 'recover'")
    await until(lambda: world.rows(compared) != before or None)
    await world.idle()


def due_in(world: World) -> timedelta:
    """Until the list is compared again."""
    [row] = world.rows("select due_at - now() as span from schedule where task = 'recover'")
    span: timedelta = row["span"]
    return span


def missed(world: World) -> list[tuple[str, int]]:
    rows = world.rows("select state, tries from missed_deliveries order by delivered_at, found_at")
    return [(row["state"], row["tries"]) for row in rows]


def ways(world: World) -> list[tuple[str, str]]:
    """Of deliveries of the event `deployment`, as they came in."""
    rows = world.rows("select guid, way from deliveries where event = 'deployment' order by id")
    return [(row["guid"], row["way"]) for row in rows]


def fetched(world: World) -> int:
    """How many deliveries were read in full."""
    path = "/app/hook/deliveries/"
    return sum(call.method == "GET" and path in call.path for call in world.github.calls)


def swallow(world: World, which: Callable[[Delivery], bool]) -> None:
    """A proxy answers 200 for these, and does not forward them."""
    swallowed = Transit(fate="swallowed")
    world.github.webhooks.transit = lambda one: swallowed if which(one) else ARRIVES


@contextmanager
def swallowed(world: World, event: str = "deployment") -> Iterator[None]:
    swallow(world, lambda delivery: delivery.event == event)
    try:
        yield
    finally:
        swallow(world, lambda _: False)


async def lost(world: World, environment: str = "production") -> Delivery:
    """The delivery of a deployment that does not arrive."""
    with swallowed(world):
        await world.deploy(environment)
        await world.github.settled()
    found: Delivery = [d for d in world.github.deliveries if d.event == "deployment"][-1]
    return found


async def kill_workers(world: World) -> None:
    """At once, whatever they do; what they had claimed is due again."""
    for task, _ in world.workers:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    world.workers.clear()
    world.execute("update schedule set claimed_by = null, due_at = now() where task = 'recover'")


async def test_what_github_calls_delivered_is_found_where_it_did_not_arrive(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        # GitHub's clock is not this machine's, and its numbers are no doubles.
        world.github.world.ahead = timedelta(hours=-5)
        world.github.webhooks.large_ids = True
        delivery = await lost(world)
        assert delivery.status == "OK"
        await compare(world)
        [deployment_id] = world.github.deployments
        await world.github.wait_for(deployment_id, "success")
        await world.idle()
        [row] = world.rows("select * from deliveries where way = 'pulled'")
        at = delivery.delivered_at.replace(microsecond=0)
        assert (row["guid"], row["delivered_at"]) == (delivery.guid, at)
        [row] = world.rows("select * from missed_deliveries")
        assert (row["state"], row["github_id"]) == ("recovered", delivery.id)
        assert timedelta(minutes=5) < due_in(world) < timedelta(minutes=11)
        [scan] = world.rows("select * from delivery_scan")
        assert scan["found"] == 1
        assert scan["watermark"] <= world.github.world.now()
        # Another worker compares at its start, and finds nothing new.
        world.start_worker()
        await compare(world)
        assert (missed(world), fetched(world)) == ([("recovered", 0)], 1)
        assert world.github.states(deployment_id).count("success") == 1


async def test_only_what_may_matter_and_did_not_arrive_is_fetched(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = f'unrouted: ignore\n{DEPLOY_YML}    repos: ["acme/site"]\n'
    async with live(store_url, tmp_path, deploy_yml) as world:
        other = world.github.add_repository("acme/other")
        world.sandbox.installation.repositories.append(other)
        await world.github.create_deployment("acme/other", required_contexts=[])
        arrived = await world.deployed()
        # GitHub says that it failed; the response came late.
        [late] = [d for d in world.github.deliveries if d.repository_id != other.id][:1]
        late.status, late.status_code = "timed out", 0
        swallow(world, lambda _: True)
        await world.github.create_deployment("acme/other", required_contexts=[])
        await world.github.ping()
        for body in ({"action": "queued"}, {"action": "labeled"}):
            await world.github.deliver("issues", body)
            await world.github.deliver("pull_request", {**body, "action": "labeled"})
        lost_one = await world.deploy()
        await world.github.settled()
        swallow(world, lambda _: False)
        await compare(world)
        await world.github.wait_for(lost_one.id, "success")
        assert fetched(world) == 1
        assert world.github.states(arrived.id).count("success") == 1
        assert [way for _, way in ways(world)] == ["webhook", "webhook", "pulled"]


async def test_a_relay_that_is_new_leaves_alone_what_others_have_done(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        history, recent = await lost(world), await lost(world)
        history.delivered_at -= 2 * 60 * MINUTE
        with swallowed(world):
            at = world.github.world.now() - 10 * MINUTE
            elsewhere = await world.deploy("elsewhere", at=at)
            await world.github.create_status(elsewhere.id, "in_progress")
            await world.github.settled()
        world.start_worker()
        for _ in range(2):
            await compare(world)
        assert {guid for guid, _ in ways(world)}.isdisjoint({history.guid})
        assert ("recovered", 0) in missed(world)
        first, second, _ = world.github.deployments
        assert (world.github.states(first), world.github.states(elsewhere.id)) == (
            [],
            ["in_progress"],
        )
        await world.github.wait_for(second, "success")
        # One that was there before, and has compared nothing yet, goes back to its begin.
        world.execute("delete from delivery_scan")
        world.execute("update deliveries set received_at = received_at - interval '3 hours'")
        world.bring_forward("task = 'recover'")
        await world.github.wait_for(first, "success")
        assert recent.guid in {guid for guid, _ in ways(world)}


async def test_what_is_listed_late_is_found_behind_the_watermark(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        world.github.webhooks.listed_after = timedelta(minutes=10)
        delivery = await lost(world)
        world.github.webhooks.listed_after = timedelta(0)
        world.github.world.ahead = timedelta(minutes=9)
        await world.deployed()
        await compare(world)
        [scan] = world.rows("select watermark from delivery_scan")
        assert (missed(world), scan["watermark"] > delivery.delivered_at) == ([], True)
        world.github.world.ahead = timedelta(minutes=11)
        await compare(world)
        assert missed(world) == [("recovered", 0)]
        # What was delivered before the overlap was compared in time, and is not asked about again.
        world.github.world.ahead = timedelta(minutes=40)
        await world.github.ping()
        await compare(world)
        world.execute("delete from deliveries where guid = %s", delivery.guid)
        world.execute("delete from missed_deliveries")
        await compare(world)
        assert missed(world) == []


@pytest.mark.slow
async def test_a_worker_that_is_killed_is_taken_over_where_it_was(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        oldest = await lost(world)
        with swallowed(world, "ping"):
            for _ in range(110):
                await world.github.ping()
            await world.github.settled()
        newest = await lost(world)
        # Between two pages.
        world.github.faults.add(LIST, Fault.hang(0))
        world.github.faults.add(LIST, Fault.hang(30))
        world.start_worker()
        await until(lambda: world.rows("select 1 from delivery_scan where cursor <> ''") or None)
        await kill_workers(world)
        assert (missed(world), ways(world)) == ([("missing", 0)], [])
        # The cursor is stale by now: the list is begun again, as far back. Then between the
        # response and its record: nothing is lost, and nothing is done twice.
        world.github.webhooks.forget_cursors()
        world.github.faults.clear()
        world.github.faults.add(ONE, Fault.hang_after(30), times=2)
        world.start_worker()
        await until(lambda: fetched(world) == 2 or None)
        await kill_workers(world)
        assert (missed(world), ways(world)) == ([("missing", 0)] * 2, [])
        world.github.faults.clear()
        world.start_worker()
        await until(lambda: missed(world) == [("recovered", 0)] * 2 or None)
        assert {guid for guid, _ in ways(world)} == {newest.guid, oldest.guid}
        for deployment_id in world.github.deployments:
            await world.github.wait_for(deployment_id, "success")
        await world.idle()
        [scan] = world.rows("select found, cursor, begins from delivery_scan")
        assert (scan["found"], scan["cursor"], scan["begins"]) == (2, "", None)


async def test_two_at_once_do_no_harm_and_hand_over_the_newest_first(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        async with open_services(world.setup, store_url, actions=ACTIONS, timing=QUICK) as services:
            first = [await lost(world) for _ in range(5)]
            found = await asyncio.gather(
                recover(services), recover(services), return_exceptions=True
            )
            assert all(isinstance(one, RetryAt | Conflict) for one in found), found
            assert {guid for guid, _ in ways(world)} == {one.guid for one in first}
            assert missed(world) == [("recovered", 0)] * 5
            second = [await lost(world) for _ in range(5)]
            for seconds, one in enumerate(second):
                one.delivered_at += timedelta(seconds=seconds)
            with pytest.raises(RetryAt):
                await recover(services)
            # What is over is deleted once GitHub does not list it any more.
            aged = "update missed_deliveries set found_at = now() - %s where guid = %s"
            for one, days in zip(first, (9, 7), strict=False):
                world.execute(aged, timedelta(days=days), one.guid)
            await Retention(services).run()
            assert len(missed(world)) == 9
        assert [guid for guid, _ in ways(world)[5:]] == [one.guid for one in reversed(second)]


async def test_without_a_payload_it_is_sent_again_three_times_at_most(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        arrives, never = await lost(world), await lost(world)
        arrives.forgotten = never.forgotten = True
        swallow(world, lambda delivery: delivery.guid == never.guid)
        await compare(world)
        # GitHub's 202 says that it will be sent, no more.
        assert missed(world) == [("missing", 1)] * 2
        assert due_in(world) <= MINUTE
        await world.github.settled()
        for tries, pause in ((1, MINUTE), (2, 5 * MINUTE), (3, 30 * MINUTE)):
            [row] = world.rows(
                "select tries, next_try - now() as pause, github_id from missed_deliveries"
                " where guid = %s",
                never.guid,
            )
            assert (row["tries"], pause - row["pause"] < MINUTE / 2) == (tries, True)
            for one in world.github.deliveries:
                one.forgotten = True
            world.execute("update missed_deliveries set next_try = now()")
            await compare(world)
        attempts = [d for d in world.github.deliveries if d.guid == never.guid]
        assert len(attempts) == 4
        [row] = world.rows("select * from missed_deliveries where state <> 'recovered'")
        assert (row["guid"], row["state"]) == (never.guid, "given_up")
        assert "did not arrive when it was sent again" in row["reason"]
        assert dict(ways(world)) == {arrives.guid: "webhook"}
        # A person presses the button, and it arrives: it is not given up any more.
        swallow(world, lambda _: False)
        await world.github.redeliver(never.guid)
        await compare(world)
        assert sorted(missed(world)) == [("recovered", 1), ("recovered", 3)]


async def test_what_was_given_up_is_fetched_once_somebody_has_it_sent_again(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        delivery = await lost(world)
        delivery.forgotten = True
        world.execute(
            "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at,"
            " state, tries) values (%s, 'deployment', %s, now() - interval '1 hour',"
            " now() - interval '1 hour', 'given_up', 3)",
            *(delivery.guid, delivery.id),
        )
        # The relay's address is still wrong, or it has none.
        with swallowed(world):
            await world.github.redeliver(delivery.guid)
            await world.github.settled()
        world.github.deliveries[-1].forgotten = False
        world.start_worker()
        await until(lambda: missed(world) == [("recovered", 3)] or None)
        assert ways(world) == [(delivery.guid, "pulled")]


async def test_a_list_that_does_not_end_holds_nothing_up_and_is_not_read_without_a_pause(
    store_url: str, tmp_path: Path
) -> None:
    async with (
        live(store_url, tmp_path, DEPLOY_YML, workers=0) as world,
        open_services(world.setup, store_url, actions=ACTIONS, timing=QUICK) as services,
    ):
        with swallowed(world, "ping"):
            for _ in range(100):
                await world.github.ping()
            await world.github.settled()
        newest = await lost(world)
        # GitHub does not know the cursor that it has just given.
        world.github.faults.add(LIST, Fault.hang(0))
        world.github.faults.add(LIST, Fault.status(422), times=99)
        for calls in (2, 5):
            with pytest.raises(RetryAt) as raised:
                await recover(services)
            assert raised.value.at - services.clock() > timedelta(seconds=3)
            assert len(world.github.called("GET", "/app/hook/deliveries")) == calls
            assert ways(world) == [(newest.guid, "pulled")]
            world.github.faults.clear()
            world.github.faults.add(LIST, Fault.status(422))
            world.github.faults.add(LIST, Fault.hang(0))
            world.github.faults.add(LIST, Fault.status(422), times=99)
        world.github.faults.clear()
        # It leads in a circle.
        item = {"id": 1, "guid": "g", "event": "ping"}
        item["delivered_at"] = world.github.world.now().isoformat()
        for cursor in ("a", "b") * 9:
            url = f"{world.github.api_url}/app/hook/deliveries?cursor={cursor}"
            headers = {"Link": f'<{url}>; rel="next"'}
            world.github.faults.add(LIST, Fault(status_code=200, headers=headers, body=[item]))
        with pytest.raises(RetryAt, match="leads back"):
            await recover(services)
        world.github.faults.clear()
        # Whatever rejects the App rejects every call.
        await asyncio.gather(*(lost(world) for _ in range(9)))
        world.github.faults.add(ONE, Fault.status(403), times=99)
        before = fetched(world)
        for _ in range(2):
            with pytest.raises(RetryAt):
                await recover(services)
        assert fetched(world) - before <= 8
        [scan] = world.rows("select error from delivery_scan where failing_since is not null")
        assert scan["error"]


async def test_what_fails_for_another_reason_is_tried_until_it_works(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        gone, unclear = await lost(world), await lost(world)
        path = ONE.replace("*", str(gone.id))
        world.github.faults.add(path, Fault.status(404))
        world.github.faults.add(ONE.replace("*", str(unclear.id)), Fault.status(502))
        await compare(world)
        tries = "select tries from missed_deliveries where guid = %s and state = 'missing'"
        assert [world.rows(tries, one.guid)[0]["tries"] for one in (gone, unclear)] == [1, 0]
        await world.github.settled()
        world.execute("update missed_deliveries set next_try = now()")
        await compare(world)
        assert dict(ways(world)) == {gone.guid: "webhook", unclear.guid: "pulled"}


async def test_githubs_limits_are_obeyed_whatever_wants_a_comparison(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        await compare(world)
        await lost(world)
        world.github.faults.add(LIST, Fault.rate_limited(1800), times=9)
        world.bring_forward("task = 'recover'")
        failing = "select error from delivery_scan where failing_since is not null"
        [row] = await until(lambda: world.rows(failing) or None)
        assert "rate limit" in row["error"]
        before = len(world.github.called("GET", "/app/hook/deliveries"))
        world.start_worker()
        world.bring_forward("task = 'recover'")
        await until(lambda: due_in(world) > 29 * MINUTE or None)
        assert len(world.github.called("GET", "/app/hook/deliveries")) == before
        world.github.faults.clear()
        world.execute("update delivery_scan set not_before = now()")
        await compare(world)
        assert missed(world) == [("recovered", 0)]
        assert not world.rows(failing)


@pytest.mark.slow
async def test_after_its_start_a_worker_compares_the_list_once_more(
    store_url: str, tmp_path: Path
) -> None:
    """A web process that starts with it may listen only after the first comparison."""
    timing = replace(QUICK, deliveries_compared_after_doubt=timedelta(minutes=1))
    async with live(store_url, tmp_path, DEPLOY_YML, timing=timing) as world:
        await until(
            lambda: world.rows("select from delivery_scan where compared_at is not null") or None
        )
        await until(lambda: timedelta(0) < due_in(world) <= MINUTE or None)
        [scan] = world.rows("select doubt from delivery_scan")
        assert scan["doubt"] == "a worker has just started"


async def test_after_a_doubt_the_list_is_compared_soon(store_url: str, tmp_path: Path) -> None:
    timing = replace(QUICK, deliveries_compared_after_doubt=timedelta(seconds=0.3))
    quiet = replace(timing, deliveries_silent_after=timedelta(hours=1))
    async with live(store_url, tmp_path, DEPLOY_YML, timing=quiet) as world:
        await world.deployed()
        doubted = "select from delivery_scan where doubted_at < now() - interval '0.3 s'"
        await until(lambda: world.rows(doubted) or None)  # by the start of the worker
        await compare(world)
        assert due_in(world) > 5 * MINUTE
        await lost(world)
        # GitHub cannot be reached, at any call.
        world.github.faults.add("POST */statuses", Fault.drop_before())
        await world.deployed()
        await until(lambda: missed(world) == [("recovered", 0)] or None)
        [scan] = world.rows("select doubt from delivery_scan")
        assert scan["doubt"] == "GitHub could not be reached"
        # The store is away.
        await compare(world)
        await lost(world)
        world.disconnect()
        world.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await until(lambda: len(missed(world)) == 2 or None)
        await world.idle()


async def test_in_pull_mode_deployments_run_and_nobody_calls_the_relay(
    store_url: str, tmp_path: Path
) -> None:
    sandbox, nobody = Sandbox(), f"http://127.0.0.1:{free_ports(1)[0]}/webhook"
    pull = {"GITPLOY_DELIVERIES": "pull", "GITPLOY_WEBHOOK_SECRET": ""}
    timing = replace(QUICK, deliveries_pulled_every=timedelta(seconds=0.1))
    async with live(
        store_url, tmp_path, DEPLOY_YML, sandbox=sandbox, environ=pull, timing=timing
    ) as world:
        world.github.webhook_url = nobody
        deployment = await world.deployed()
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
        assert {row["way"] for row in world.rows("select way from deliveries")} == {"pulled"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.url}/webhook", json={}) as response,
        ):
            assert response.status == 404
            assert "it pulls them" in (await response.json())["error"]
