"""Whether the store and the workers are as they should be."""

from psycopg.errors import UndefinedTable

from webhook.errors import UserError
from webhook.store.database import Sync

# The newest migration, which this version of the relay needs (Alembic is slow to import).
NEWEST_REVISION = "0001"


def revision(connection: Sync) -> str | None:
    """The newest migration that ran here; None in an empty database."""
    try:
        row = connection.execute("select version_num from alembic_version").fetchone()
    except UndefinedTable:
        return None
    return row["version_num"] if row else None


def require_newest(connection: Sync) -> None:
    found = revision(connection)
    if found != NEWEST_REVISION:
        raise UserError(
            f"The store is at migration {found or 'none'}, not {NEWEST_REVISION};"
            " run: python -m webhook migrate"
        )


def seconds_since_heartbeat(connection: Sync) -> float | None:
    """How long ago a worker was last heard of; None where none ever was."""
    row = connection.execute(
        "select extract(epoch from now() - max(last_heartbeat))::float8 as age"
        " from procrastinate_workers"
    ).fetchone()
    return row["age"] if row else None
