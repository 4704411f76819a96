"""Hands orders to new supervisors, which a small process of this worker's forks (forks.py).

Errors: `OSError` if that failed; the supervisor may still have received the order.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from handlers.supervision.rundir import Order

REPLY_TIMEOUT = 10.0  # seconds

_PROGRAM = Path(__file__).parents[1] / "supervise.py"
_COMMAND = (sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM), "serve")
_LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class _Server(NamedTuple):
    process: subprocess.Popen[bytes]
    socket: socket.socket


class ForkServer:
    """Started when it is first needed, and again where it was killed. May be used by threads."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._server: _Server | None = None
        self._lock = threading.Lock()

    def hand_over(self, order: Order) -> None:
        """Returns once the run has a supervisor, this one or an earlier one."""
        # A second time if something was killed: only one supervisor of a run starts its command.
        reply = self._ask(order) or self._ask(order)
        if not reply:
            raise OSError("its supervisor died")
        result = json.loads(reply)
        if result["code"] == "failed":
            raise OSError(result["message"])

    def _ask(self, order: Order) -> bytes:
        """The reply; empty if there will be none."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(REPLY_TIMEOUT)
            server = self._started()
            try:
                with theirs:
                    socket.send_fds(server.socket, [b"\0"], [theirs.fileno()])
                with suppress(ConnectionError):  # it may have replied nevertheless
                    ours.sendall(json.dumps(order._asdict()).encode())
                    ours.shutdown(socket.SHUT_WR)
                return ours.recv(65536)
            except ConnectionError:
                self._drop(server)
                return b""
            except TimeoutError as error:
                self._drop(server)
                message = f"its supervisor did not respond within {REPLY_TIMEOUT:.0f} s"
                raise OSError(message) from error

    def _started(self) -> _Server:
        with self._lock:
            if self._server is None:
                self._server = self._start()
            return self._server

    def _start(self) -> _Server:
        # Neither the relay's secrets, which the command could read in /proc, nor asyncio's
        # subprocesses, which are killed when their loop goes.
        environ = {name: os.environ[name] for name in _LOADER_VARIABLES if name in os.environ}
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own program
                self._command,
                env=environ,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.settimeout(REPLY_TIMEOUT)
        return _Server(process, ours)

    def _drop(self, server: _Server) -> None:
        """It was killed, or is stuck. Its supervisors go on."""
        with self._lock:
            if self._server is server:
                self._server = None
                server.socket.close()
                server.process.kill()
                server.process.wait()
