"""Runs one command to its end, even if the worker that started it dies.

In a session of its own, with an `Order` as JSON on stdin. `python -I -S supervise.py` is one
supervisor; with the argument `serve` it forks one after the other (forks.py). A supervisor replies
on stdout with `{"code", "message"}` as JSON, then closes it:

    started     the run is this supervisor's: the command was started, or its failure was recorded
    taken       another supervisor has this run
    failed      nothing was started; `message` says why

Signals: SIGTERM cancels the run.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import time
import types
from pathlib import Path

if __name__ == "__main__":
    # handlers/__init__.py would load every handler and what they need; an empty package stands in.
    package = types.ModuleType("handlers")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["handlers"] = package

from handlers.supervision import rundir
from handlers.supervision.announcements import announce
from handlers.supervision.forks import serve
from handlers.supervision.launch import NotStartedError, launch
from handlers.supervision.output import Output
from handlers.supervision.watch import Watch, catch_signals, wake_on_signals
from handlers.text import one_line, redacted
from handlers.uptime import uptime

MAX_DESCRIPTION = 140  # characters; GitHub rejects more
RECORD_ATTEMPTS = 3600  # one each second


def main() -> None:
    wake = wake_on_signals()  # before anybody can find the run and cancel it
    try:
        order = rundir.Order(**json.loads(received()))
    except ValueError:
        return  # the worker died before it had sent everything
    directory = Path(order.directory)
    if uptime() >= order.start_by:
        reply("failed", "it came too late")
        return
    try:
        claimed = claim(directory, order.payload)
    except OSError as error:
        reply("failed", str(error))
        return
    if claimed:
        run(order, directory, wake)
    else:
        reply("taken")


def received() -> bytes:
    return b"".join(iter(lambda: os.read(0, 1 << 16), b""))


def claim(directory: Path, payload: str) -> bool:
    """False if another supervisor was first.

    Everything in it is in place before it gets its name, and a directory cannot be renamed to one
    that has content: of any number of supervisors, one succeeds.
    """
    drafts = prepare(directory.parent)
    draft = drafts / f"{directory.name}.{os.getpid()}.{os.urandom(4).hex()}"
    os.mkdir(draft, 0o700)  # noqa: PTH102 - see launch.py
    try:
        rundir.lock(draft)
        rundir.write(draft, "supervisor", {"pid": os.getpid()})
        rundir.put(f"{draft}/payload", payload.encode())
        rundir.put(f"{draft}/output", b"")
        os.rename(draft, directory)  # noqa: PTH104
    except OSError as error:
        remove(draft)
        # The winner's directory is in the way, or the winner has removed our draft.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            return False
        raise
    # A directory that a power failure loses would mean a second start. What is in it is of no use
    # after that, but for the end.
    rundir.sync(directory.parent)
    for name in os.listdir(drafts):  # noqa: PTH208
        if name.startswith(f"{directory.name}."):
            remove(drafts / name)
    return True


def prepare(runs: Path) -> Path:
    """The directory of drafts. Where it is, that of the runs outlasts a power failure."""
    drafts = rundir.drafts_of(runs)
    if not (os.path.isdir(runs) and os.path.isdir(drafts)):  # noqa: PTH112
        with contextlib.suppress(FileExistsError):
            runs.mkdir(parents=True)
        rundir.sync(runs)
        rundir.sync(runs.parent)
        drafts.mkdir(exist_ok=True)
    return drafts


def run(order: rundir.Order, directory: Path, wake: int) -> None:
    output = Output(directory / "output", order.output_limit, order.secrets)
    try:
        process = launch(order, directory)
    except NotStartedError as error:
        record(directory, order, "error", str(error))
        reply("started")
        return
    reply("started")
    watch = Watch(order, process, output, wake)
    code = watch.follow()
    output.close()
    state, description = outcome(code, output.last_line())
    if watch.stopped:
        state, description = "error", watch.stopped
    record(directory, order, state, description, output.environment_url)
    watch.drop_output()


def outcome(code: int, last_line: str) -> tuple[str, str]:
    """State and description of a command that ended by itself; empty for a success."""
    if code == 0:
        return "success", ""
    if code < 0:
        return "failure", f"killed by {_signal_name(-code)}"
    return "failure", f"exit code {code}: {last_line}" if last_line else f"exit code {code}"


def record(
    directory: Path, order: rundir.Order, state: str, description: str, url: str = ""
) -> None:
    """Retried for an hour: a full disk is no reason to call the run lost."""
    description = one_line(redacted(description, order.secrets), MAX_DESCRIPTION)
    url = url or (order.environment_url if state == "success" else "")
    end = {"state": state, "description": description, "environment_url": url}
    for _ in range(RECORD_ATTEMPTS):
        try:
            rundir.write(directory, "end", end, durable=True)
        except FileNotFoundError:
            return  # somebody removed the run's directory
        except OSError:
            time.sleep(1)
        else:
            announce(directory.parent.parent, directory.name)
            return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def reply(code: str, message: str = "") -> None:
    with contextlib.suppress(OSError):  # the worker may be gone
        os.write(1, json.dumps({"code": code, "message": message}).encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def remove(draft: Path) -> None:
    with contextlib.suppress(OSError):
        for file in draft.iterdir():
            file.unlink(missing_ok=True)
        draft.rmdir()


if __name__ == "__main__":
    catch_signals()
    if sys.argv[1:] == ["serve"]:
        serve(main)
    else:
        main()
