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
    for directory, changed in _unused(runs, before):
        if directory.name.isascii() and directory.name.isdigit():
            yield int(directory.name), changed
        elif directory.name.startswith("."):
            shutil.rmtree(directory, ignore_errors=True)
    for draft, _ in _unused(rundir.drafts_of(runs), before):
        shutil.rmtree(draft, ignore_errors=True)


def _unused(folder: Path, before: datetime) -> Iterator[tuple[Path, datetime]]:
    for directory in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):  # another worker of this machine may remove it
            changed = datetime.fromtimestamp(directory.stat().st_mtime, UTC)
            if changed < before and not rundir.supervised(directory):
                yield directory, changed


def remove(runs: Path, deployment_id: int) -> None:
    """At once: half a directory would look like a run that was lost."""
    leftover = runs / f".{deployment_id}.removed"
    with suppress(OSError):
        (runs / str(deployment_id)).rename(leftover)
    shutil.rmtree(leftover, ignore_errors=True)
