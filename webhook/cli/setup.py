"""What most commands begin with: the settings, and the store with all of its migrations."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from webhook import startup
from webhook.settings import Settings
from webhook.startup import Setup
from webhook.store import database, schema
from webhook.store.database import Sync
from webhook.store.embedded import store_url

log = structlog.get_logger()


def set_up() -> Setup:
    """Read the settings and deploy.yml, and log warnings about the settings."""
    setup = startup.set_up(os.environ)
    for warning in setup.settings.warnings:
        log.warning(warning)
    return setup


@contextmanager
def migrated_store(settings: Settings) -> Iterator[tuple[str, Sync]]:
    """The store's URL and a connection to it; an error where migrations are missing."""
    with store_url(settings) as url, database.connect(url) as connection:
        schema.require_newest(connection)
        yield url, connection
