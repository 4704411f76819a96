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
import subprocess
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
from handlers.supervision.output import Output
from handlers.supervision.watch import Watch, wake_on_signals
from handlers.text import one_line, redacted

MAX_DESCRIPTION = 140  # characters; GitHub rejects more
RECORD_ATTEMPTS = 3600  # one each second


def main() -> None:
    wake = wake_on_signals()  # before anybody can find the run and cancel it
    try:
        order = rundir.Order(**json.loads(sys.stdin.buffer.read()))
    except ValueError:
        return  # the worker died before it had sent everything
    try:
        directory = claim(Path(order.directory), order.payload)
    except OSError as error:
        reply("failed", str(error))
        return
    if directory:
        run(order, directory, wake)
    else:
        reply("taken")


def claim(directory: Path, payload: str) -> Path | None:
    """The run's directory; None if another supervisor was first.

    Everything in it is in place before it gets its name, and a directory cannot be renamed to one
    that has content: of any number of supervisors, one succeeds.
    """
    draft = directory.with_name(f".{directory.name}.{os.getpid()}.{os.urandom(4).hex()}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        rundir.lock(draft)
        rundir.write(draft, "supervisor", {"pid": os.getpid()})
        (draft / "payload").write_text(payload)
        (draft / "output").touch()
        draft.rename(directory)
    except OSError as error:
        remove(draft)
        # The winner's directory is in the way, or the winner has removed our draft.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            return None
        raise
    # A directory that a power failure loses would mean a second start.
    rundir.sync(directory.parent)
    rundir.sync(directory.parent.parent)
    for late in directory.parent.glob(f".{directory.name}.*"):
        remove(late)
    return directory


def run(order: rundir.Order, directory: Path, wake: int) -> None:
    output = Output(directory / "output", order.output_limit, order.secrets)
    try:
        process = launch(order, directory)
    except (OSError, subprocess.SubprocessError) as error:
        record(directory, order, "error", start_failure(order, error))
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


def launch(order: rundir.Order, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the operator's argv; no shell
        order.argv,
        cwd=order.cwd,
        env=order.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
        # Between fork and exec the child holds our lock, too. Recording it there leaves no
        # moment at which the command runs, we are dead and its pid is not recorded.
        preexec_fn=lambda: rundir.record_command(directory),  # noqa: PLW1509 - no threads here
    )


def start_failure(order: rundir.Order, error: Exception) -> str:
    command = f"the command '{order.argv[0]}'"
    if not isinstance(error, OSError):
        return f"{command} could not be started: its run could not be recorded"
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    if order.cwd and error.filename == order.cwd:
        return f"the directory '{order.cwd}' " + (
            "is not there" if missing else "cannot be entered by the relay"
        )
    if missing and "/" in order.argv[0] and Path(order.cwd or "", order.argv[0]).exists():
        return f"the interpreter that {command} names is not there"
    if missing:
        return f"{command} is not there"
    reason = {
        errno.EACCES: "is not executable",
        errno.E2BIG: "has too long arguments; is it the payload? Read it from the file in"
        " DEPLOYMENT_PAYLOAD_FILE",
    }.get(error.errno or 0, f"could not be started: {error.strerror}")
    return f"{command} {reason}"


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
            rundir.write(directory, "end", end)
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
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)


def remove(draft: Path) -> None:
    with contextlib.suppress(OSError):
        for file in draft.iterdir():
            file.unlink(missing_ok=True)
        draft.rmdir()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(main)
    else:
        main()
