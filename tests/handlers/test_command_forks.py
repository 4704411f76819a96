"""Supervisors are forked by a small process of each worker, and depend on neither."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from handlers.contract import State
from handlers.supervision import rundir
from handlers.supervision.handover import ForkServer
from tests.handlers.runs import (
    Impatient,
    a_command,
    a_count,
    a_deployment,
    alive,
    count,
    ended,
    eventually,
    pid_of,
    run_directory,
)
from tests.handlers.test_command_survives import HERE, SUPERVISE, a_worker, response, write_line


def waiting(data_dir: Path) -> Impatient:
    """A command that ends once the file `go` is there."""
    return a_command(data_dir, f"until [ -e {data_dir}/go ]; do sleep 0.02; done")


def fork_server(data_dir: Path) -> int:
    return psutil.Process(pid_of(data_dir, "supervisor")).ppid()


def open_files(data_dir: Path) -> set[str]:
    """Of its supervisor."""
    found = set()
    for handle in Path(f"/proc/{pid_of(data_dir, 'supervisor')}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(handle.readlink()))
    return found


async def test_a_run_outlives_both_the_worker_and_its_fork_server(data_dir: Path) -> None:
    script = f"until [ -e {data_dir}/go ]; do sleep 0.02; done"
    with a_worker("start", str(data_dir), script) as worker:
        write_line(worker, "go")
        assert [await response(worker), await response(worker)] == ["prepared", "in_progress"]
        os.kill(fork_server(data_dir), signal.SIGKILL)
        worker.kill()
        worker.wait()
    (data_dir / "go").touch()
    assert (await ended(a_command(data_dir, ["true"]), a_deployment())).state is State.SUCCESS


async def test_a_fork_server_ends_with_its_worker(data_dir: Path) -> None:
    with a_worker("start", str(data_dir), f"until [ -e {data_dir}/go ]; do :; done") as worker:
        write_line(worker, "go")
        assert [await response(worker), await response(worker)] == ["prepared", "in_progress"]
        server = fork_server(data_dir)
        assert alive(server)
    await eventually(lambda: not alive(server))
    assert alive(pid_of(data_dir, "supervisor"))


async def test_a_killed_fork_server_is_started_again(data_dir: Path) -> None:
    for name in ("first", "second"):
        (data_dir / name).mkdir()
        await waiting(data_dir / name).start(a_deployment())
        os.kill(fork_server(data_dir / name), signal.SIGKILL)
    for name in ("first", "second"):
        (data_dir / name / "go").touch()
        run = await ended(waiting(data_dir / name), a_deployment())
        assert run.state is State.SUCCESS


async def test_a_supervisor_holds_nothing_of_another_run_or_of_its_worker(data_dir: Path) -> None:
    """Else a run would count as supervised for as long as others go on."""
    first, second = data_dir / "first", data_dir / "second"
    for directory in (first, second):
        directory.mkdir()
        await waiting(directory).start(a_deployment())
    # The socket by which it has said that it began is closed right after that.
    await eventually(lambda: not any(name.startswith("socket:") for name in open_files(second)))
    descriptors = open_files(second)
    assert not {name for name in descriptors if name.startswith(("socket:", str(first)))}
    files = {name for name in descriptors if not name.startswith("pipe:")}
    assert files == {"/dev/null", *(f"{run_directory(second)}/{it}" for it in ("lock", "output"))}

    os.kill(pid_of(first, "supervisor"), signal.SIGKILL)
    await eventually(lambda: not rundir.supervised(run_directory(first)))
    assert rundir.supervised(run_directory(second))
    rundir.kill_orphan(run_directory(first))
    (second / "go").touch()
    assert (await ended(waiting(second), a_deployment())).state is State.SUCCESS


@pytest.mark.slow
async def test_a_fork_server_killed_at_any_line_leaves_one_run(tmp_path: Path) -> None:
    line, width = 1, 4
    while any(
        await asyncio.gather(
            *(a_fork_server_killed_at(line + n, tmp_path / str(line + n)) for n in range(width))
        )
    ):
        line += width
    assert line > 8


async def a_fork_server_killed_at(line: int, directory: Path) -> bool:
    """Whether anything was killed: the server, or what it had just forked."""
    handler = a_count(directory)
    killed = [sys.executable, "-I", "-S", str(HERE / "killed.py"), str(line), str(SUPERVISE)]
    server = ForkServer([*killed, "serve"])
    order = handler._order(a_deployment())
    survived = False
    with suppress(OSError):
        await asyncio.to_thread(server.hand_over, order)
        survived = server._server is not None and server._server.process.poll() is None
    if await handler.find(a_deployment()) is None:
        await handler.start(a_deployment())
    assert (await ended(handler, a_deployment())).state is State.SUCCESS
    assert count(directory) == 1
    return not survived
