"""What the system says about processes, where a pid alone would not do."""

import os
import subprocess
from pathlib import Path

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self/stat").exists()  # Linux

# Fields of proc_pid_stat(5), counted from the one after the name.
_STATE, _GROUP, _BEGAN = 0, 2, 19


def started(pid: int) -> str | None:
    """When the process began, so that a later one with the same pid is not taken for it."""
    if not _HAS_PROC:
        ps = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        answer = subprocess.run(ps, capture_output=True, text=True, check=False)  # noqa: S603
        return answer.stdout.strip() or None
    fields = _stat(_PROC / str(pid))
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {fields[_BEGAN]}" if fields else None


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    if not _HAS_PROC:
        return True
    # Orphans that have ended stay as zombies for as long as the container's first process likes.
    members = (_stat(process) for process in _PROC.glob("[0-9]*"))
    return any(it and it[_GROUP] == str(group) and it[_STATE] not in "ZX" for it in members)


def _stat(process: Path) -> list[str]:
    try:
        stat = (process / "stat").read_bytes()
    except OSError:
        return []
    return stat.rpartition(b")")[2].decode().split()  # the name may hold any character
