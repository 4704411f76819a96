"""Listens in a worker for what supervisors announce (announcements.py)."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from handlers.supervision.announcements import listeners_of

_MOST_DIGITS = 18  # of an ID; more may be no integer of the store


async def ends(data_dir: Path) -> AsyncGenerator[int]:
    """IDs of deployments whose runs have ended. Those that ended before are not among them."""
    async with _pipe(data_dir) as pipe:
        rest = b""
        while data := await pipe.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-4 * _MOST_DIGITS :]
            for line in lines:
                if line.isdigit() and len(line) <= _MOST_DIGITS:
                    yield int(line)


@asynccontextmanager
async def _pipe(data_dir: Path) -> AsyncIterator[asyncio.StreamReader]:
    path = listeners_of(data_dir) / f"{os.getpid()}.{os.urandom(4).hex()}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        os.mkfifo(path, 0o600)
        stack.callback(path.unlink, missing_ok=True)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        file = stack.enter_context(os.fdopen(reader, "rb", buffering=0))
        # As long as we write ourselves, it does not end when a supervisor closes it.
        stack.callback(os.close, os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), file
        )
        stack.callback(transport.close)
        yield stream
