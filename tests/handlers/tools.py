"""Tools with any response, with and without TLS, for the tests of their callers."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from handlers.errors import Unavailable, UnknownOutcome
from sandbox.server import Server


class Received(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FakeTool(Server):
    """A tool with configurable responses, which records the requests it received."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.received: list[Received] = []

    @property
    def host(self) -> str:
        """As messages name it."""
        return self.url.removeprefix("http://")

    def responds(self, status: int, body: Any, location: str = "") -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"Content-Type": "application/json"}
        if location:
            self.headers["Location"] = location

    def shows_a_page(self) -> None:
        """As a wrong address does, or one where people have to sign in."""
        self.body = b"<!doctype html><title>Sign in</title>"
        self.headers = {"Content-Type": "text/html"}

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{rest:.*}", self._respond)]

    def middlewares(self) -> list[Any]:
        return [self.faults.middleware]

    async def _respond(self, request: web.Request) -> web.Response:
        self.received.append(
            Received(request.method, request.raw_path, dict(request.headers), await request.read())
        )
        return web.Response(status=self.status, body=self.body, headers=self.headers)


class Certificate(NamedTuple):
    """Paths to PEM files; the key is without a password, the other file's with one."""

    file: str
    key: str
    locked_key: str


def a_certificate(folder: Path, host: str = "127.0.0.1", *, lasts: int = 1) -> Certificate:
    """Signed by itself, for so many hours from now; below 0, it has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    named: x509.GeneralName = x509.DNSName(host)
    if host[0].isdecimal():
        named = x509.IPAddress(IPv4Address(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=9))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=lasts))
        .add_extension(x509.SubjectAlternativeName([named]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(*(str(folder / f"{host}.{end}") for end in ("crt", "key", "locked")))
    as_pem = (Encoding.PEM, PrivateFormat.PKCS8)
    Path(files.file).write_bytes(certificate.public_bytes(Encoding.PEM))
    Path(files.key).write_bytes(key.private_bytes(*as_pem, NoEncryption()))
    Path(files.locked_key).write_bytes(key.private_bytes(*as_pem, BestAvailableEncryption(b"pw")))
    return files


@asynccontextmanager
async def served_with_tls(
    certificate: Certificate, *, clients: str = "", leads_to: str = ""
) -> AsyncIterator[str]:
    """The address of a tool; `clients` is the file of certificates that it wants to see one of,
    `leads_to` the address that it sends its callers to."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients or None)
    context.load_cert_chain(certificate.file, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED if clients else ssl.CERT_NONE

    async def response(_: web.Request) -> web.Response:
        if leads_to:
            return web.Response(status=307, headers={"Location": leads_to})
        return web.json_response({"safe": True})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", response)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def speaking(*pieces: bytes, ends: str = "closes", pause: float = 0) -> AsyncIterator[str]:
    """A server that sends these bytes after any request; then closes, resets or stays."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speakers.append(asyncio.current_task())
        if pieces:
            await reader.read(2**16)
        for piece in pieces:
            writer.write(piece)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), pause)
        if ends == "stays":
            await over.wait()
        if ends == "resets":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort() if ends == "resets" else writer.close()

    over = asyncio.Event()
    speakers: list[Any] = []
    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    yield f"//127.0.0.1:{server.sockets[0].getsockname()[1]}"
    over.set()
    server.close()
    await asyncio.gather(*speakers, return_exceptions=True)  # none is left to be cancelled


async def not_done(call: Awaitable[Any]) -> Unavailable:
    """Its error states that nothing was done."""
    with pytest.raises(Unavailable) as caught:
        await call
    assert not isinstance(caught.value, UnknownOutcome)
    return caught.value


async def unknown_outcome(call: Awaitable[Any]) -> UnknownOutcome:
    with pytest.raises(UnknownOutcome) as caught:
        await call
    return caught.value
