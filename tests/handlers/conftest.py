import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from handlers.http import Http
from handlers.supervision import rundir
from tests.handlers.tools import FakeTool


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Processes that still run under it at the end of the test are killed."""
    yield tmp_path
    for directory in (tmp_path / "runs").glob("[0-9]*"):
        supervisor = rundir.read(directory, "supervisor")
        if supervisor and rundir.supervised(directory):
            with suppress(ProcessLookupError):
                os.kill(supervisor["pid"], signal.SIGKILL)
        rundir.kill_orphan(directory)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def http(session: aiohttp.ClientSession) -> Http:
    return Http(session)


@pytest.fixture
async def tool() -> AsyncIterator[FakeTool]:
    """Modules whose tool is another one have a fixture of that name themselves."""
    async with FakeTool() as server:
        yield server
