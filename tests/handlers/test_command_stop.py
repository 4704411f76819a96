import os
import signal
import subprocess
from asyncio import gather
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from handlers.contract import State
from handlers.supervision.rundir import group_lives
from tests.handlers.runs import (
    Impatient,
    a_command,
    a_deployment,
    alive,
    done,
    ended,
    eventually,
    pid_of,
)

STAY = "while :; do sleep 0.05; done"
SILENT = "exec > /dev/null 2>&1;"
STUBBORN = f"trap '' TERM; {STAY}"
POLITE = f"trap 'echo stopping; exit 0' TERM; {STAY}"


def a_pair(data_dir: Path, leader: str, child: str) -> Impatient:
    """A leader and another process of its group; the file `both` is there once both are."""
    (data_dir / "child").write_text(f"echo $$ > {data_dir}/pid; {child}")
    wait = f"until [ -s {data_dir}/pid ]; do sleep 0.01; done; touch {data_dir}/both"
    return a_command(data_dir, f"sh {data_dir}/child & {wait}; {leader}")


async def child_of(data_dir: Path) -> int:
    await eventually((data_dir / "both").exists)
    return int((data_dir / "pid").read_text())


async def test_a_command_that_takes_too_long_is_stopped(data_dir: Path) -> None:
    leaders = {"silent": STAY, "polite": POLITE}
    await gather(*(is_stopped(data_dir / name, leader) for name, leader in leaders.items()))


async def is_stopped(data_dir: Path, leader: str) -> None:
    handler = a_command(data_dir, leader)
    handler.grace = timedelta(seconds=10)
    began = monotonic()
    run = await done(handler, a_deployment(lasting=0.6))
    assert (run.state, run.description) == (State.ERROR, "timed out after 1s")
    waited = timedelta(seconds=monotonic() - began)
    assert waited < handler.grace, "nobody waits where nobody is left"
    assert not alive(pid_of(data_dir, "command"))


@pytest.mark.slow
async def test_a_group_that_does_not_listen_is_killed(data_dir: Path) -> None:
    pairs = [
        (STUBBORN, STUBBORN),
        (STUBBORN, POLITE),
        (POLITE, STUBBORN),
        (POLITE, SILENT + STUBBORN),
    ]
    await gather(*(is_killed(data_dir / str(n), *pair) for n, pair in enumerate(pairs)))


async def is_killed(data_dir: Path, leader: str, child: str) -> None:
    data_dir.mkdir()
    handler, deployment = a_pair(data_dir, leader, child), a_deployment(lasting=3)
    began = monotonic()
    await handler.start(deployment)
    member = await child_of(data_dir)
    run = await ended(handler, deployment)
    assert (run.state, run.description) == (State.ERROR, "timed out after 3s")
    assert monotonic() - began >= 3 + handler.grace.total_seconds() - 0.1
    assert not alive(pid_of(data_dir, "command"))
    await eventually(lambda: not alive(member))


async def test_cancelling_a_run_stops_its_process_group(data_dir: Path) -> None:
    handler = a_pair(data_dir, STAY, STAY)
    run = await handler.start(a_deployment())
    member = await child_of(data_dir)
    await handler.cancel(a_deployment(), run)
    run = await ended(handler, a_deployment())
    assert (run.state, run.description) == (State.ERROR, "cancelled")
    assert not alive(pid_of(data_dir, "command"))
    assert not alive(member)


async def test_cancelling_twice_does_not_cut_the_grace_short(data_dir: Path) -> None:
    script = f"trap 'sleep 0.2; touch {data_dir}/tidy; exit 0' TERM; touch {data_dir}/both; {STAY}"
    handler = a_command(data_dir, script)
    run = await handler.start(a_deployment())
    await eventually((data_dir / "both").exists)
    for _ in range(3):
        await handler.cancel(a_deployment(), run)
    assert (await ended(handler, a_deployment())).description == "cancelled"
    assert (data_dir / "tidy").exists()


async def test_cancelling_what_has_ended_is_harmless(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true"])
    run = await done(handler)
    await handler.cancel(a_deployment(), run)
    assert await handler.check(a_deployment(), run) == run
    await handler.cancel(a_deployment(id=7), run)


async def test_a_group_of_zombies_does_not_live() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        assert group_lives(process.pid)
        process.kill()
        await eventually(lambda: not alive(process.pid))
        assert not group_lives(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_what_ends_a_terminal_session_does_not_end_a_run(
    data_dir: Path, number: signal.Signals
) -> None:
    handler = a_command(data_dir, f"until [ -e {data_dir}/go ]; do sleep 0.02; done")
    await handler.start(a_deployment())
    os.kill(pid_of(data_dir, "supervisor"), number)
    (data_dir / "go").touch()
    assert (await ended(handler, a_deployment())).state is State.SUCCESS
