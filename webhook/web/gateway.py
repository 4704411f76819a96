"""Flask behind granian's event loop (RSGI): what arrives is read there, and only a request that is
complete gets a thread. The views know nothing of it.

A body is read only where a view takes one (`BodyRule`), and where the headers are there without
which it cannot be verified; otherwise the view rejects the request without it.

Source: github.com/emmett-framework/granian, "RSGI specification"; PEP 3333.
"""

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import structlog

from webhook import memory
from webhook.errors import HttpError
from webhook.http import AWAITED, BODY, STREAMED, Awaited, BodyRule, Streamed, environ_key
from webhook.web.bodies import DEFAULT_BOUNDS, Bodies, BodyBounds
from webhook.web.flask_app import RelayFlask

log = structlog.get_logger()

_NO_MEMORY = "send it again later; raise the limit of memory if that goes on"
# A request holds one until its response is there; most of them wait for the store.
THREADS = 64
# Served on the loop itself, so that they respond however busy the threads are.
_IMMEDIATE = frozenset({"/healthz"})
_ENVIRON = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "granian",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,  # no view waits for more than there is
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    AWAITED: None,
    STREAMED: None,
}
_WITHOUT_PREFIX = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


OnStart = Callable[[asyncio.AbstractEventLoop], None]


class Gateway:
    """What a process of the web server runs. `app` is not called before its body is complete.
    `on_start`: is called with the loop before the first request."""

    def __init__(
        self,
        app: RelayFlask,
        rules: Sequence[BodyRule],
        bounds: BodyBounds = DEFAULT_BOUNDS,
        on_start: OnStart | None = None,
    ) -> None:
        self._app = app
        self._on_start = on_start
        self._rules = rules
        self._bodies = Bodies(bounds)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="view")

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by granian before the first request."""
        if self._on_start is not None:
            self._on_start(loop)
        self._watching = loop.create_task(_end_without_memory())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        environ = _environ(scope)
        if scope.path in _IMMEDIATE:
            self._respond(environ, protocol)
            return
        length = _length(environ)
        if length == 0:
            await self._serve(environ, protocol)
        elif (rule := self._rule(environ, length)) is not None:
            await self._with_body(environ, protocol, length, rule)
        else:
            await self._serve(environ, protocol)
            # A client that waits for `100 Continue` sends nothing now.
            if "HTTP_EXPECT" not in environ:
                await self._bodies.discard(protocol)

    async def _serve(self, environ: dict[str, Any], protocol: Any) -> None:
        immediate = any(rule.immediate and rule.is_for(environ) for rule in self._rules)
        await (self._on_loop if immediate else self._in_thread)(environ, protocol)

    def _rule(self, environ: dict[str, Any], length: int | None) -> BodyRule | None:
        """None: the body is not read."""
        for rule in self._rules:
            if rule.applies(environ):
                too_large = length is not None and length > rule.largest
                return None if too_large else rule
        return None

    async def _with_body(
        self, environ: dict[str, Any], protocol: Any, length: int | None, rule: BodyRule
    ) -> None:
        try:
            if length is not None and length <= self._bodies.small:
                body = await self._bodies.read_small(protocol, length)
                # A large one takes a while to verify.
                serve = self._on_loop if rule.immediate else self._in_thread
                await serve(_with_body(environ, body), protocol)
                return
            async with self._bodies.read(protocol, length, rule.largest) as body:
                await self._in_thread(_with_body(environ, body), protocol)
        except HttpError as error:
            await self._reject(environ, protocol, error)
        except MemoryError:
            await self._reject(environ, protocol, HttpError(503, "no memory for it", _NO_MEMORY))

    async def _on_loop(self, environ: dict[str, Any], protocol: Any) -> None:
        response = self._app.respond(environ)
        await _awaited(environ)
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else response.get_data()
        protocol.response_bytes(response.status_code, response.headers.to_wsgi_list(), body)

    async def _reject(self, environ: dict[str, Any], protocol: Any, error: HttpError) -> None:
        """The view that reads the body responds with the error, in its own form."""
        environ.pop(BODY, None)
        environ[AWAITED] = None
        environ["wsgi.input"] = _Unreadable(error)
        await self._serve(environ, protocol)

    async def _in_thread(self, environ: dict[str, Any], protocol: Any) -> None:
        loop = asyncio.get_running_loop()
        respond = self._respond
        response = await loop.run_in_executor(self._threads, respond, environ, protocol)
        if response is None:
            return
        await _awaited(environ)
        if environ[STREAMED] is None:
            response.send(protocol)
        else:
            await response.stream(protocol, environ[STREAMED])

    def _respond(self, environ: dict[str, Any], protocol: Any) -> "_Response | None":
        """The response, if it has to wait for something, or is sent from the loop."""
        response = self._call(environ)
        if environ["REQUEST_METHOD"] == "HEAD":
            environ[STREAMED] = None
        if environ[AWAITED] is not None or environ[STREAMED] is not None:
            return response
        response.send(protocol)
        return None

    def _call(self, environ: dict[str, Any]) -> "_Response":
        response = _Response(whole=environ["REQUEST_METHOD"] == "HEAD")
        response.chunks = self._app.wsgi_app(environ, response.start)
        return response


async def _end_without_memory() -> None:
    """granian starts another one. Whoever waits for a response sends again, as after a kill."""
    await memory.exhausted()
    log.error("out of memory, this process ends", error=memory.MESSAGE)
    os._exit(1)


async def _awaited(environ: dict[str, Any]) -> None:
    awaited: Awaited | None = environ[AWAITED]
    if awaited is not None:
        await awaited.done()


class _Response:
    """What the application returns, by PEP 3333."""

    chunks: Iterable[bytes]

    def __init__(self, *, whole: bool) -> None:
        self._status = 500
        self._headers: list[tuple[str, str]] = []
        self._whole = whole

    def start(self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        self._status, self._headers = int(status[:3]), headers
        self._whole |= any(name.lower() == "content-length" for name, _ in headers)

    def send(self, protocol: Any) -> None:
        try:
            if self._whole:
                protocol.response_bytes(self._status, self._headers, b"".join(self.chunks))
            else:
                _send(self.chunks, protocol.response_stream(self._status, self._headers))
        finally:
            self._close()

    def _close(self) -> None:
        if close := getattr(self.chunks, "close", None):
            close()

    async def stream(self, protocol: Any, streamed: Streamed) -> None:
        """granian queues without bounds. It closes the connection, and so says that the client is
        gone, after all of that was sent."""
        headers = [*self._headers, ("Connection", "close")]
        gone = asyncio.ensure_future(_until_gone(protocol))
        try:
            # Nothing else may refer to the stream: its end is that of the response.
            await streamed.send(_Outgoing(protocol.response_stream(self._status, headers), gone))
            await gone
        finally:
            gone.cancel()
            streamed.close()
            self._close()


class _Outgoing:
    def __init__(self, stream: Any, gone: asyncio.Future[None]) -> None:
        self._stream = stream
        self.gone = gone

    def write(self, chunk: bytes) -> None:
        if not self.gone.done():
            with suppress(RuntimeError):  # granian's: the client is gone
                _done(self._stream.send_bytes(chunk))


async def _until_gone(protocol: Any) -> None:
    await protocol.client_disconnect()


def _send(chunks: Iterable[bytes], stream: Any) -> None:
    """Ends where the client is gone, which shows when something is to be sent."""
    for chunk in chunks:
        try:
            _done(stream.send_bytes(chunk))
        except RuntimeError:  # granian's
            return


def _done(sent: Awaitable[None]) -> None:
    """Nothing is waited for: what is sent is queued. Raises where that failed."""
    for _ in sent.__await__():
        raise AssertionError("sending waits")


class _Unreadable(io.RawIOBase):
    """A body that did not come, or came to nothing."""

    def __init__(self, error: HttpError) -> None:
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise self._error

    def read(self, _size: int = -1) -> bytes:
        raise self._error


def _with_body(environ: dict[str, Any], body: bytes) -> dict[str, Any]:
    environ[BODY] = body
    environ["wsgi.input"] = io.BytesIO(body)
    return environ


def _length(environ: dict[str, Any]) -> int | None:
    """Of the body; None if it is not announced."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    # granian rejects what is no number, and lengths that differ.
    return int(environ.get("CONTENT_LENGTH", "").partition(",")[0] or 0)


def _environ(scope: Any) -> dict[str, Any]:
    """As granian itself builds it for WSGI. It hands over no header that is not ASCII."""
    server, _, port = scope.server.rpartition(":")
    headers = scope.headers
    environ: dict[str, Any] = {
        **_ENVIRON,
        "REQUEST_METHOD": scope.method,
        # PEP 3333 wants bytes as Latin-1 characters. Werkzeug routes //webhook as /webhook: as the
        # webhook URL of a base URL that ends in a slash.
        "PATH_INFO": "/" + scope.path.lstrip("/").encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
    }
    environ["HTTP_HOST"] = scope.authority or ""
    found = set()
    for name, value in headers.items():
        key = _WITHOUT_PREFIX.get(name) or environ_key(name)
        separator = ";" if name == "cookie" else ","
        environ[key] = f"{environ[key]}{separator}{value}" if name in found else value
        found.add(name)
    if len(found) < len(headers):
        unread = (name for name in headers if name not in found)
        environ |= {_WITHOUT_PREFIX.get(name) or environ_key(name): "?" for name in unread}
    return environ
