"""A backup: one file, with the store, the key of its secrets, and what it is.

It is a ZIP archive (APPNOTE 6.3, entries stored as they are) of `manifest.json`, `store.dump`
(pg_dump's custom format) and `secret_key`. It appears under its name once it is whole and was read
again; whatever goes wrong before leaves nothing.
"""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, Self

from webhook import __version__
from webhook.errors import UserError
from webhook.store import database, schema
from webhook.store.postgres_tools import PostgresTools
from webhook.store.unavailable import disk_reason

EXISTS, NOT_A_FILE, UNREADABLE = "backup_exists", "backup_not_a_file", "backup_unreadable"
NOT_WRITTEN = "backup_not_written"
FORMAT = 1
_MANIFEST, _DUMP, _KEY = "manifest.json", "store.dump", "secret_key"
# included: in the backup. environment: GITPLOY_SECRET_KEY has it. left out: --without-key.
Key = Literal["included", "environment", "left out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`taken_at`: by the store's clock; nothing that came later is in it. `revision`: the newest
    migration. `schema`: in which its tables were. `server`: PostgreSQL's major version."""

    format: int
    version: str
    revision: str
    taken_at: datetime
    machine_id: str
    server: int
    schema: str
    key: Key
    deployments: int

    def to_json(self) -> bytes:
        document = {**asdict(self), "taken_at": self.taken_at.isoformat()}
        return json.dumps(document, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        document: dict[str, Any] = json.loads(text)
        known = {name: document[name] for name in cls.__dataclass_fields__}
        return cls(**{**known, "taken_at": datetime.fromisoformat(document["taken_at"])})


def require_free(path: Path) -> None:
    """A backup is never written over another one, nor to a pipe, which cannot be read again."""
    if str(path) == "-":
        raise UserError(
            "A backup is read again once it is written, which standard output cannot be; name a"
            " file, and copy that",
            code=NOT_A_FILE,
        )
    if path.is_symlink() or path.exists():
        raise UserError(f"{path} exists already; name another file", code=EXISTS)
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no directory; create it first", code=NOT_A_FILE)


def write(path: Path, url: str, *, machine_id: str, key: Key, secret_key: str = "") -> Manifest:
    require_free(path)
    manifest = _manifest(url, machine_id, key)
    tools = PostgresTools.for_server(manifest.server)
    with _disk_explained(path.parent), _draft(path) as draft:
        with draft.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_MANIFEST, manifest.to_json())
                if key == "included":
                    archive.writestr(_KEY, secret_key)
                with archive.open(_DUMP, "w", force_zip64=True) as dump:
                    tools.dump(url, manifest.schema, dump)
            file.flush()
            os.fsync(file.fileno())
        with opened(draft) as written:
            written.verify(tools)
    return manifest


def _manifest(url: str, machine_id: str, key: Key) -> Manifest:
    with database.connect(url) as connection:
        schema.require_newest(connection)
        row = connection.execute(
            "select now() as taken_at, current_schema()::text as schema,"
            " current_setting('server_version_num')::int / 10000 as server,"
            " (select count(*) from deployments) as deployments"
        ).fetchone()
        revision = schema.revision(connection)
    assert row
    assert revision
    return Manifest(
        format=FORMAT,
        version=__version__,
        revision=revision,
        machine_id=machine_id,
        key=key,
        **row,
    )


@contextmanager
def _disk_explained(folder: Path) -> Iterator[None]:
    """It may be another disk than the store's."""
    try:
        yield
    except OSError as error:
        reason = disk_reason(error.errno, folder)
        raise UserError(f"No backup was made: {reason}", code=NOT_WRITTEN) from error


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside it, which gets its name at the end of the block, unless another has it by then.
    For its owner only, as it holds secrets."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield draft
        try:
            os.link(draft, path)
        except FileExistsError:
            raise UserError(f"{path} exists by now; name another file", code=EXISTS) from None
        except OSError:  # a file system without links
            require_free(path)
            draft.rename(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """What was renamed in it survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Backup:
    """One that is open. `secret_key`: "" where it has none."""

    path: Path
    manifest: Manifest
    secret_key: str
    _archive: zipfile.ZipFile

    def verify(self, tools: PostgresTools) -> None:
        """Read all of it."""
        with self._dump() as dump:
            tools.verify(dump)

    def restore(self, tools: PostgresTools, url: str) -> None:
        """Into an empty database: all of it, or nothing."""
        with self._dump() as dump:
            tools.restore(url, self.manifest.schema, dump)

    @contextmanager
    def _dump(self) -> Iterator[IO[bytes]]:
        """Whoever reads all of it learns whether it is what was written."""
        try:
            with self._archive.open(_DUMP) as dump:
                yield dump
        except (KeyError, zipfile.BadZipFile) as error:
            raise _unreadable(self.path, error) from error


@contextmanager
def opened(path: Path) -> Iterator[Backup]:
    """Errors: `UserError` where it is none, or one of a newer relay."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise _unreadable(path, error) from error
    with archive:
        try:
            manifest = Manifest.from_json(archive.read(_MANIFEST))
            with_key = manifest.key == "included"
            secret_key = archive.read(_KEY).decode().strip() if with_key else ""
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise _unreadable(path, error) from error
        yield Backup(path, manifest, secret_key, archive)


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UserError(
        f"{path} is no backup that can be read: {reason}; take one that `backup` has written",
        code=UNREADABLE,
    )
