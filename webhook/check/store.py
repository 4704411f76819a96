"""The store: whether it responds, its migrations, workers, and messages that were rejected."""

from collections.abc import Iterator

import psycopg

from webhook.check import Finding
from webhook.errors import UserError
from webhook.notifiers import title_of
from webhook.settings import Settings
from webhook.store import database, jobs, outbox, schema, slack_installations
from webhook.store.database import Sync
from webhook.store.embedded import store_url
from webhook.store.slack_installations import Installation


def check_store(settings: Settings, installed: list[Installation]) -> Iterator[Finding]:
    """Fills `installed` with the workspaces in which the Slack app is installed."""
    try:
        with store_url(settings) as url, database.connect(url) as connection:
            found = schema.revision(connection)
            if found != schema.NEWEST_REVISION:
                yield Finding(
                    "error" if settings.store_source else "note", "store", _outdated(found)
                )
                return
            kind = "PostgreSQL" if settings.store_source else "the embedded PostgreSQL"
            yield Finding("ok", "store", f"{kind} responds, its tables are up to date")
            yield _worker(connection)
            installed += slack_installations.every_sync(connection)
            for destination, error in outbox.lately_rejected(connection):
                yield Finding("error", " ".join(title_of(destination)), error)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        yield Finding("error", "store", f"{reason}; check GITPLOY_STORE_SOURCE or DATABASE_URL")
    except UserError as error:
        yield Finding("error", "store", str(error))
    except OSError as error:
        message = f"the embedded PostgreSQL cannot be started: {error.strerror}"
        yield Finding("error", "store", f"{message}; check GITPLOY_DATA_DIR")


def _outdated(found: str | None) -> str:
    if found is None:
        return "has no tables yet; script/server creates them, or: python -m webhook migrate"
    return f"is at migration {found}; run: python -m webhook migrate"


def _worker(connection: Sync) -> Finding:
    seconds = jobs.seconds_since_heartbeat(connection)
    if seconds is None:
        return Finding("note", "worker", "none runs now")
    return Finding("ok", "worker", f"last heartbeat {seconds:.0f} s ago")
