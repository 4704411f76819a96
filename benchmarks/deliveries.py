"""A delivery as GitHub sends it: about 10.8 KB, of a deployment with the commits it brings."""

import asyncio
import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from sandbox.github.webhooks import delivery_headers, encoded
from sandbox.sandbox import REPOSITORY, Sandbox

SECRET = "a-secret-of-the-benchmark"


@cache
def body() -> bytes:
    github = Sandbox().github
    github.world.url = "https://github.example.com"
    shas = [hashlib.sha1(bytes([number])).hexdigest() for number in range(17)]
    url = f"{github.world.url}/{REPOSITORY}/commit"
    commits = [{"id": sha, "message": f"Change {sha[:7]}", "url": f"{url}/{sha}"} for sha in shas]
    creation = github.create_deployment(
        REPOSITORY, environment="x", required_contexts=[], payload={"commits": commits}
    )
    with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop of its own
        deployment = thread.submit(asyncio.run, creation).result()
    return encoded(github.events.deployment(deployment))


class Deliveries:
    """Requests that differ in their GUID alone, so that each is made by copying 36 bytes."""

    def __init__(self) -> None:
        self.prefix = str(uuid.uuid4())[:24]
        head, tail = _request().split(b"?" * 36)
        self._at = len(head)
        self._request = bytearray(head + b"?" * 36 + tail)

    def guid(self, number: int) -> str:
        return f"{self.prefix}{number:012x}"

    def buffer(self) -> bytearray:
        """For one connection; `fill` makes the next delivery of it."""
        return bytearray(self._request)

    def fill(self, buffer: bytearray, number: int) -> None:
        buffer[self._at : self._at + 36] = self.guid(number).encode()


def _request() -> bytes:
    content = body()
    headers = delivery_headers("deployment", content, SECRET, guid="?" * 36)
    lines = ["POST /webhook HTTP/1.1", "Host: relay", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
