"""The web server as it is in production, granian with the gateway, but in this process."""

import asyncio
import atexit
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

from granian.constants import HTTPModes
from granian.server.embed import Server
from jinja2.bccache import Bucket, BytecodeCache

from sandbox.sandbox import free_ports
from webhook.app import BODY_RULES, LIVE
from webhook.cli.server import CONNECTIONS
from webhook.http import BodyRule
from webhook.web.bodies import DEFAULT_BOUNDS, BodyBounds
from webhook.web.flask_app import RelayFlask
from webhook.web.gateway import Gateway

# Granian's own threads end a moment after the server; the interpreter must still be there.
atexit.register(time.sleep, 0.1)


class _CompiledOnce(BytecodeCache):
    """Each test has an app of its own, and each app would compile the templates of its pages."""

    _code: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (code := self._code.get(bucket.key)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


RelayFlask.jinja_options = {"bytecode_cache": _CompiledOnce()}


@contextmanager
def serving(
    app: RelayFlask,
    port: int = 0,
    bounds: BodyBounds = DEFAULT_BOUNDS,
    rules: Sequence[BodyRule] = BODY_RULES,
    *,
    killed_after: int = 1,
) -> Iterator[int]:
    """The port, as long as it is served. `killed_after`: seconds, where a test leaves a stream
    open."""
    port = port or free_ports(1)[0]
    began = threading.Event()
    loop = asyncio.new_event_loop()
    stop: list[Server] = []

    async def serve() -> None:
        server = Server(
            Gateway(app, rules, bounds),
            port=port,
            http=HTTPModes.http1,
            log_enabled=False,
            websockets=False,
            backpressure=CONNECTIONS,
        )
        server.workers_kill_timeout = killed_after
        stop.append(server)
        loop.call_soon(began.set)
        with suppress(TimeoutError):
            await server.serve()

    async def serve_and_end() -> None:
        await serve()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve_and_end()))
    thread.start()
    began.wait()
    _wait_until_it_listens(port)
    try:
        yield port
    finally:
        if live := app.extensions.get(LIVE):
            loop.call_soon_threadsafe(live.end)
        loop.call_soon_threadsafe(stop[0].stop)
        thread.join()
        loop.close()


def _wait_until_it_listens(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.001)
    raise TimeoutError("the web server does not listen")
