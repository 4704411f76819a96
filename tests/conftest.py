"""A real PostgreSQL for all tests, and a fresh database for each that asks for one."""

import itertools
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from webhook.store.embedded import EmbeddedPostgres
from webhook.store.migrate import migrate

CHAOS = Path(__file__).parent / "chaos"
# How long an example takes says nothing on a busy machine.
settings.register_profile("relay", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)  # script/test --quick
settings.load_profile("relay")

_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(CHAOS):
            item.add_marker("slow")


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server with a migrated database named `template`; one for each xdist worker."""
    with tempfile.TemporaryDirectory(prefix="relay-test-") as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create database template")
        migrate(in_database(url, "template"))
        yield url
        server.stop()


@pytest.fixture
def store_url(postgres: str) -> Iterator[str]:
    """A fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template template")
        yield in_database(postgres, name)
        connection.execute(f"drop database {name} with (force)")


def in_database(url: str, name: str) -> str:
    """The same server, another database."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"
