"""The embedded PostgreSQL of a process that ends."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from webhook.store.embedded import EmbeddedPostgres

STOPPED = """
import shutil, sys
from pathlib import Path
from webhook.store.embedded import EmbeddedPostgres
folder = Path(sys.argv[1])
postgres = EmbeddedPostgres(folder)
postgres.start()
postgres.stop()
shutil.rmtree(folder)
"""


@pytest.mark.slow
def test_a_directory_that_is_removed_once_it_was_stopped_does_not_come_back() -> None:
    folder = Path(tempfile.mkdtemp(prefix="relay-test-"))  # which PostgreSQL's user may enter
    command = [sys.executable, "-W", "ignore", "-c", STOPPED, str(folder)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=60)
    assert not folder.exists()


@pytest.mark.slow
def test_an_empty_pid_file_does_not_keep_postgresql_from_starting() -> None:
    """It is left by one that was killed in its first moment, or for which there was no space."""
    with tempfile.TemporaryDirectory(prefix="relay-test-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        postgres.stop()
        file = Path(folder) / "postgres" / "postmaster.pid"
        file.touch()
        os.utime(file, (0, 0))
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        assert postgres.is_running()
        postgres.stop()
