"""The command runs once and its end is recorded, whichever process is killed at any time."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handlers.command import Command
from handlers.contract import Run, State
from handlers.errors import Unavailable
from handlers.supervision import rundir
from tests.handlers.runs import (
    a_command,
    a_count,
    a_deployment,
    alive,
    count,
    done,
    ended,
    eventually,
    pid_of,
    run_directory,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SUPERVISE = ROOT / "handlers" / "supervise.py"
LOST = "lost: the machine running it restarted"


@contextmanager
def a_worker(
    *arguments: str, before: Callable[[], object] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Killed, at the latest when the test leaves it. `before` is called in it first of all."""
    command = [sys.executable, str(HERE / "worker.py"), *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        env=environ,
        stdin=pipe,
        stdout=pipe,
        text=True,
        preexec_fn=before,  # noqa: PLW1509 - no threads here
    ) as worker:
        yield worker
        worker.kill()


def write_line(worker: subprocess.Popen[str], message: str) -> None:
    assert worker.stdin
    worker.stdin.write(f"{message}\n")
    worker.stdin.flush()


async def response(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout
    return (await asyncio.to_thread(worker.stdout.readline)).strip()


async def started_by_a_worker(data_dir: Path, script: str) -> None:
    """A worker starts the script and is then killed."""
    with a_worker("start", str(data_dir), script) as worker:
        write_line(worker, "go")
        assert [await response(worker), await response(worker)] == ["prepared", "in_progress"]


async def test_a_killed_worker_finds_the_run_again(data_dir: Path) -> None:
    script = f"echo ran >> {data_dir}/count; until [ -e {data_dir}/go ]; do sleep 0.02; done"
    await started_by_a_worker(data_dir, script)
    handler = a_command(data_dir, script)
    found = await handler.find(a_deployment())
    assert found
    assert found.state is State.IN_PROGRESS
    (data_dir / "go").touch()
    assert (await ended(handler, a_deployment())).state is State.SUCCESS
    assert count(data_dir) == 1


async def test_a_command_that_ends_between_two_checks_is_found_as_ended(data_dir: Path) -> None:
    await started_by_a_worker(data_dir, f"until [ -e {data_dir}/go ]; do sleep 0.02; done; exit 4")
    supervisor = pid_of(data_dir, "supervisor")
    (data_dir / "go").touch()
    await eventually(lambda: not alive(supervisor))
    run = await a_command(data_dir, ["true"]).find(a_deployment())
    assert run
    assert (run.state, run.description) == (State.FAILURE, "exit code 4")


def _ignore_and_block_signals() -> None:
    """As `nohup` ignores SIGHUP and a script's `&` ignores SIGINT and SIGQUIT."""
    ignored = ("HUP", "INT", "QUIT", "PIPE", "TERM", "CHLD", "USR1", "TSTP", "WINCH")
    for name in ignored:
        signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD))


async def test_a_command_inherits_no_signals_that_the_relay_ignores_or_blocks(
    data_dir: Path,
) -> None:
    script = "grep -E 'Sig(Ign|Blk)' /proc/self/status; while :; do sleep 0.02; done"
    with a_worker("start", str(data_dir), script, before=_ignore_and_block_signals) as worker:
        write_line(worker, "go")
        assert [await response(worker), await response(worker)] == ["prepared", "in_progress"]
    handler = a_command(data_dir, ["true"])
    output = run_directory(data_dir) / "output"
    await eventually(lambda: output.read_bytes().count(b"\n") == 2)
    assert output.read_text().split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    await handler.cancel(a_deployment(), Run("1234567890", State.IN_PROGRESS))
    assert (await ended(handler, a_deployment())).description == "cancelled"


@pytest.mark.slow
async def test_workers_that_start_at_once_run_it_once(data_dir: Path) -> None:
    arguments = ("start", str(data_dir), f"echo ran >> {data_dir}/count")
    with ExitStack() as stack:
        workers = [stack.enter_context(a_worker(*arguments)) for _ in range(4)]
        assert {await response(worker) for worker in workers} == {"prepared"}
        for worker in workers:
            write_line(worker, "go")
        assert {await response(worker) for worker in workers} <= {"in_progress", "success"}
    assert (await ended(a_command(data_dir, ["true"]), a_deployment())).state is State.SUCCESS
    assert count(data_dir) == 1
    assert [path.name for path in (data_dir / "runs").iterdir()] == [str(a_deployment().id)]
    assert not list((data_dir / "drafts").iterdir())


async def test_starts_at_once_in_one_worker_run_it_once(data_dir: Path) -> None:
    handler = a_count(data_dir)
    runs = await asyncio.gather(*(handler.start(a_deployment()) for _ in range(8)))
    assert {run.id for run in runs} == {"1234567890"}
    await ended(handler, a_deployment())
    assert count(data_dir) == 1
    assert [path.name for path in (data_dir / "runs").iterdir()] == [str(a_deployment().id)]
    assert not list((data_dir / "drafts").iterdir())


async def test_a_run_that_has_ended_is_not_started_again(data_dir: Path) -> None:
    handler = a_count(data_dir, "exit 5")
    first = await done(handler)
    assert await handler.start(a_deployment()) == first
    assert count(data_dir) == 1


