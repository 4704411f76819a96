"""Migrations only add, so that older code works on beside a newer store, and after a rollback."""

import hashlib
import re
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.cli.test_slack import environ, private_key
from webhook.__main__ import main
from webhook.errors import UserError
from webhook.store import database, schema

__all__ = ["environ", "private_key"]

VERSIONS = Path(schema.__file__).with_name("migrations") / "versions"
# Each database has it by now.
FIRST = "c98af543"
# What breaks a process that knows nothing of it. A check may be replaced, by a wider one.
FORBIDDEN = (
    r"\bdrop\b(?! constraint (\S+),\s+add constraint \1 check\b)",
    r"\brename\b",
    r"\btruncate\b",
    r"\bdelete from\b",
    r"\bset not null\b",
    r"\balter column \S+ (?:set data )?type\b",
    r"\badd column (?:if not exists )?\S+(?=[^,;]*\bnot null\b)(?![^,;]*\b(?:default|generated)\b)",
    r"\bcreate unique index\b[^;]* on (?!{new})",
)


def statements(name: str) -> str:
    """Its SQL in lower case, without comments and bodies of functions."""
    sql = "\n".join(import_module(f"webhook.store.migrations.versions.{name}").SCHEMA).lower()
    return re.sub(r"--[^\n]*|\$\$.*?\$\$", "", sql, flags=re.DOTALL)


def test_migrations_after_the_first_only_add() -> None:
    names = sorted(file.stem for file in VERSIONS.glob("0*.py"))
    created = set()
    for name in names:
        sql = statements(name)
        created = set(re.findall(r"create table (\w+)", sql))
        new = rf"(?:{'|'.join(created)})\b" if created else r"\b\B"
        found = [
            match[0]
            for pattern in FORBIDDEN
            for match in re.finditer(pattern.replace("{new}", new), sql)
        ]
        assert name == names[0] or not found, f"{name} does more than add"


def test_the_guard_finds_what_does_more_than_add() -> None:
    for sql in (
        "alter table deployments drop column ref",
        "alter table deployments rename column ref to name",
        "alter table deployments add column x text not null, add column y text",
        "alter table deployments alter column ref type varchar",
        "alter table deployments alter column ref set not null",
        "create unique index x on deployments (sha)",
    ):
        assert any(re.search(pattern.replace("{new}", r"\b\B"), sql) for pattern in FORBIDDEN), sql


def test_the_first_migration_never_changes() -> None:
    digest = hashlib.sha256((VERSIONS / "0001_first.py").read_bytes()).hexdigest()
    assert digest[:8] == FIRST


def test_deliveries_are_taken_while_a_migration_reads_every_deployment(store_url: str) -> None:
    pages = import_module("webhook.store.migrations.versions.0003_pages")
    long = pages.SCHEMA[: pages.SCHEMA.index(pages.FACTS_FILLED) + 1]
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute("create schema before")
        connection.execute("set search_path to before")
        try:
            for name in sorted(file.stem for file in VERSIONS.glob("000[12]_*.py")):
                for sql in import_module(f"webhook.store.migrations.versions.{name}").SCHEMA:
                    connection.execute(sql)
            with connection.transaction(force_rollback=True):
                for sql in long:
                    connection.execute(sql)
                locked = connection.execute(
                    "select distinct relname from pg_locks join pg_class on pg_class.oid = relation"
                    " where pid = pg_backend_pid() and relnamespace = 'before'::regnamespace"
                    " and mode in ('ShareLock', 'ShareRowExclusiveLock', 'AccessExclusiveLock')"
                    " and relkind = 'r'"
                ).fetchall()
            # The new one, and the one that it reads.
            assert {name for (name,) in locked} == {"deployment_facts", "deployments"}
        finally:
            connection.execute("drop schema before cascade")


@pytest.mark.parametrize("command", ["migrate", "locks"])
def test_a_newer_store_is_used_and_an_unknown_one_is_not(
    store_url: str, environ: dict[str, str], command: str
) -> None:
    known = environ | {"GITPLOY_STORE_SOURCE": store_url}
    with psycopg.connect(store_url, autocommit=True) as connection:
        for revision, code in (("0099", 0), ("0000", 1)):
            connection.execute("update alembic_version set version_num = %s", [revision])
            result = CliRunner().invoke(main, [command], env=known)
            assert result.exit_code == code, result.output
        connection.execute("update alembic_version set version_num = %s", [schema.NEWEST_REVISION])


def test_a_store_of_another_program_is_refused(store_url: str) -> None:
    with database.connect(store_url) as connection:
        connection.execute("update alembic_version set version_num = 'other'")
        with pytest.raises(UserError, match="is at migration other"):
            schema.require_newest(connection)
        connection.execute("update alembic_version set version_num = %s", [schema.NEWEST_REVISION])
