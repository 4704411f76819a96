"""How a supervisor says that its run has ended, to whoever listens on this machine.

Each listening worker (listener.py) has a named pipe in `data_dir/listeners`; a line is the ID of a
deployment. A pipe and not a socket: a socket's path may have no more than 107 bytes. Nothing
depends on a line: who misses it polls.
"""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

# A pipe that nobody reads is a dead worker's, unless it was made a moment ago.
ABANDONED_AFTER = 60.0  # seconds


def listeners_of(data_dir: Path) -> Path:
    return data_dir / "listeners"


def announce(data_dir: Path, deployment_id: str) -> None:
    """Neither waits nor fails."""
    with suppress(OSError), os.scandir(listeners_of(data_dir)) as pipes:
        for pipe in pipes:
            with suppress(OSError):
                _write(pipe.path, f"{deployment_id}\n".encode())


def _write(pipe: str, line: bytes) -> None:
    try:
        handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        unread = error.errno == errno.ENXIO
        if unread and time.time() - os.stat(pipe).st_mtime > ABANDONED_AFTER:  # noqa: PTH116
            os.unlink(pipe)  # noqa: PTH108 - pathlib would be a third of this file's work
        return
    try:
        os.write(handle, line)
    finally:
        os.close(handle)