@pytest.mark.slow
async def test_a_worker_killed_at_any_line_of_its_start_leaves_one_run(tmp_path: Path) -> None:
    async def comes_back(directory: Path) -> None:
        handler = a_count(directory)
        if await handler.find(a_deployment()) is None:
            await handler.start(a_deployment())
        assert (await ended(handler, a_deployment())).state is State.SUCCESS
        assert count(directory) == 1

    line, another = 0, []
    with a_worker("forks") as worker:
        ending = "-9"
        while ending == "-9":
            line += 1
            write_line(worker, f"{line} {tmp_path / str(line)}")
            ending = await response(worker)
            another.append(asyncio.create_task(comes_back(tmp_path / str(line))))
        await asyncio.gather(*another)
    assert ending == "0"
    assert line > 30


@pytest.mark.slow
async def test_a_supervisor_killed_at_any_line_never_leads_to_a_second_run(tmp_path: Path) -> None:
    line, width = 1, 4
    while (
        await asyncio.gather(
            *(a_supervisor_killed_at(line + n, tmp_path / str(line + n)) for n in range(width))
        )
        != [0] * width
    ):
        line += width
    assert line > 50


async def a_supervisor_killed_at(line: int, directory: Path) -> int:
    handler = a_count(directory)
    order = json.dumps(handler._order(a_deployment())._asdict())
    command = [sys.executable, "-I", "-S", str(HERE / "killed.py"), str(line), str(SUPERVISE)]
    supervisor = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1)
    await supervisor.communicate(order.encode())

    found = await handler.find(a_deployment())
    assert found is None or found.state.final
    run = found or await done(handler)
    assert run.state is State.SUCCESS or found
    if (run_directory(directory) / "command").exists():
        await eventually(lambda: not alive(pid_of(directory, "command")))
    assert count(directory) <= (run_directory(directory) / "command").exists()
    if run.state is State.SUCCESS:
        assert count(directory) == 1
    else:
        assert run.description.startswith((LOST, "killed by SIGKILL"))
    assert supervisor.returncode is not None
    return supervisor.returncode


async def test_a_lost_run_is_an_error_and_its_orphans_are_killed(data_dir: Path) -> None:
    handler = a_count(data_dir, "while :; do sleep 0.05; done")
    run = await handler.start(a_deployment())
    await eventually(lambda: count(data_dir))
    os.kill(pid_of(data_dir, "supervisor"), signal.SIGKILL)
    supervisor, orphan = pid_of(data_dir, "supervisor"), pid_of(data_dir, "command")
    await eventually(lambda: not alive(supervisor))
    assert alive(orphan)

    run = await handler.check(a_deployment(), run)
    assert (run.state, run.description[: len(LOST)]) == (State.ERROR, LOST)
    await eventually(lambda: not alive(orphan))
    assert await handler.find(a_deployment()) == run
    assert await handler.start(a_deployment()) == run
    assert count(data_dir) == 1


async def test_a_process_that_only_has_the_orphans_pid_is_left_alone(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true"])
    await done(handler)
    await eventually(lambda: not rundir.supervised(run_directory(data_dir)))
    (run_directory(data_dir) / "end").unlink()
    pipe = subprocess.PIPE
    with subprocess.Popen("cat", stdin=pipe, stdout=pipe, start_new_session=True) as other:
        record = {"pid": other.pid, "started": "before the reboot 1"}
        rundir.write(run_directory(data_dir), "command", record)
        run = await handler.find(a_deployment())
        assert run
        assert run.description.startswith(LOST)
        assert other.communicate(b"still here")[0] == b"still here"


async def test_a_run_whose_directory_is_gone_is_lost(data_dir: Path) -> None:
    handler = a_command(data_dir / "one", ["true"])
    run = await done(handler)
    elsewhere = a_command(data_dir / "another", ["true"])
    assert (await elsewhere.check(a_deployment(), run)).description.startswith(LOST)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
async def test_a_supervisor_that_did_not_get_its_whole_order_does_nothing(
    data_dir: Path, share: float
) -> None:
    order = json.dumps(a_count(data_dir)._order(a_deployment())._asdict()).encode()
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SUPERVISE)],
        input=order[: int(len(order) * share)],
        capture_output=True,
        check=True,
    )
    assert done.stdout + done.stderr == b""
    assert not (data_dir / "runs").exists()


async def test_drafts_of_supervisors_that_were_killed_are_removed(data_dir: Path) -> None:
    left = data_dir / "drafts" / f"{a_deployment().id}.999999.abcdef01"
    left.mkdir(parents=True)
    (left / "lock").touch()
    await done(a_command(data_dir, ["true"]))
    assert not left.exists()


def test_drafts_of_runs_that_never_began_are_removed_after_a_while(data_dir: Path) -> None:
    left = data_dir / "drafts" / "8.999999.abcdef01"
    left.mkdir(parents=True)
    (left / "payload").touch()
    now = datetime.now(UTC)
    assert not list(Command.ended_runs(data_dir, now - timedelta(minutes=1)))
    assert left.exists()
    assert not list(Command.ended_runs(data_dir, now + timedelta(minutes=1)))
    assert not left.exists()


async def test_a_directory_where_nothing_can_be_written_is_worth_another_try(
    data_dir: Path,
) -> None:
    handler = a_command(data_dir, ["true"])
    (data_dir / "runs").touch()
    with pytest.raises(Unavailable, match=r"could not be started: .*Not a directory"):
        await handler.start(a_deployment())
    (data_dir / "runs").unlink()
    assert (await done(handler)).state is State.SUCCESS


async def test_supervisors_do_not_stay_as_zombies(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true"])
    run = await done(handler)
    supervisor = pid_of(data_dir, "supervisor")
    await eventually(lambda: not alive(supervisor))
    await handler.check(a_deployment(), run)
    await eventually(lambda: not Path(f"/proc/{supervisor}").exists())
