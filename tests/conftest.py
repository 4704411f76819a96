"""A real PostgreSQL for all tests, and an empty database for each that needs one."""

import contextlib
import gc
import itertools
import os
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings

from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

Schema = list[tuple[Any, ...]]

CHAOS = Path(__file__).parent / "chaos"
# On a busy machine the duration of an example means nothing.
settings.register_profile("relay", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)  # script/test --quick
settings.load_profile("relay")

# No store of a test outlives its server. The tests of crashes start servers of their own.
WITHOUT_DISK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
TABLES = "select relname from pg_class where relnamespace = 'public'::regnamespace order by 1"
# Those that ever had a row; what Alembic wrote belongs to the schema.
USED_TABLES = """
    select oid::regclass::text, pg_relation_size(oid) from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r'
        and relname <> 'alembic_version' and pg_relation_size(oid) > 0
"""
LARGE = 50 * 8192  # bytes
# Queries are planned as in a new store.
FORGET_SIZES = "update pg_class set relpages = 0, reltuples = -1 where oid = any(%s::regclass[])"
RESTART_IDENTITIES = "select setval(seqrelid::regclass, seqstart, false) from pg_sequence"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(CHAOS):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """What is loaded stays, and need not be searched again for what is garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI there is everything that a test needs."""
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"


@dataclass
class Databases:
    """Of one server. A used one is emptied and gets another name, which is quicker than a new one;
    whoever still had the old name cannot disturb the next test."""

    url: str
    connection: psycopg.Connection[Any]
    schema: Schema
    free: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def one(self) -> Iterator[str]:
        name = f"test_{next(self._numbers)}"
        if self.free:
            used = self.free.pop()
            self._end_connections(used)
            self.connection.execute(f"alter database {used} rename to {name}")
        else:
            self.connection.execute(f"create database {name} template template")
        yield in_database(self.url, name)
        self._end_connections(name)
        if self._emptied(name):
            self.free.append(name)
        else:
            self.connection.execute(f"drop database {name} with (force)")

    def _end_connections(self, name: str) -> None:
        """PostgreSQL itself checks only every 100 ms whether they have ended."""
        end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        while self.connection.execute(end, [name]).fetchall():
            time.sleep(0.005)

    def _emptied(self, name: str) -> bool:
        """False where a test has left another schema."""
        with psycopg.connect(in_database(self.url, name), autocommit=True) as connection:
            sizes: dict[str, int] = dict(connection.execute(USED_TABLES).fetchall())
            if sizes:
                self._empty(connection, sizes)
            return schema_of(connection) == self.schema

    def _empty(self, connection: psycopg.Connection[Any], sizes: dict[str, int]) -> None:
        """Truncating gives each table and index a new file, which costs more than a few rows do.
        Vacuuming cuts the old ones down to nothing."""
        # Or the audit's trigger would refuse that, and foreign keys would ask for an order.
        connection.execute("set session_replication_role = replica")
        for table, size in sizes.items():
            emptied = f"truncate {table} cascade" if size > LARGE else f"delete from {table}"
            connection.execute(emptied)
        connection.execute(f"vacuum {', '.join(sizes)}")
        connection.execute(FORGET_SIZES, [list(sizes)])
        connection.execute(RESTART_IDENTITIES)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server with a migrated database named `template`; one for each xdist worker."""
    with tempfile.TemporaryDirectory(prefix="relay-test-") as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in WITHOUT_DISK:
                connection.execute(f"alter system set {setting}")
            connection.execute("select pg_reload_conf()")
            connection.execute("create database template")
        migrate(in_database(url, "template"))
        yield url
        server.stop()


@pytest.fixture(scope="session")
def databases(postgres: str) -> Iterator[Databases]:
    with psycopg.connect(in_database(postgres, "template"), autocommit=True) as template:
        schema = schema_of(template)
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield Databases(postgres, connection, schema)


@pytest.fixture
def store_url(databases: Databases) -> Iterator[str]:
    """An empty, migrated database."""
    with databases.one() as url:
        yield url


def schema_of(connection: psycopg.Connection[Any]) -> Schema:
    """Its tables, and where migrations are recorded their number."""
    tables = connection.execute(TABLES).fetchall()
    if ("alembic_version",) in tables:
        return tables + connection.execute("select version_num from alembic_version").fetchall()
    return tables


def in_database(url: str, name: str) -> str:
    """The same server, another database."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"
