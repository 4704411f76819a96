"""Brings the store's tables up to date, with Alembic."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, text

from webhook.store import database

# One migration at a time, whoever starts it; the number means nothing.
ADVISORY_LOCK = 4_117_201


def migrate(url: str) -> None:
    """Errors: psycopg.OperationalError where the store does not answer."""
    database.connect(url).close()  # SQLAlchemy would wrap what it says
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
