import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from handlers.supervision import rundir


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Whatever still runs under it when the test is over is killed."""
    yield tmp_path
    for directory in (tmp_path / "runs").glob("[0-9]*"):
        supervisor = rundir.read(directory, "supervisor")
        if supervisor and rundir.supervised(directory):
            with suppress(ProcessLookupError):
                os.kill(supervisor["pid"], signal.SIGKILL)
        rundir.kill_orphan(directory)
