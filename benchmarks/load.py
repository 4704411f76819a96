"""A bounded load of signed deliveries on loopback, over a fixed number of connections.

One thread that calls the kernel itself: an event loop would cost as much as a quick server. It
costs 15 to 20 µs a delivery, half of them the kernel's, on the cores that the server has, too.
"""

import contextlib
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from benchmarks.deliveries import Deliveries

HOST = "127.0.0.1"
# Seconds before a delivery that was not acknowledged is sent again.
PAUSE = 0.1
# Seconds without any response, after which the load gives up.
_SILENCE = 30
# Larger than a request, which is so always sent by one call.
_SEND_BUFFER = 256 * 1024


@dataclass(slots=True)
class Result:
    """Times are in seconds, one of each delivery that was acknowledged. `failed` are responses of
    another status, and connections that ended instead of a response."""

    seconds: float = 0
    acknowledged: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds

    def percentile(self, percent: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.times)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] * 1000


class _Connection:
    __slots__ = ("began", "buffer", "length", "number", "parts", "recv", "send", "socket")

    def __init__(self, buffer: bytearray) -> None:
        self.buffer = buffer
        self.number = -1
        self.began = 0.0

    def open(self, port: int) -> int:
        opened = socket.create_connection((HOST, port), timeout=10)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        self.socket, self.send, self.recv = opened, opened.send, opened.recv
        self.length = 0  # of the first response, which the next ones are expected to have
        self.parts = b""
        return opened.fileno()


class Load:
    """Sends `total` deliveries, or as many as it can for some `seconds`.

    With `again` a delivery that was not acknowledged is sent again until it is, as people have
    GitHub do. `status` is how the status of an acknowledgement begins.
    """

    def __init__(
        self,
        port: int,
        *,
        total: int | None = None,
        seconds: float = 600,
        again: bool = False,
        status: str = "2",
    ) -> None:
        self.deliveries = Deliveries()
        self.result = Result()
        self._port = port
        self._numbers = iter(range(total)) if total else count()
        self._seconds = seconds
        self._until = 0.0
        self._again = again
        self._accepted = f"HTTP/1.1 {status}".encode()
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._paused: deque[tuple[float, _Connection]] = deque()

    def run(self, connections: int) -> Result:
        opened = [_Connection(self.deliveries.buffer()) for _ in range(connections)]
        for connection in opened:
            self._connect_first(connection)
        began = time.perf_counter()
        self._until = began + self._seconds
        for connection in opened:
            self._next(connection, began)
        while self._open or self._paused:
            found = self._poll.poll(PAUSE if self._paused else _SILENCE)
            if not found and not self._paused:
                raise TimeoutError(f"no response within {_SILENCE} seconds")
            for descriptor, _ in found:
                self._receive(self._open[descriptor])
            if self._paused:
                self._resume()
        self._poll.close()
        self.result.seconds = time.perf_counter() - began
        return self.result

    def close(self) -> None:
        """Send nothing more, from another thread."""
        self._numbers = iter(())
        self._again = False

    def _connect_first(self, connection: _Connection) -> None:
        """As soon as the server listens."""
        end = time.monotonic() + _SILENCE
        while True:
            try:
                return self._connect(connection)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _connect(self, connection: _Connection) -> None:
        descriptor = connection.open(self._port)
        self._open[descriptor] = connection
        self._poll.register(descriptor, select.EPOLLIN)

    def _close(self, connection: _Connection) -> None:
        del self._open[connection.socket.fileno()]
        connection.socket.close()

    def _next(self, connection: _Connection, now: float) -> None:
        number = next(self._numbers, None) if now < self._until else None
        if number is None:
            self._close(connection)
            return
        connection.number = number
        self.deliveries.fill(connection.buffer, number)
        self._send(connection, now)

    def _send(self, connection: _Connection, now: float) -> None:
        connection.began = now
        try:
            sent = connection.send(connection.buffer)
        except OSError:
            self._lose(connection)
            return
        assert sent == len(connection.buffer), "the kernel did not take a whole request"

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._lose(connection)
            return
        if len(data) != connection.length and not (data := self._collect(connection, data)):
            return
        now = time.perf_counter()
        if data.startswith(self._accepted):
            self.result.times.append(now - connection.began)
            self.result.acknowledged.append(connection.number)
            self._next(connection, now)
        else:
            self.result.failed += 1
            self._pause(connection)

    def _collect(self, connection: _Connection, data: bytes) -> bytes:
        """The whole response, or nothing yet."""
        whole = connection.parts + data
        if not _is_complete(whole):
            connection.parts = whole
            return b""
        connection.length = 0 if connection.parts else len(whole)
        connection.parts = b""
        return whole

    def _lose(self, connection: _Connection) -> None:
        self.result.failed += 1
        self._close(connection)
        self._pause(connection)

    def _pause(self, connection: _Connection) -> None:
        self._paused.append((time.perf_counter() + PAUSE, connection))

    def _resume(self) -> None:
        now = time.perf_counter()
        if now > self._until + _SILENCE:
            raise TimeoutError(f"not acknowledged {_SILENCE} seconds after the end")
        while self._paused and self._paused[0][0] <= now:
            _, connection = self._paused.popleft()
            if connection.socket.fileno() < 0:
                with contextlib.suppress(OSError):
                    self._connect(connection)
            if connection.socket.fileno() < 0:
                self._pause(connection)
            elif self._again:
                self._send(connection, now)
            else:
                self._next(connection, now)


def _is_complete(response: bytes) -> bool:
    head, separator, rest = response.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return bool(separator) and len(rest) >= int(value)
        if name == b"transfer-encoding":
            return rest.endswith(b"0\r\n\r\n")
    return bool(separator)
