"""A bounded load of signed deliveries on loopback, over a fixed number of connections."""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass

from sandbox.github.webhooks import delivery_headers

SECRET = "a-secret-of-the-benchmark"
_FILLER = {"key": "x" * 60}


def body() -> bytes:
    """About 11 KB, as GitHub's `deployment` events are; of an event that nobody acts on."""
    return json.dumps({"action": "created", "filler": [_FILLER] * 150}).encode()


@dataclass(frozen=True, slots=True)
class Result:
    """Requests a second, and the 50th and 99th percentile of a request in milliseconds."""

    per_second: float
    p50: float
    p99: float


async def load(port: int, *, connections: int, seconds: float) -> Result:
    payload = body()
    began = time.perf_counter()
    until = began + seconds
    counts = await asyncio.gather(*(_send(port, payload, until) for _ in range(connections)))
    wall = time.perf_counter() - began
    times = sorted(t for some in counts for t in some)
    return Result(
        len(times) / wall, times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000
    )


async def _send(port: int, payload: bytes, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = delivery_headers("star", payload, SECRET, app_id=1)
    fixed = "".join(f"{k}: {v}\r\n" for k, v in headers.items() if k != "X-GitHub-Delivery")
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {len(payload)}\r\n{fixed}"
    times = []
    while (now := time.perf_counter()) < until:
        guid = f"X-GitHub-Delivery: {uuid.uuid4()}\r\n\r\n"
        writer.write((head + guid).encode() + payload)
        response = await reader.readuntil(b"\r\n\r\n")
        status = int(response.split(b" ", 2)[1])
        assert status == 202, response
        await reader.readexactly(_length(response))
        times.append(time.perf_counter() - now)
    writer.close()
    return times


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise AssertionError("a response without a length")
