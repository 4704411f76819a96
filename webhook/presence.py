"""The relay's processes on this machine, and which deploy.yml each of them uses.

Each has a file in GITPLOY_DATA_DIR/processes, and holds a lock on it: so it is known to run for as
long as it does, however it ends. What cannot be written, on a full disk for example, is left out:
nothing else depends on it.

Source: fcntl(2), "Advisory record locking": such a lock is not inherited by forks, and is lost when
its process closes any descriptor of the file, so that nobody reads its own.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import time
from typing import Any, Literal, Self, TextIO

import structlog

from webhook.config.environments import Config

log = structlog.get_logger()

Kind = Literal["up", "web", "worker"]
_FOLDER = "processes"


def own_namespace() -> str:
    """Of the ids of processes; "" where there is only one."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayProcess:
    """`namespace`: in which `pid` means something; each container has its own. `reloads`: it reads
    deploy.yml again at SIGHUP; others belong to one that does. `digest`, `text`: of the file that
    it uses, since `used_since`. `read_at`: when it read one last; `errors`: why it did not take
    it. Times in seconds."""

    kind: Kind
    reloads: bool
    pid: int = field(default_factory=os.getpid)
    namespace: str = field(default_factory=own_namespace)
    digest: str = ""
    text: str = field(default="", repr=False)
    used_since: float = 0.0
    read_at: float = 0.0
    errors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.kind} (process {self.pid})"

    @property
    def is_reachable(self) -> bool:
        return self.namespace == own_namespace()


class Presence:
    """Of this process, until it ends."""

    def __init__(self, data_dir: Path, process: RelayProcess) -> None:
        self.process = process
        self.path = data_dir / _FOLDER / f"{secrets.token_hex(8)}.json"
        self._file: TextIO | None = None
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, exist_ok=True)

    @classmethod
    def begin(cls, data_dir: Path, kind: Kind, config: Config, *, reloads: bool) -> Self:
        running(data_dir)  # of what others have left, nothing stays
        presence = cls(data_dir, RelayProcess(kind=kind, reloads=reloads))
        presence.uses(config)
        return presence

    def uses(self, config: Config) -> bool:
        """From now on. False: it could not be written."""
        before, now = self.process, time()
        text = config.text if before.reloads else ""
        since = before.used_since if before.digest == config.digest else now
        used = replace(before, digest=config.digest, text=text, used_since=since)
        return self._write(replace(used, read_at=now, errors=()))

    def rejects(self, errors: Iterable[str]) -> None:
        self._write(replace(self.process, read_at=time(), errors=tuple(errors)))

    def others(self) -> list[RelayProcess]:
        """Those with the same data directory. Its own file is not opened: that would give up the
        lock on it."""
        return _others(self.path.parent, self.path)

    def end(self) -> None:
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _write(self, process: RelayProcess) -> bool:
        """Another file in its place, so that nobody reads half of it."""
        draft = self.path.with_suffix(".new")
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
            file = os.fdopen(descriptor, "w")
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.write(json.dumps(asdict(process)))
            file.flush()
            draft.replace(self.path)
        except OSError as error:
            log.warning("which deploy.yml this process uses is not written", error=str(error))
            return False
        before, self._file, self.process = self._file, file, process
        if before is not None:
            before.close()
        return True


def running(data_dir: Path) -> list[RelayProcess]:
    """Those with that data directory, for a process that is none of them. Deletes what others have
    left."""
    return _others(data_dir / _FOLDER)


def _others(folder: Path, own: Path | None = None) -> list[RelayProcess]:
    found = (_read(path) for path in sorted(folder.glob("*.json")) if path != own)
    return [one for one in found if one is not None]


def text_of(path: Path) -> str | None:
    """Of the deploy.yml that another process uses; None: it is gone."""
    try:
        return _process(json.loads(path.read_text())).text
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _read(path: Path) -> RelayProcess | None:
    try:
        with path.open() as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:  # its process has it
                return _process(json.loads(file.read()))
            path.unlink()
    except (OSError, ValueError, TypeError, KeyError):  # gone meanwhile, or of another version
        pass
    return None


def _process(document: dict[str, Any]) -> RelayProcess:
    return RelayProcess(**{**document, "errors": tuple(document["errors"])})
