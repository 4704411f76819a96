"""The store's tables: which migrations ran, and running the others with Alembic."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import structlog
from psycopg.errors import DeadlockDetected, UndefinedTable

from webhook.errors import UserError
from webhook.invocation import COMMAND
from webhook.settings import Settings
from webhook.store import database
from webhook.store.database import Sync
from webhook.store.embedded import store_url

log = structlog.get_logger()

# The newest migration, which this version of the relay needs.
NEWEST_REVISION = "0003"
# One migration at a time, whichever process starts it; the number means nothing.
ADVISORY_LOCK = 4_117_201
# It locks several tables, and so may get into a deadlock with what works meanwhile.
MOST_ATTEMPTS = 20
_CREATED = re.compile(r"^create table (\w+)", re.MULTILINE)


def revision(connection: Sync) -> str | None:
    """The newest migration that ran here; None in an empty database."""
    try:
        row = connection.execute("select version_num from alembic_version").fetchone()
    except UndefinedTable:
        return None
    return row["version_num"] if row else None


def is_newer(found: str | None) -> bool:
    """Migrated by a newer relay. Migrations only add, so that this one works on beside it."""
    return found is not None and found.isdigit() and int(found) > int(NEWEST_REVISION)


def require_newest(connection: Sync) -> None:
    """A newer one does as well: during an upgrade, and where the code was rolled back."""
    found = revision(connection)
    if is_newer(found):
        log.warning("a newer relay migrated the store", revision=found, known=NEWEST_REVISION)
    elif found != NEWEST_REVISION:
        state = f"is at migration {found}, not {NEWEST_REVISION}" if found else "has no tables yet"
        raise UserError(
            f"The store {state}; {COMMAND} up migrates it at its start, or run: {COMMAND} migrate"
        )


def tables() -> frozenset[str]:
    """The relay's, of all migrations."""
    folder = Path(__file__).with_name("migrations") / "versions"
    texts = [file.read_text() for file in folder.glob("*.py")]
    return frozenset({"alembic_version", *_CREATED.findall("\n".join(texts))})


@contextmanager
def migrated_store(settings: Settings) -> Iterator[tuple[str, Sync]]:
    """The store's URL and a connection to it; an error where migrations are missing."""
    with store_url(settings) as url, database.connect(url) as connection:
        require_newest(connection)
        yield url, connection


def migrate(url: str) -> None:
    """Errors: psycopg.OperationalError where the store does not respond."""
    with database.connect(url) as connection:
        found = revision(connection)
    if is_newer(found):
        log.warning("a newer relay migrated the store", revision=found, known=NEWEST_REVISION)
    elif found != NEWEST_REVISION:
        _migrate(url)


def _migrate(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import DBAPIError, OperationalError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    lock = text("select pg_advisory_xact_lock(:lock)")
    try:
        for left in reversed(range(MOST_ATTEMPTS)):
            try:
                with engine.begin() as connection:
                    connection.execute(lock, {"lock": ADVISORY_LOCK})
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
                break
            except OperationalError as error:
                # Of processes that work meanwhile; PostgreSQL chooses who gives way.
                if not isinstance(error.orig, DeadlockDetected) or not left:
                    raise
                log.warning("the migration gave way to work under way, trying again")
    except DBAPIError as error:
        raise error.orig or error from None
    except CommandError as error:  # a revision that is not among these files
        raise UserError(
            f"The store cannot be migrated: {error}; no release of this relay made it: check"
            " GITPLOY_STORE_SOURCE, or restore a backup"
        ) from None
