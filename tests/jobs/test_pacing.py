"""How far apart the checks of runs are."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world import QUICK, live, until
from webhook.jobs.pacing import Pacing
from webhook.store.schedule import Load
from webhook.timing import DEFAULT_TIMING


def seconds(pacing: Pacing, pause: float) -> float:
    return pacing.stretched(timedelta(seconds=pause)).total_seconds()


def test_a_few_runs_are_checked_as_often_as_their_handlers_want() -> None:
    pacing = Pacing(DEFAULT_TIMING)
    pacing.measured(Load(waiting=700, workers=1))
    assert {seconds(pacing, 15) for _ in range(100)} == {15}


@pytest.mark.parametrize(("workers", "expected"), [(1, 200), (4, 50)])
def test_all_runs_together_are_checked_so_often_by_each_worker(
    workers: int, expected: float
) -> None:
    pacing = Pacing(DEFAULT_TIMING)
    pacing.measured(Load(waiting=10_000, workers=workers))
    pauses = [seconds(pacing, 15) for _ in range(1000)]
    assert sum(pauses) / len(pauses) == pytest.approx(expected, rel=0.02)
    assert len(set(pauses)) > 900, "what was due together drifts apart"


def test_a_run_that_has_just_begun_is_still_checked_more_often() -> None:
    pacing = Pacing(DEFAULT_TIMING)
    pacing.measured(Load(waiting=10_000, workers=1))
    for _ in range(500):
        seconds(pacing, 15)
    assert seconds(pacing, 1) < 20


async def test_no_check_is_put_off_beyond_its_deadline_nor_waits_behind_others_then(
    store_url: str, tmp_path: Path
) -> None:
    at_deadline = (
        "select date_trunc('second', due_at - deadline) as late, urgent"
        " from schedule join deployments on id = subject"
        " where schedule.task = 'advance' and claimed_by is null"
        " and due_at > now() + interval '1 minute'"
    )
    timing = replace(QUICK, rescue_interval=timedelta(seconds=0.1), checks_a_second=1e-6)
    async with live(store_url, tmp_path, timing=timing) as world:
        deployment = await world.begin_slow(tmp_path / "gate")
        [found] = await until(lambda: world.rows(at_deadline) or None)
        assert found == {"late": timing.command_grace, "urgent": True}
        (tmp_path / "gate").touch()
        await world.github.wait_for(deployment.id, "success")
