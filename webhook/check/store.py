"""The store: whether it responds, its migrations, workers, and messages that were rejected."""

from collections.abc import Iterator

import psycopg

from webhook.check import Finding, Level
from webhook.invocation import COMMAND
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
                level: Level = "error" if found and settings.store_source else "note"
                yield Finding(level, "store", _outdated(found))
                return
            kind = "PostgreSQL" if settings.store_source else "the embedded PostgreSQL"
            yield Finding("ok", "store", f"{kind} responds, its tables are up to date")
            yield _worker(connection)
            installed += slack_installations.every_sync(connection)
            yield from _unsent(connection)
            for destination, error in outbox.lately_rejected(connection):
                yield Finding("error", " ".join(title_of(destination)), error)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        yield Finding("error", "store", f"{reason}; check GITPLOY_STORE_SOURCE or DATABASE_URL")
    except OSError as error:
        message = f"the embedded PostgreSQL cannot be started: {error.strerror}"
        yield Finding("error", "store", f"{message}; check GITPLOY_DATA_DIR")


def _unsent(connection: Sync) -> Iterator[Finding]:
    for one in outbox.unsent_statuses(connection):
        yield Finding("error", "GitHub statuses", str(one))


def _outdated(found: str | None) -> str:
    by_itself = f"{COMMAND} up does that at its start; before web and worker by themselves, run"
    if found is None:
        return f"has no tables yet, which are to be created: {by_itself}: {COMMAND} migrate"
    return f"is at migration {found}, not {schema.NEWEST_REVISION}: {by_itself}: {COMMAND} migrate"


def _worker(connection: Sync) -> Finding:
    seconds = jobs.seconds_since_heartbeat(connection)
    if seconds is None:
        return Finding("note", "worker", "none runs now")
    return Finding("ok", "worker", f"last heartbeat {seconds:.0f} s ago")
