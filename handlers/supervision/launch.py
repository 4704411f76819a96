"""Starts the command, or says in plain words why it cannot be started."""

import errno
import subprocess
from pathlib import Path

from handlers.supervision import rundir


class StartError(Exception):
    """Its words are shown to people."""


def launch(order: rundir.Order, directory: Path) -> subprocess.Popen[bytes]:
    try:
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
            # moment at which the command runs, we are dead and nobody knows its pid.
            preexec_fn=lambda: rundir.record_command(directory),  # noqa: PLW1509 - no threads here
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StartError(_why(order, error)) from error


def _why(order: rundir.Order, error: Exception) -> str:
    command = f"the command '{order.argv[0]}'"
    if not isinstance(error, OSError):
        return f"{command} could not be started: its run could not be recorded"
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    if order.cwd and error.filename == order.cwd:
        return f"the directory '{order.cwd}' " + ("is not there" if missing else "is closed to us")
    if missing and "/" in order.argv[0] and Path(order.cwd or "", order.argv[0]).exists():
        return f"the interpreter that {command} names is not there"
    if missing:
        return f"{command} is not there"
    if error.errno == errno.EACCES:
        return f"{command} is not executable"
    return f"{command} could not be started: {error.strerror}"
