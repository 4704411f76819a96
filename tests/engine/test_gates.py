"""Gates are asked before each start: at every order of events, by several workers, across kills."""

import asyncio
import contextlib
import itertools
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from handlers.contract import State
from sandbox.sandbox import REPOSITORY
from tests.engine.by_hand import ByHandWorker, Engine, Killed, Rest, Tool, engine_by_hand
from webhook.engine.gates import ask_all
from webhook.gates import GATES
from webhook.gates.contract import ALLOW, Gate, Snapshot, Verdict, Wait
from webhook.store import deployments, schedule

DEPLOY_YML = "envs: [{name: production, handler: by-hand, timeout: 2h}]"


def _unlocked(snapshot: Snapshot) -> Verdict:
    return Wait(reason="It is locked") if snapshot.locks else ALLOW


WITH_LOCKS = {**GATES, "lock": Gate(name="lock", decide=_unlocked)}


async def lock(engine: Engine) -> None:
    await engine.execute(
        "insert into locks (environment, owner, reason, source)"
        " values ('*', 'octocat', 'an incident', 'command line')"
    )


async def unlock(engine: Engine) -> None:
    await engine.execute("update locks set ended_at = now() where ended_at is null")
    await ask_all(engine.services)


async def ask(engine: Engine, count: int = 1) -> list[int]:
    return [(await engine.ask(REPOSITORY, "production")).id for _ in range(count)]


async def end_all(engine: Engine) -> None:
    while running := engine.tool.running():
        for deployment in running:
            await engine.end(deployment.id)
        await engine.settle()


async def test_of_several_that_a_lock_holds_the_newest_starts_whichever_is_asked_first(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML, gates=WITH_LOCKS) as engine:
        for order in (None, *map(random.Random, range(3))):
            await lock(engine)
            ids = await ask(engine, 3)
            await engine.settle()
            await unlock(engine)
            await engine.settle(ByHandWorker(engine, order))
            phases = [await engine.phase(one) for one in ids]
            assert phases == ["superseded", "superseded", "in_progress"]
            await end_all(engine)


async def test_a_reason_that_reads_the_same_on_github_is_no_status_of_its_own(
    store_url: str, tmp_path: Path
) -> None:
    def long(snapshot: Snapshot) -> Verdict:
        return Wait(reason="x" * 200 + str(len(snapshot.locks)))

    gates = {"long": Gate(name="long", decide=long)}
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML, gates=gates) as engine:
        [waits] = await ask(engine)
        await engine.settle()
        await lock(engine)
        await engine.request(waits)
        await engine.settle()
        [row] = await engine.rows("select blockers from deployments")
        assert row["blockers"][0]["reason"].endswith("x1")
        statuses = await engine.rows("select description from timeline where state = 'queued'")
        assert len(statuses) == 2  # that it was accepted, and why it waits


async def test_the_older_one_starts_where_the_newer_was_deleted_on_github(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML, gates=WITH_LOCKS) as engine:
        await lock(engine)
        older, newer = await ask(engine, 2)
        await engine.settle()
        engine.sandbox.github.deployments.pop(newer)
        await unlock(engine)
        for _ in range(30):
            await engine.settle()
            await engine.pass_time(timedelta(minutes=1))
        assert await engine.phase(newer) == "error"
        assert engine.tool.started == [older]


@pytest.mark.slow
@pytest.mark.parametrize("appears_within", [timedelta(0), timedelta(minutes=1)])
async def test_after_a_kill_a_start_that_was_not_made_waits_for_a_lock_and_a_made_one_runs(
    store_url: str, tmp_path: Path, appears_within: timedelta
) -> None:
    tool, made = Tool(appears_within), set()
    async with engine_by_hand(
        store_url, tmp_path, DEPLOY_YML, gates=WITH_LOCKS, tool=tool
    ) as engine:
        for after in range(1, 100):
            [killed] = await ask(engine)
            await ByHandWorker(engine).work()  # its delivery
            worker = ByHandWorker(engine, killed_after=after)
            with contextlib.suppress(Killed):
                await worker.work()
                break
            was_made = killed in tool.runs
            made.add(was_made)
            await worker.gone()
            await lock(engine)
            await engine.settle()
            await engine.pass_time(timedelta(minutes=10))
            await engine.settle()
            phase = "in_progress" if was_made else "queued"
            assert await engine.phase(killed) == phase, f"killed after {after}"
            assert (killed in tool.runs) == was_made
            [newer] = await ask(engine)
            await engine.settle()
            await unlock(engine)
            await engine.settle()
            assert len(tool.running()) == 1
            assert (newer in tool.started) == (phase == "queued")
            await end_all(engine)
    assert made == {True, False}
    assert len(tool.started) == len({*tool.started})


