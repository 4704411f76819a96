"""The web server: Flask under granian.

Source: granian 2.8, `granian.server.Server`. A request waits for the commit of its batch, so
there are many threads, most of them waiting; WEB_CONCURRENCY sets the number of processes.
"""

import socket
from importlib import import_module

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from webhook.errors import UserError

THREADS = 64


def require_port(port: int) -> None:
    """The server itself would share the port with whoever has it, or never stop trying."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))  # noqa: S104 - as the server does
    except OSError as error:
        raise UserError(f"PORT {port} cannot be used: {error.strerror}; set another") from None


def serve(port: int, processes: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    import_module("webhook.app")  # once, for all the processes that are forked from this one
    Granian(
        "webhook.app:from_environ",
        factory=True,
        interface=Interfaces.WSGI,
        address="0.0.0.0",  # noqa: S104 - it is a server
        port=port,
        workers=processes,
        blocking_threads=THREADS,
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},
    ).serve()
