"""Many deployments like one that the relay followed to where it is: its rows, with other ids.

All ids of the original have to be unusual enough to be found as text in any column.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import psycopg
from psycopg import sql

Row = tuple[str, str]
# Changes a row as text, which changes each column, whatever its type.
_CHANGED = """
    create function pg_temp.changed(document text, olds text[], news text[]) returns jsonb
    language plpgsql as $$
    begin
        for i in 1 .. array_length(olds, 1) loop
            document := replace(document, olds[i], news[i]);
        end loop;
        return document::jsonb;
    end $$
"""
# Columns that say when something is done next.
_DUE = ("due_at",)
_ROWS_OF_ONE = {
    "deployments": "id = {id}",
    "schedule": "subject = {id} and task in ('advance', 'send_statuses', 'notify')",
    "tool_events": "document::text like '%{id}%'",
}


def clone(
    url: str,
    deployment_id: int,
    changes: Sequence[Mapping[str, str]],
    *,
    ages: timedelta,
    due_within: timedelta,
) -> None:
    """One clone for each mapping, which has all texts that are different in it, old -> new. Clones
    are up to `ages` older, and what is to be done next is due at any time within `due_within`."""
    with psycopg.connect(url) as connection:
        connection.execute(_CHANGED)
        connection.execute("create temp table clones (olds text[], news text[], age interval)")
        with connection.cursor().copy("copy clones from stdin") as copy:
            for number, change in enumerate(changes):
                age = ages * ((number * 7919 % len(changes)) / len(changes))
                copy.write_row((list(change), list(change.values()), age))
        for table, condition in _tables(connection, deployment_id):
            _clone_rows(connection, table, condition, due_within)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def _tables(connection: psycopg.Connection[Row], deployment_id: int) -> Iterator[Row]:
    """Those with rows of a deployment, and which rows these are. `deployments` come first."""
    for table, condition in _ROWS_OF_ONE.items():
        yield table, condition.format(id=deployment_id)
    found = connection.execute(
        "select table_name, 1 from information_schema.columns where table_schema = 'public'"
        " and column_name = 'deployment_id' and table_name <> 'deliveries' order by 1"
    )
    for table, _ in found.fetchall():
        yield table, f"deployment_id = {deployment_id}"


def _clone_rows(
    connection: psycopg.Connection[Row], table: str, condition: str, due_within: timedelta
) -> None:
    columns = connection.execute(
        "select column_name, data_type || case when is_identity = 'YES' or column_default like"
        " 'nextval%%' and column_name = 'id' then ' new' else '' end"
        " from information_schema.columns where table_schema = 'public' and table_name = %s"
        " and is_generated = 'NEVER'",
        [table],
    ).fetchall()
    kept = [(name, kind) for name, kind in columns if not kind.endswith(" new")]
    statement = sql.SQL(
        "insert into {table} ({names}) select {values} from clones,"
        " (select to_jsonb(o)::text as document from {table} o where {condition}) originals,"
        " jsonb_populate_record(null::{table}, pg_temp.changed(document, olds, news)) r"
    ).format(
        table=sql.Identifier(table),
        names=sql.SQL(", ").join(sql.Identifier(name) for name, _ in kept),
        values=sql.SQL(", ").join(_value(name, kind, due_within) for name, kind in kept),
        condition=sql.SQL(condition),
    )
    connection.execute(statement)


def _value(name: str, kind: str, due_within: timedelta) -> sql.Composable:
    column = sql.SQL("r.") + sql.Identifier(name)
    if not kind.startswith("timestamp"):
        return column
    if name in _DUE:
        within = sql.Literal(due_within)
        return sql.SQL("now() + random() * {}").format(within)
    return sql.SQL("case when {c} <= now() then {c} - age else {c} end").format(c=column)
