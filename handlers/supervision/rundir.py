"""A command's run directory: written by its supervisor, read by the relay.

    lock        held (flock) while the supervisor lives; the kernel releases it at any death
    supervisor  {"pid"}
    command     {"pid", "started"} of the leader of the command's process group
    payload     the deployment's, as JSON, for the command
    output      see output.py
    end         {"state", "description", "environment_url"}, written before the lock is released

An updated relay reads directories that the previous version wrote: names may be added here, not
changed.
"""

import errno
import fcntl
import json
import math
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

# Fields of proc_pid_stat(5), counted from the one after the name.
_STATE, _GROUP, _BEGAN = 0, 2, 19


def started(pid: int) -> str | None:
    """When the process began, to distinguish it from a later one with the same pid."""
    if not _HAS_PROC:
        import subprocess  # what supervisors import, all of them hold in memory

        ps = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        output = subprocess.run(ps, capture_output=True, text=True, check=False)  # noqa: S603
        return output.stdout.strip() or None
    fields = _stat(str(pid))
    return f"{_BOOT} {fields[_BEGAN]}" if fields else None


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    if not _HAS_PROC:
        return True
    # Orphans that have ended stay as zombies for as long as the container's first process likes.
    members = (_stat(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return any(it and it[_GROUP] == str(group) and it[_STATE] not in "ZX" for it in members)


def _stat(pid: str) -> list[str]:
    try:
        stat = _content(f"/proc/{pid}/stat")
    except OSError:
        return []
    return stat.rpartition(b")")[2].decode().split()  # the name may hold any character


def _content(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, 4096)
    finally:
        os.close(handle)


_HAS_PROC = Path("/proc/self/stat").exists()  # Linux
_BOOT = _content("/proc/sys/kernel/random/boot_id").decode().strip() if _HAS_PROC else ""


class Order(NamedTuple):
    """What a supervisor is to run. It is sent through a socket, as it holds secrets.

    `deadline` is in seconds since 1970, `timeout` and `grace` are in seconds, `output_limit` in
    bytes; `environment_url` is the one to report unless the command names another; `payload` is
    the content of the file of that name. After `start_by`, by `handlers.uptime`, nothing is
    started any more: the deployment may be another worker's.
    """

    directory: str
    argv: list[str]
    cwd: str | None
    env: dict[str, str]
    deadline: float
    timeout: float
    grace: float
    output_limit: int
    secrets: list[str]
    environment_url: str
    payload: str
    start_by: float = math.inf


def drafts_of(runs: Path) -> Path:
    """Where a run's directory is until its name says that the run is a supervisor's."""
    return runs.with_name("drafts")


def write(directory: Path, name: str, content: Mapping[str, Any], *, durable: bool = False) -> None:
    """Whole or not at all; if `durable`, even after a power failure, once this returns."""
    draft = f"{directory}/.{name}"
    put(draft, json.dumps(content).encode(), durable=durable)
    os.rename(draft, f"{directory}/{name}")  # noqa: PTH104 - see launch.py
    if durable:
        sync(directory)


def put(path: str, content: bytes, *, durable: bool = False) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        if os.write(handle, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def read(directory: Path, name: str) -> dict[str, Any] | None:
    """None if it is not there, or was torn by a power failure."""
    try:
        content: dict[str, Any] = json.loads((directory / name).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content


def sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(directory: Path) -> None:
    """Hold the lock until this process ends; programs it starts do not inherit it."""
    handle = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def supervised(directory: Path) -> bool:
    try:
        handle = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two concurrent checks do not take each other for the supervisor.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def record_command(directory: Path) -> None:
    """Name the calling process as the command's leader."""
    pid = os.getpid()
    write(directory, "command", {"pid": pid, "started": started(pid)})


def kill_orphan(directory: Path) -> None:
    """Kill the command if it outlived its supervisor, so that nothing runs unseen."""
    command = read(directory, "command")
    if command and command["started"] and command["started"] == started(command["pid"]):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(command["pid"], signal.SIGKILL)
