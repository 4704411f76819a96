"""A disk that can be filled, for a process and all that it starts.

Where the system allows a mount (it needs root): a tmpfs, in a mount namespace that this process
enters. Elsewhere the processes' own limit of the size of a file stands in (setrlimit(2),
RLIMIT_FSIZE), as near as it comes: nothing can grow, though the error is another one.
"""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

# unshare(2)
_NEW_MOUNTS = 0x00020000
_BLOCK = 64 * 1024
_SCARCELY = 1  # byte: nothing grows beyond it


class NotAllowed(Exception):
    """Neither a mount nor limits of processes of another user: PostgreSQL does not run as root."""


class SmallDisk(Protocol):
    kind: str

    def fill(self, processes: Iterable[psutil.Process]) -> None: ...

    def free(self, processes: Iterable[psutil.Process]) -> None: ...


class Tmpfs:
    kind = "a tmpfs"

    def __init__(self, path: Path, size: int) -> None:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        subprocess.run(mount, check=True, capture_output=True)
        self._ballast = path / "ballast"

    def fill(self, processes: Iterable[psutil.Process]) -> None:
        """Once more, where something has become free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_BLOCK, 1):
                with suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def free(self, processes: Iterable[psutil.Process]) -> None:
        self._ballast.unlink()


class FileLimit:
    kind = "limits of the size of files: no mount is allowed here"

    def fill(self, processes: Iterable[psutil.Process]) -> None:
        self._limit(processes, _SCARCELY)

    def free(self, processes: Iterable[psutil.Process]) -> None:
        self._limit(processes, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(processes: Iterable[psutil.Process], size: int) -> None:
        for process in processes:
            try:
                process.rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied as error:
                raise NotAllowed(f"the limits of process {error.pid} cannot be set") from error


def small_disk(path: Path, size: int) -> SmallDisk:
    """`path` is a directory, which is on that disk from now on."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS) == 0:
        with suppress(OSError, subprocess.SubprocessError):
            return Tmpfs(path, size)
    limit = FileLimit()
    sys.stderr.write(f"The disk's size is set by {limit.kind}\n")
    return limit
