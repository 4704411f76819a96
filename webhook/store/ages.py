"""Where what is new begins in a table whose ids are in the order of age: without an index."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from psycopg import sql

from webhook.store.database import Sync

Table = Literal["deliveries", "deployments"]
_TIMES: Mapping[Table, str] = {"deliveries": "received_at", "deployments": "created_at"}
# Of what is stored, or created on GitHub, at about the same time.
_DISORDER = timedelta(minutes=5)


def first_since(connection: Sync, table: Table, since: datetime) -> int:
    """An id before which none is so new; found by halving."""
    names = {"table": sql.Identifier(table), "time": sql.Identifier(_TIMES[table])}
    ends = connection.execute(
        sql.SQL(
            "select (select id from {table} order by id limit 1) as low,"
            " (select id from {table} order by id desc limit 1) as high"
        ).format(**names)
    ).fetchone()
    next_after = sql.SQL("select {time} as at from {table} where id > %s order by id limit 1")
    low, high = (ends["low"] or 0, ends["high"] or 0) if ends else (0, 0)
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(next_after.format(**names), [middle]).fetchone()
        if row is None or row["at"] >= since - _DISORDER:
            high = middle
        else:
            low = middle + 1
    return low
