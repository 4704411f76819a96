"""The store: whether it responds, its migrations, workers, and messages that were rejected."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta

import psycopg

from webhook import __version__
from webhook.check import Finding, Level
from webhook.check.deliveries import check_compared
from webhook.config.environments import Config
from webhook.errors import UserError
from webhook.invocation import COMMAND
from webhook.notifiers import title_of
from webhook.settings import Settings
from webhook.store import (
    database,
    deliveries,
    outbox,
    recovery,
    schema,
    slack_installations,
    workers,
)
from webhook.store.database import Sync
from webhook.store.embedded import store_url
from webhook.store.slack_installations import Installation
from webhook.store.unavailable import first_line, store_reason
from webhook.store.workers import RunningWorker

# Dead letters are counted up to so many.
_MOST_COUNTED = 1000
_RELOAD = f"on each machine, run: {COMMAND} reload"


@dataclass(slots=True)
class Stored:
    """What other checks need of the store. `installed`: the workspaces in which the Slack app is
    installed. `silent_for`: since GitHub sent the last delivery, if it did lately."""

    installed: list[Installation] = field(default_factory=list)
    silent_for: timedelta | None = None


def check_store(settings: Settings, config: Config | None, stored: Stored) -> Iterator[Finding]:
    """Fills `stored`."""
    try:
        with store_url(settings) as url, database.connect(url) as connection:
            found = schema.revision(connection)
            if schema.is_newer(found):
                yield Finding("note", "store", _newer(found))
            elif found != schema.NEWEST_REVISION:
                level: Level = "error" if found and settings.store_source else "note"
                yield Finding(level, "store", _outdated(found))
                return
            yield _writable(settings, connection)
            yield from _workers(connection, config)
            stored.installed = slack_installations.every_sync(connection)
            stored.silent_for = recovery.silent_for(connection)
            yield from check_compared(connection)
            yield from _dead_letters(connection)
            yield from _unsent(connection)
            yield from _messages(connection, config)
    except psycopg.Error as error:
        remedy = "check GITPLOY_STORE_SOURCE or DATABASE_URL"
        yield Finding("error", "store", f"{first_line(error)}; {remedy}")
    except UserError as error:
        yield Finding("error", "store", str(error))
    except OSError as error:
        message = f"the embedded PostgreSQL cannot be started: {error.strerror}"
        yield Finding("error", "store", f"{message}; check GITPLOY_DATA_DIR")


def _writable(settings: Settings, connection: Sync) -> Finding:
    """A full disk shows only where something is written."""
    try:
        deliveries.check_insert(connection)
    except psycopg.Error as error:
        return Finding("error", "store", f"takes no deliveries: {store_reason(error)}")
    kind = "PostgreSQL" if settings.store_source else "the embedded PostgreSQL"
    return Finding("ok", "store", f"{kind} responds, its tables are up to date")


def _dead_letters(connection: Sync) -> Iterator[Finding]:
    count = deliveries.dead_letters(connection, _MOST_COUNTED)
    if count:
        number = str(count) if count < _MOST_COUNTED else f"{_MOST_COUNTED} or more"
        see = f"{COMMAND} deliveries --outcome failed says why, deliveries replay tries again"
        yield Finding("note", "deliveries", f"{number} could not be processed; {see}")


def _unsent(connection: Sync) -> Iterator[Finding]:
    for one in outbox.unsent_statuses(connection):
        yield Finding("error", "GitHub statuses", str(one))


def _outdated(found: str | None) -> str:
    alone = f"at its start; where web and worker run without it, run: {COMMAND} migrate"
    if found is None:
        return f"has no tables yet; {COMMAND} up creates them {alone}"
    return f"is at migration {found}, not {schema.NEWEST_REVISION}; {COMMAND} up updates it {alone}"


def _newer(found: str | None) -> str:
    needed = schema.NEWEST_REVISION
    return f"is at migration {found} of a newer relay; this one needs {needed}, which it includes"


def _workers(connection: Sync, config: Config | None) -> Iterator[Finding]:
    seconds = workers.seconds_since_seen(connection)
    if seconds is None:
        yield Finding("note", "worker", "none runs now")
        return
    yield Finding("ok", "worker", f"last heartbeat {seconds:.0f} s ago")
    running = workers.running(connection)
    if others := [one for one in running if config and one.config_digest != config.digest]:
        since = f"{others[0].started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        message = f"{_count(others)} since {since} with another deploy.yml than this; {_RELOAD}"
        yield Finding("note", "worker", message)
    if machines := workers.several_configs(connection):
        one = "one machine" if len(machines) == 1 else f"{len(machines)} machines"
        message = f"those of {one} have read different deploy.yml files; {_RELOAD}"
        yield Finding("note", "worker", message)
    if others := [one for one in running if one.version != __version__]:
        versions = ", ".join(sorted({one.version for one in others}))
        message = f"{_count(others)} with version {versions}, not {__version__}; restart the relay"
        yield Finding("note", "worker", message)


def _count(running: Sequence[RunningWorker]) -> str:
    return "1 runs" if len(running) == 1 else f"{len(running)} run"


def _messages(connection: Sync, config: Config | None) -> Iterator[Finding]:
    named = _named(config) if config else None
    for one in outbox.lately_failed(connection):
        subject = " ".join(title_of(one.destination))
        if named is not None and one.destination not in named:
            continue  # deploy.yml has another one by now
        if one.state == "claimed":
            message = f"whether the newest message is there is not known: {one.error}"
            yield Finding("note", subject, message)
        else:
            yield Finding("error", subject, one.error)


def _named(config: Config) -> set[str]:
    """The destinations in deploy.yml, as the outbox names them."""
    return {
        f"{notifier}:{one.name(address)}"
        for env in config.envs
        for notifier, one in env.destinations()
        for main in (True, False)
        if (address := one.address(main=main))
    }
