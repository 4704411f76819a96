"""Forks a supervisor for each run: starting Python for each would take 20 times as much CPU.

One such process serves one worker and ends with it; supervisors outlive both. Its stdin is a stream
socket to the worker. Each byte carries one end of another socket, which becomes the stdin and
stdout of a new supervisor, as if that had been started by itself.

A fork shares all that its parent has open, locks included. So nothing is open here but these
sockets, and nothing secret is read: the order is read by its supervisor.
"""

import gc
import json
import os
import signal
import socket
from collections.abc import Callable


def serve(supervise: Callable[[], None]) -> None:
    """Until the worker is gone. What supervisors catch (watch.py) is without effect here."""
    on_child = signal.signal(signal.SIGCHLD, lambda *_: _reap())

    def in_child() -> None:
        signal.signal(signal.SIGCHLD, on_child)  # else we would reap its command
        supervise()

    gc.freeze()  # a collection would copy the memory that is shared with supervisors
    with socket.socket(fileno=0) as worker:
        while streams := _receive(worker):
            for stream in streams:
                _fork(stream, in_child)
                os.close(stream)


def _receive(worker: socket.socket) -> list[int]:
    """Empty once the worker is gone."""
    try:
        return socket.recv_fds(worker, 1, 1)[1]
    except ConnectionError:
        return []


def _fork(stream: int, in_child: Callable[[], None]) -> None:
    try:
        child = os.fork()
    except OSError as error:
        os.write(stream, json.dumps({"code": "failed", "message": str(error)}).encode())
        return
    if child:
        return
    try:
        os.setsid()
        os.dup2(stream, 0)  # in place of the socket to the worker
        os.dup2(stream, 1)
        os.close(stream)
        in_child()
    finally:
        os._exit(0)  # past what the parent has on its stack


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
