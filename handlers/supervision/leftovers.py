"""The run directories of commands that have ended, to be removed once nobody needs them."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from handlers.supervision import rundir


def ended_runs(runs: Path, before: datetime) -> Iterator[tuple[int, datetime]]:
    """The deployment of each directory that was not changed since, and has no supervisor; with the
    time of its last change. What was left behind halfway is removed."""
    for directory in runs.iterdir() if runs.is_dir() else ():
        with suppress(OSError):  # another worker of this machine may remove it
            changed = datetime.fromtimestamp(directory.stat().st_mtime, UTC)
            if changed >= before or rundir.supervised(directory):
                continue
            if directory.name.isascii() and directory.name.isdigit():
                yield int(directory.name), changed
            elif directory.name.startswith("."):
                shutil.rmtree(directory)


def remove(runs: Path, deployment_id: int) -> None:
    """At once: half a directory would look like a run that was lost."""
    leftover = runs / f".{deployment_id}.removed"
    with suppress(OSError):
        (runs / str(deployment_id)).rename(leftover)
    shutil.rmtree(leftover, ignore_errors=True)
