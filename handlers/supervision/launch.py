"""Starts the command. subprocess would do, but touches three times as much memory, each page of
which a forked supervisor has to copy first.
"""

import errno
import json
import os
import signal
from pathlib import Path
from typing import NoReturn

from handlers.supervision import rundir

# Python itself ignores these.
RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


class NotStartedError(Exception):
    """Says why, to people."""


class Process:
    """`output` is what it prints; `returncode` is negative for a signal."""

    def __init__(self, pid: int, output: int) -> None:
        self.pid = pid
        self.output = output
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def launch(order: rundir.Order, directory: Path) -> Process:
    """Returns once the command runs, as the leader of a group of its own."""
    try:
        output, its_output = os.pipe()
        failure, its_failure = os.pipe()
        pid = os.fork()
    except OSError as error:  # so many processes or files
        raise NotStartedError(_explained(order, "start", error.errno)) from error
    if not pid:
        _become(order, directory, its_output, its_failure)
    os.close(its_output)
    os.close(its_failure)
    failed = os.read(failure, 1024)  # empty once the command is executed: exec closes it
    os.close(failure)
    process = Process(pid, output)
    if failed:
        os.waitpid(pid, 0)
        raise NotStartedError(_explained(order, *json.loads(failed)))
    return process


def _become(order: rundir.Order, directory: Path, output: int, failure: int) -> NoReturn:
    doing = "start"
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in RESTORED:
            signal.signal(number, signal.SIG_DFL)
        if order.cwd:
            doing = "enter"
            os.chdir(order.cwd)
        # Here we hold our parent's lock, too. Recording it now leaves no moment at which the
        # command runs, the supervisor is dead and the command's pid is not recorded.
        doing = "record"
        rundir.record_command(directory)
        doing = "execute"
        _execute(order.argv, order.env)
    except Exception as error:  # noqa: BLE001 - reported; this process is a copy of another
        code = error.errno if isinstance(error, OSError) else None
        os.write(failure, json.dumps([doing, code]).encode())
    finally:
        os._exit(255)


def _execute(argv: list[str], env: dict[str, str]) -> None:
    """As os.execvpe, which imports and changes more than it needs to."""
    folders = [""] if "/" in argv[0] else env.get("PATH", os.defpath).split(os.pathsep)
    reason: OSError | None = None
    for folder in folders:
        try:
            os.execve(os.path.join(folder, argv[0]), argv, env)  # noqa: S606, PTH118
        except OSError as error:
            if reason is None or reason.errno in (errno.ENOENT, errno.ENOTDIR):
                reason = error
    if reason:
        raise reason


def _explained(order: rundir.Order, doing: str, number: int | None) -> str:
    command = f"the command '{order.argv[0]}'"
    if doing == "record" or number is None:
        return f"{command} could not be started: its run could not be recorded"
    if doing == "start":
        return f"{command} could not be started: {os.strerror(number)}"
    missing = number in (errno.ENOENT, errno.ENOTDIR)
    if doing == "enter":
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
    }.get(number, f"could not be started: {os.strerror(number)}")
    return f"{command} {reason}"
