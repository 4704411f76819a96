"""The embedded PostgreSQL of a process that ends."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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
