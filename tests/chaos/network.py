"""Hosts with networks of their own, which can be cut.

Each host is a network namespace with two cables, to the store and to everything else: where one is
cut, nothing is refused, but all is lost, and the kernel's TCP does what it does then. Where the
system allows no namespaces (they need root), a proxy before the store stands in: while it is cut,
it holds back what either side sends.

Source: ip-link(8), unshare(1), nsenter(1). The addresses are in 10.213.0.0/16 and 10.214.0.0/16.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

Cable = Literal["store", "others"]
CABLES: Sequence[Cable] = ("store", "others")
_NETWORKS = {"store": "10.214", "others": "10.213"}
_PAIR = "link add {name} type veth peer name {there} netns {pid}"
_PROGRAMS = ("ip", "unshare", "nsenter")


class Forwarder:
    """Hands TCP connections on to where `upstream` is: a port here, or a socket's path."""

    def __init__(self, upstream: int | str) -> None:
        self._upstream = upstream
        self.flows = asyncio.Event()
        self.flows.set()

    async def start(self, address: str, port: int = 0) -> tuple[asyncio.Server, int]:
        server = await asyncio.start_server(self._connected, address, port)
        return server, server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._upstream, str):
                there = await asyncio.open_unix_connection(self._upstream)
            else:
                there = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:  # as if it were the upstream's own
            writer.transport.abort()
            return
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))
        writer.close()
        there[1].close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self.flows.wait()
                writer.write(data)
            writer.write_eof()
        except OSError:
            writer.transport.abort()


class Network(Protocol):
    """`kind`: what it is made of, for people. Opened with `async with`."""

    kind: str

    async def __aenter__(self) -> "Network": ...

    async def __aexit__(self, *_: object) -> None: ...

    def others(self, text: str) -> str:
        """The same with the addresses at which hosts reach what listens on 127.0.0.1 here."""
        ...

    def store(self, host: int) -> tuple[str, int]: ...

    def prefix(self, host: int) -> Sequence[str]:
        """Of a command that is to run there."""
        ...

    def cut(self, host: int, cables: Sequence[Cable]) -> None: ...

    def mend(self, host: int) -> None: ...


@dataclass
class Namespaces:
    """`ports`: what listens on 127.0.0.1, and is reached on the same port from the hosts."""

    store_socket: str
    ports: Sequence[int]
    hosts: int
    kind = "network namespaces"
    _servers: list[asyncio.Server] = field(default_factory=list)
    _holders: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _store_port: int = 0
    _number: int = field(default_factory=lambda: os.getpid() % 250)

    async def __aenter__(self) -> "Namespaces":
        for cable in CABLES:
            bridge = self._bridge(cable)
            _ip("link", "add", bridge, "type", "bridge")
            _ip("addr", "add", f"{self._address(cable)}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
        for host in range(self.hosts):
            self._add(host)
        store = Forwarder(self.store_socket)
        server, self._store_port = await store.start(self._address("store"))
        self._servers.append(server)
        for port in self.ports:
            server, _ = await Forwarder(port).start(self._address("others"), port)
            self._servers.append(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        for holder in self._holders:
            assert holder.stdin
            holder.stdin.close()
            holder.wait()
        for server in self._servers:
            server.close()
        for cable in CABLES:
            _ip("link", "del", self._bridge(cable))

    def _add(self, host: int) -> None:
        # It keeps the namespace for as long as this process lives.
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout
        holder.stdout.readline()  # it is there
        self._holders.append(holder)
        _ip("link", "set", "lo", "up", at=holder.pid)
        for cable in CABLES:
            name, there = self._cable(host, cable), f"to-{cable}"
            _ip(*_PAIR.format(name=name, there=there, pid=holder.pid).split())
            _ip("link", "set", name, "master", self._bridge(cable), "up")
            address = f"{_NETWORKS[cable]}.{self._number}.{host + 10}/24"
            _ip("addr", "add", address, "dev", there, at=holder.pid)
            _ip("link", "set", there, "up", at=holder.pid)

    def _address(self, cable: Cable) -> str:
        return f"{_NETWORKS[cable]}.{self._number}.1"

    def _bridge(self, cable: Cable) -> str:
        return f"rb{self._number}{cable}"[:15]

    def _cable(self, host: int, cable: Cable) -> str:
        return f"rv{self._number}{cable[:5]}{host}"

    def others(self, text: str) -> str:
        for port in self.ports:
            text = text.replace(f"127.0.0.1:{port}", f"{self._address('others')}:{port}")
        return text

    def store(self, host: int) -> tuple[str, int]:
        return self._address("store"), self._store_port

    def prefix(self, host: int) -> Sequence[str]:
        return ["nsenter", "--net", f"--target={self._holders[host].pid}"]

    def cut(self, host: int, cables: Sequence[Cable]) -> None:
        for cable in cables:
            _ip("link", "set", self._cable(host, cable), "down")

    def mend(self, host: int) -> None:
        for cable in CABLES:
            _ip("link", "set", self._cable(host, cable), "up")


@dataclass
class Proxies:
    """One before the store for each host; its other connections cannot be cut."""

    store_socket: str
    hosts: int
    kind = "a proxy before the store: no network namespaces are allowed here"
    _forwarders: list[Forwarder] = field(default_factory=list)
    _ports: list[int] = field(default_factory=list)

    async def __aenter__(self) -> "Proxies":
        for _ in range(self.hosts):
            forwarder = Forwarder(self.store_socket)
            self._forwarders.append(forwarder)
            self._ports.append((await forwarder.start("127.0.0.1"))[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    def others(self, text: str) -> str:
        return text

    def store(self, host: int) -> tuple[str, int]:
        return "127.0.0.1", self._ports[host]

    def prefix(self, host: int) -> Sequence[str]:
        return []

    def cut(self, host: int, cables: Sequence[Cable]) -> None:
        if "store" in cables:
            self._forwarders[host].flows.clear()

    def mend(self, host: int) -> None:
        self._forwarders[host].flows.set()


def _ip(*arguments: str, at: int | None = None) -> None:
    prefix = ["nsenter", "--net", f"--target={at}"] if at else []
    subprocess.run([*prefix, "ip", *arguments], check=True, capture_output=True)


def _namespaces_are_allowed() -> bool:
    if os.geteuid() != 0 or any(shutil.which(program) is None for program in _PROGRAMS):
        return False
    attempt = ["unshare", "--net", "ip", "link", "add", "cable", "type", "veth"]
    return subprocess.run(attempt, check=False, capture_output=True).returncode == 0


def network(store_socket: str, ports: Sequence[int], hosts: int) -> Network:
    if _namespaces_are_allowed():
        return Namespaces(store_socket, ports, hosts)
    proxies = Proxies(store_socket, hosts)
    sys.stderr.write(f"The hosts' network is {proxies.kind}\n")
    return proxies