async def test_of_two_workers_at_the_same_moment_one_starts_one(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML, gates=WITH_LOCKS) as engine:
        for _ in range(4):
            await lock(engine)
            ids = await ask(engine, 3)
            await engine.settle()
            await unlock(engine)
            workers = [ByHandWorker(engine, name=name) for name in ("one", "two")]
            # Both do all of it: one of them was taken for dead.
            await asyncio.gather(*(worker.advance(*ids) for worker in workers))
            assert len(engine.tool.running()) <= 1
            await engine.settle()
            assert [one.id for one in engine.tool.running()] == ids[2:]
            await end_all(engine)
        assert len(engine.tool.started) == 4


async def test_wherever_a_worker_rests_another_one_starts_nothing_beside_it(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        for after in itertools.count(1):
            await ask(engine)
            await ByHandWorker(engine).work()  # its delivery
            rest = Rest(after)
            resting = asyncio.create_task(ByHandWorker(engine, rest=rest).work())
            await rest.begun.wait()
            newer = await engine.ask(REPOSITORY, "PRODUCTION")
            other = asyncio.create_task(engine.settle(ByHandWorker(engine, name="other")))
            while not (other.done() or await engine.is_blocked()):
                await asyncio.sleep(0.002)
            ended = rest.ended
            rest.go_on.set()
            await asyncio.gather(resting, other)
            await engine.settle()
            assert len(engine.tool.running()) == 1, f"rested after {after}"
            await end_all(engine)
            assert engine.tool.started[-1] == newer.id
            if ended:
                break
        assert after > 5


async def test_wherever_a_worker_rests_the_end_of_a_run_beside_it_is_not_missed(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        for after in itertools.count(1):
            [runs] = await ask(engine)
            await engine.settle()
            [waits] = await ask(engine)
            await ByHandWorker(engine).work()  # its delivery
            rest = Rest(after)
            resting = asyncio.create_task(ByHandWorker(engine, rest=rest).work())
            await rest.begun.wait()
            await engine.end(runs)
            other = asyncio.create_task(engine.settle(ByHandWorker(engine, name="other")))
            while not (other.done() or await engine.is_blocked()):
                await asyncio.sleep(0.002)
            ended = rest.ended
            rest.go_on.set()
            await asyncio.gather(resting, other)
            await engine.settle()
            assert [one.id for one in engine.tool.running()] == [waits], f"rested after {after}"
            await end_all(engine)
            if ended:
                break
        assert after > 5


async def test_wherever_a_worker_rests_what_others_report_lets_nothing_start_beside_it(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        for after in itertools.count(1):
            [reported] = await ask(engine)
            await ByHandWorker(engine).work()  # its delivery
            rest = Rest(after)
            resting = asyncio.create_task(ByHandWorker(engine, rest=rest).work())
            await rest.begun.wait()
            await engine.report(reported, "success")
            await ask(engine)
            other = asyncio.create_task(engine.settle(ByHandWorker(engine, name="other")))
            while not (other.done() or await engine.is_blocked()):
                await asyncio.sleep(0.002)
            ended = rest.ended
            rest.go_on.set()
            await asyncio.gather(resting, other)
            await engine.settle()
            assert len(engine.tool.running()) == 1, f"rested after {after}"
            await end_all(engine)
            if ended:
                break
        assert after > 5


async def test_what_waits_goes_on_where_the_run_of_an_ended_one_is_lost(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        [first] = await ask(engine)
        await engine.settle()
        [second] = await ask(engine)
        await engine.settle()
        await engine.report(first, "success")
        await engine.settle()
        assert engine.tool.started == [first]
        engine.tool.lost.add(first)
        await engine.request(first)
        await engine.settle()
        assert engine.tool.started == [first, second]


async def test_what_waits_goes_on_where_its_tool_starts_by_itself_now(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML, gates=WITH_LOCKS) as engine:
        await lock(engine)
        [waiting] = await ask(engine)
        await engine.settle()
        by_itself = DEPLOY_YML.replace("timeout", "with: {native: true}, timeout")
        engine.services = replace(engine.services, config=engine.load(by_itself))
        await engine.pass_time(timedelta(minutes=1))
        await engine.settle()
        assert await engine.phase(waiting) == "in_progress"
        await end_all(engine)
        assert await engine.phase(waiting) == "success"


async def test_wherever_the_end_of_a_run_rests_what_comes_meanwhile_is_not_forgotten(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        for after in itertools.count(1):
            [runs] = await ask(engine)
            await engine.settle()
            await engine.end(runs)
            rest = Rest(after)
            resting = asyncio.create_task(ByHandWorker(engine, rest=rest).work())
            await rest.begun.wait()
            [new] = await ask(engine)
            other = asyncio.create_task(engine.settle(ByHandWorker(engine, name="other")))
            while not (other.done() or await engine.is_blocked()):
                await asyncio.sleep(0.002)
            ended = rest.ended
            rest.go_on.set()
            await asyncio.gather(resting, other)
            await engine.settle()
            await engine.pass_time(timedelta(seconds=2))
            await engine.settle()
            assert [one.id for one in engine.tool.running()] == [new], f"rested after {after}"
            await end_all(engine)
            if ended:
                break
        assert after > 5


async def test_wherever_a_worker_rests_nobody_who_answers_waits_for_it_in_a_circle(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:

        async def answer(deployment_id: int) -> None:
            """As an action in Slack does."""
            pool = engine.services.pool
            async with pool.connection() as connection, connection.transaction():
                await deployments.read(connection, deployment_id, lock=True)
                await schedule.request(connection, [schedule.Key("advance", deployment_id)])

        for after in itertools.count(1):
            await ask(engine)
            await engine.settle()
            await ask(engine)
            await engine.settle()
            [newest] = await ask(engine)
            await ByHandWorker(engine).work()  # its delivery
            rest = Rest(after)
            resting = asyncio.create_task(ByHandWorker(engine, rest=rest).work())
            await rest.begun.wait()
            answering = asyncio.create_task(answer(newest))
            while not (answering.done() or await engine.is_blocked()):
                await asyncio.sleep(0.002)
            ended = rest.ended
            rest.go_on.set()
            await asyncio.gather(resting, answering)
            await engine.settle()
            await end_all(engine)
            if ended:
                break
        assert after > 5


async def test_a_success_that_somebody_reported_of_a_failure_is_nothing_to_roll_back_to(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        [failed] = await ask(engine)
        await engine.settle()
        await engine.report(failed, "success")
        await engine.settle()
        await engine.end(failed, State.FAILURE)
        await engine.settle()
        assert await engine.phase(failed) == "success"
        for begins in (False, True):
            await lock(engine)
            await engine.execute("update locks set lets = '{rollbacks}' where ended_at is null")
            await ask(engine)
            await engine.settle()
            assert bool(engine.tool.running()) == begins
            await unlock(engine)
            await engine.settle()
            await end_all(engine)


async def test_nobody_reports_the_end_of_one_that_waits_nor_makes_the_relay_repeat_itself_for_ever(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        await lock(engine)
        [waiting] = await ask(engine)
        await engine.settle()
        for state in ("success", "failure", "error", "inactive", "in_progress", "queued") * 5:
            await engine.report(waiting, state)
            await engine.settle()
        await engine.execute(
            "insert into timeline (deployment_id, actor, state, description, judged, counted)"
            " values (%s, 'a tool', 'success', '', false, false)",
            waiting,
        )
        await engine.request(waiting)
        await engine.settle()
        assert await engine.phase(waiting) == "queued"
        ours = await engine.rows("select from outbox where kind = 'status'")
        assert len(ours) < 10
        await unlock(engine)
        await engine.settle()
        assert engine.tool.started == [waiting]


async def test_one_whose_tool_reports_although_no_run_is_found_keeps_its_turn(
    store_url: str, tmp_path: Path
) -> None:
    tool = Tool(timedelta(minutes=1), kills="before a start")
    async with engine_by_hand(
        store_url, tmp_path, DEPLOY_YML, gates=WITH_LOCKS, tool=tool
    ) as engine:
        [started] = await ask(engine)
        worker = ByHandWorker(engine)
        with contextlib.suppress(Killed):
            await engine.settle(worker)
        await worker.gone()
        await engine.execute(
            "insert into timeline (deployment_id, actor, state, description, judged, counted)"
            " values (%s, 'a tool', 'in_progress', '', false, false)",
            started,
        )
        await lock(engine)
        await ask(engine)
        for _ in range(3):
            await engine.settle()
            await engine.pass_time(timedelta(minutes=5))
        [row] = await engine.rows("select * from deployments where id = %s", started)
        assert row["started_at"]
        assert row["status_description"] == (
            "It may run already, and is not started again: It is locked (no known end)"
        )
        assert not tool.started


async def test_an_older_one_does_not_give_way_to_a_newer_that_its_own_policy_holds(
    store_url: str, tmp_path: Path
) -> None:
    text = """
envs:
  - {name: production, repos: [acme/site], handler: by-hand}
  - name: production
    repos: [acme/shop]
    handler: by-hand
    review: {enabled: true, reviewers: [ann, bob]}
"""
    async with engine_by_hand(store_url, tmp_path, text, gates=WITH_LOCKS) as engine:
        await lock(engine)
        older, newer = await ask(engine, 2)
        await engine.settle()
        await engine.execute("update deployments set repo = 'acme/shop' where id = %s", newer)
        await unlock(engine)
        await engine.settle()
        assert engine.tool.started == [older]


async def test_whoever_gives_way_does_not_ask_all_the_time(store_url: str, tmp_path: Path) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        await lock(engine)
        ends = engine.clock() + timedelta(minutes=1)
        await engine.execute("update locks set expires_at = %s", ends)
        older, newer = await ask(engine, 2)
        await engine.settle()
        engine.sandbox.github.deployments.pop(newer)
        await engine.pass_time(timedelta(minutes=2))
        await engine.settle()
        await engine.pass_time(timedelta(seconds=5))
        await engine.settle()
        query = "select due_at - now() as pause from schedule where task = 'advance'"
        [asked_again] = await engine.rows(f"{query} and subject = %s", older)
        assert asked_again["pause"] > timedelta(seconds=30)
