"""Starts a supervisor and hands it its order.

Errors: `OSError` if that failed; the supervisor may still have received the order.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from handlers.supervision.rundir import Order

REPLY_TIMEOUT = 10.0  # seconds

_PROGRAM = Path(__file__).parents[1] / "supervise.py"
_COMMAND = [sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM)]
_LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_children: set[subprocess.Popen[bytes]] = set()


def hand_over(order: Order) -> None:
    """Returns once the run has a supervisor, this one or an earlier one."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            _start(theirs)
        ours.settimeout(REPLY_TIMEOUT)
        try:
            ours.sendall(json.dumps(order._asdict()).encode())
            ours.shutdown(socket.SHUT_WR)
            reply = ours.recv(65536)
        except TimeoutError as error:
            raise OSError(f"its supervisor did not respond within {REPLY_TIMEOUT:.0f} s") from error
    if not reply:
        raise OSError("its supervisor died")
    result = json.loads(reply)
    if result["code"] == "failed":
        raise OSError(result["message"])


def _start(stream: socket.socket) -> None:
    # Neither the relay's secrets, which the command could read in /proc, nor asyncio's
    # subprocesses, which are killed when their loop goes.
    environ = {name: os.environ[name] for name in _LOADER_VARIABLES if name in os.environ}
    child = subprocess.Popen(  # noqa: S603 - our own program
        _COMMAND,
        env=environ,
        stdin=stream.fileno(),
        stdout=stream.fileno(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _children.add(child)


def reap() -> None:
    """Forget the supervisors of this process that have ended; else they stay as zombies."""
    for child in list(_children):
        if child.poll() is not None:
            _children.discard(child)
