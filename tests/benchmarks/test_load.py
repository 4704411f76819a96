"""The load that benchmarks and storms send: what it counts as acknowledged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.deliveries import SECRET, Deliveries, body
from benchmarks.load import Load
from benchmarks.rounds import Results, Round
from sandbox.github.webhooks import sign

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
HANGS_UP = b""


class Peer:
    """Responds with one of `responses` after the other, and then with the last."""

    def __init__(self, *responses: bytes) -> None:
        self._responses = list(responses)
        self.guids: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            headers = dict(line.split(": ") for line in head.decode().split("\r\n")[1:] if line)
            assert await reader.readexactly(int(headers["Content-Length"])) == body()
            assert headers["X-Hub-Signature-256"] == sign(body(), SECRET)["X-Hub-Signature-256"]
            self.guids.append(headers["X-GitHub-Delivery"])
            response = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
            if response == HANGS_UP:
                break
            for part in (response[:20], response[20:]):  # it need not arrive at once
                writer.write(part)
                await asyncio.sleep(0)
        writer.close()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[int]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("response", [ACCEPTED, CHUNKED])
async def test_each_delivery_is_sent_once_under_a_guid_of_its_own(response: bytes) -> None:
    peer = Peer(response)
    async with listening(peer) as port:
        load = Load(port, total=50)
        result = await asyncio.to_thread(load.run, 4)
    assert sorted(result.acknowledged) == list(range(50))
    assert sorted(peer.guids) == [load.deliveries.guid(number) for number in range(50)]
    assert (result.failed, len(result.times)) == (0, 50)


async def test_what_is_not_acknowledged_is_counted_and_sent_again_only_where_asked() -> None:
    for again, acknowledged in ((False, [2]), (True, [0, 1, 2])):
        peer = Peer(BUSY, HANGS_UP, ACCEPTED)
        async with listening(peer) as port:
            load = Load(port, total=3, again=again, status="202")
            result = await asyncio.to_thread(load.run, 1)
        assert sorted(result.acknowledged) == acknowledged
        assert result.failed == 2


def test_a_guid_is_copied_into_a_request_that_stays_the_same() -> None:
    deliveries = Deliveries()
    first, second = deliveries.buffer(), deliveries.buffer()
    deliveries.fill(second, 7)
    assert second.replace(deliveries.guid(7).encode(), b"?" * 36) == first
    assert 10_500 < len(body()) < 11_000


def test_ratios_are_those_of_the_median_rates() -> None:
    results = Results()
    for name, rates in {"relay": (100, 300, 200), "flask": (900, 500, 400)}.items():
        results.rounds[2, name] = [Round(rate, 1, 2, rate, 50, 9, 0) for rate in rates]
    medians = results.medians(2)
    assert {name: values["ratio_to_relay"] for name, values in medians.items()} == {
        "relay": 1,
        "flask": 2.5,
    }
    assert medians["flask"]["max"] == 900
    assert results.medians(1) == {}
