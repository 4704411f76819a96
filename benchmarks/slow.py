"""Requests that never end: `python -m benchmarks.slow PORT COUNT`, until it is terminated.

A third of them stops in the middle of the headers, a third in that of a body without a signature,
and a third sends a body with a forged one, a byte now and then. One that the server ends is sent
again after a moment.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from benchmarks.load import HOST

_HEAD = (
    b"POST /webhook HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
    b"X-GitHub-Event: push\r\nX-GitHub-Delivery: 0\r\nX-GitHub-Hook-ID: 1\r\n"
)
_FORGED = b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
_BODY = b"Content-Length: 10000\r\n\r\n{"
_KINDS = (_HEAD, _HEAD + _BODY, _HEAD + _FORGED + _BODY)
_BYTE_EVERY = 1.0
_AGAIN_AFTER = 1.0
_AT_ONCE = 50


@contextlib.contextmanager
def slow_requests(port: int, count: int) -> Iterator[None]:
    """Beside what the block does, in a process of their own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.slow", str(port), str(count)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError("the slow requests cannot be opened")
        yield
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def beside(count: int) -> Callable[[int], AbstractContextManager[None]]:
    return lambda port: slow_requests(port, count)


async def _one(number: int, port: int, opened: asyncio.Queue[int]) -> None:
    kind = number % len(_KINDS)
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(_KINDS[kind])
            opened.put_nowait(number)
            dribbling = asyncio.create_task(_dribble(writer)) if kind == 2 else None
            await reader.read()
            if dribbling:
                dribbling.cancel()
            writer.close()
        await asyncio.sleep(_AGAIN_AFTER)


async def _dribble(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(_BYTE_EVERY)
        writer.write(b" ")


async def main(port: int, count: int) -> None:
    opened: asyncio.Queue[int] = asyncio.Queue()
    running = []
    for number in range(count):
        running.append(asyncio.create_task(_one(number, port, opened)))
        if len(running) % _AT_ONCE == 0:
            await opened.get()
    sys.stdout.write("opened\n")
    sys.stdout.flush()
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
