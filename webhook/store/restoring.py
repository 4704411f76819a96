"""A backup becomes the store. What was there before is moved aside, never deleted, and moved back
where the restore fails.

Nobody else may work with it meanwhile: who uses an embedded PostgreSQL is in pgserver's own list
(`utils.DiskList`), who uses another one in `pg_stat_activity`.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql

from webhook.errors import UserError
from webhook.invocation import COMMAND
from webhook.store import database, restores, schema
from webhook.store.backup import Backup, sync_folder
from webhook.store.database import Sync
from webhook.store.embedded import EmbeddedPostgres, is_running
from webhook.store.postgres_tools import PostgresTools
from webhook.store.restores import Restore

IN_USE, NOT_EMPTY, NEWER = "store_in_use", "store_not_empty", "backup_newer"
FOREIGN = "store_has_other_tables"
_STAGING = "restoring"


@dataclass(frozen=True, slots=True)
class Restored:
    """`aside`: where what was there before is now, "" if there was nothing."""

    restore: Restore
    aside: str


@dataclass(frozen=True, slots=True)
class Restoring:
    """`actor`: who does it. `at`: by which what is moved aside is named."""

    backup: Backup
    actor: str
    at: datetime
    replace: bool

    @property
    def _suffix(self) -> str:
        return f"before-restore-{self.at:%Y%m%d-%H%M%S}"

    def into_embedded(self, data_dir: Path) -> Restored:
        """The new store is made beside the old one, and takes its place once it is whole."""
        self._require_known()
        place, staging = data_dir / "postgres", data_dir / _STAGING
        if (place / "PG_VERSION").exists():
            self._leave_embedded(data_dir)
        _clear(staging)
        postgres = EmbeddedPostgres(staging)
        try:
            restore = self._fill(postgres.start())
        except BaseException:
            postgres.stop()
            _clear(staging)
            raise
        postgres.stop()
        aside = place.with_name(f"postgres.{self._suffix}")
        moved = place.exists()
        if moved:
            place.rename(aside)
        try:
            (staging / "postgres").rename(place)
        except OSError:
            if moved:
                aside.rename(place)
            raise
        sync_folder(data_dir)
        _clear(staging)
        return Restored(restore, str(aside) if moved else "")

    def _leave_embedded(self, data_dir: Path) -> None:
        """Stop it, if nobody uses it, and nothing is lost by that."""
        postgres = EmbeddedPostgres(data_dir)
        try:
            url = postgres.start()
        except UserError as error:
            if self.replace:
                return  # it is the reason for this restore
            raise UserError(
                f"{error}; --replace moves it aside, and puts the backup in its place"
            ) from error
        try:
            _require_no_process(data_dir / "postgres")
            with database.connect(url) as connection:
                _require_unused(connection)
                self._require_replaceable(connection)
        except BaseException:
            postgres.release()
            raise
        postgres.stop()

    def into_external(self, url: str) -> Restored:
        """In the same database: the old tables get another schema."""
        self._require_known()
        aside = f"before_restore_{self.at:%Y%m%d_%H%M%S}"
        with database.connect(url) as connection:
            _require_unused(connection)
            present = _tables(connection)
            if present:
                self._require_replaceable(connection)
            if others := sorted(present - schema.tables()):
                raise UserError(
                    f"The database has other tables too ({', '.join(others[:3])}), which cannot be"
                    " moved aside with the relay's; restore into a database of its own, and set"
                    " GITPLOY_STORE_SOURCE to that",
                    code=FOREIGN,
                )
            with _moved_aside(connection, aside) if present else _emptied_on_failure(connection):
                restore = self._fill(url)
        return Restored(restore, f"schema {aside}" if present else "")

    def _require_known(self) -> None:
        found = self.backup.manifest.revision
        if schema.is_newer(found) or not found.isdigit():
            raise UserError(
                f"The backup is of relay {self.backup.manifest.version}, at migration {found}; this"
                f" one knows {schema.NEWEST_REVISION}: restore it with that version or a newer one",
                code=NEWER,
            )

    def _require_replaceable(self, connection: Sync) -> None:
        if self.replace:
            return
        with suppress(psycopg.errors.UndefinedTable):
            row = connection.execute("select count(*) as many from deployments").fetchone()
            if many := row["many"] if row else 0:
                raise UserError(
                    f"The store has {many} deployment{'s' * (many > 1)}; --replace moves it aside,"
                    " and puts the backup in its place",
                    code=NOT_EMPTY,
                )

    def _fill(self, url: str) -> Restore:
        with database.connect(url) as connection:
            version = int(connection.info.server_version / 10000)
        self.backup.restore(PostgresTools.for_server(version), url)
        schema.migrate(url)
        with database.connect(url) as connection, connection.transaction():
            return restores.record(connection, self.backup.manifest.taken_at, self.actor)


def _clear(staging: Path) -> None:
    """Also what a restore has left that was killed."""
    if (staging / "postgres" / "postmaster.pid").exists():
        with suppress(UserError):
            leftover = EmbeddedPostgres(staging)
            leftover.start()
            leftover.stop()
    shutil.rmtree(staging, ignore_errors=True)


def _require_no_process(place: Path) -> None:
    """A web process may have no connection while it has nothing to do."""
    with suppress(FileNotFoundError, ValueError):
        pids = json.loads((place / ".handle_pids.json").read_text())
        others = [pid for pid in pids if pid != os.getpid() and is_running(pid)]
        if others:
            named = ", ".join(map(str, others))
            raise UserError(f"Process {named} works with the store; stop it first", code=IN_USE)


def _require_unused(connection: Sync) -> None:
    row = connection.execute(
        "select count(*) as many from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type = 'client backend'"
    ).fetchone()
    if row and row["many"]:
        raise UserError(
            f"Others work with the store ({row['many']} connections); stop the relay first, on"
            f" every machine: `{COMMAND} up`, web and workers",
            code=IN_USE,
        )


def _tables(connection: Sync) -> set[str]:
    query = "select tablename from pg_tables where schemaname = current_schema()"
    return {row["tablename"] for row in connection.execute(query)}


@contextmanager
def _moved_aside(connection: Sync, aside: str) -> Iterator[None]:
    """Until the block fails."""
    name = _current_schema(connection)
    with connection.transaction():
        connection.execute(sql.SQL("alter schema {} rename to {}").format(name, _name(aside)))
        connection.execute(sql.SQL("create schema {}").format(name))
    try:
        yield
    except BaseException:
        with connection.transaction():
            connection.execute(sql.SQL("drop schema {} cascade").format(name))
            connection.execute(sql.SQL("alter schema {} rename to {}").format(_name(aside), name))
        raise


@contextmanager
def _emptied_on_failure(connection: Sync) -> Iterator[None]:
    name = _current_schema(connection)
    try:
        yield
    except BaseException:
        with connection.transaction():
            connection.execute(sql.SQL("drop schema {} cascade").format(name))
            connection.execute(sql.SQL("create schema {}").format(name))
        raise


def _current_schema(connection: Sync) -> sql.Identifier:
    row = connection.execute("select current_schema()::text as name").fetchone()
    if row is None or row["name"] is None:
        raise UserError("The database has no schema that this user may use; create one")
    return _name(row["name"])


def _name(name: str) -> sql.Identifier:
    return sql.Identifier(name)
