"""Connections that explain each statement before they execute it: what a query touches and how long
it takes is measured where a function of the store makes it, with the arguments that it gives.

Source: postgresql.org, "EXPLAIN". What is explained is executed, and taken back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.rows import DictRow, dict_row, tuple_row
from psycopg.sql import Composable

_EXPLAIN = "explain (analyze, buffers, timing off, format json) "
_EXPLAINABLE = re.compile(r"\s*(select|insert|update|delete|with|merge)\b", re.IGNORECASE)
# Milliseconds; what takes less is not compared.
TIME_FLOOR = 0.2
# Two calls of a function differ in literals only.
_LITERAL = re.compile(r"\b\d+\b")


@dataclass(frozen=True, slots=True)
class Statement:
    """`buffers`: pages touched. `rows`: read from tables, those that a filter removed too.
    `scanned`: tables that are read as a whole."""

    text: str
    milliseconds: float
    buffers: int
    rows: int
    plan: str
    scanned: frozenset[str]


@dataclass
class Recorder:
    """`repeat`: how often a statement is explained at most; the quickest counts, and one that is
    quick enough is not explained again."""

    repeat: int = 1

    def __post_init__(self) -> None:
        self.statements: list[Statement] = []

    def wants_more(self, explained: Sequence[Any]) -> bool:
        if not explained:
            return True
        return len(explained) < self.repeat and float(explained[-1]["Execution Time"]) > TIME_FLOOR

    def add(self, text: str, explained: Sequence[Any]) -> None:
        best = min(explained, key=lambda one: float(one["Execution Time"]))
        nodes = list(_nodes(best["Plan"]))
        self.statements.append(
            Statement(
                text=_LITERAL.sub("0", " ".join(text.split())),
                milliseconds=float(best["Execution Time"]),
                buffers=_buffers(best["Plan"]),
                rows=sum(_rows(node) for node in nodes),
                plan="; ".join(filter(None, map(_named, nodes))) or best["Plan"]["Node Type"],
                scanned=frozenset(
                    node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"
                ),
            )
        )


class _ExplainingCursor(Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **given: Any) -> Any:
        connection = self.connection
        assert isinstance(connection, ExplainingConnection)
        text = _text(query, self)
        if _EXPLAINABLE.match(text):
            explained: list[Any] = []
            while connection.recorder.wants_more(explained):
                explained.append(connection.explain(text, params))
            connection.recorder.add(text, explained)
        return super().execute(query, params, **given)


class ExplainingConnection(Connection[DictRow]):
    recorder: Recorder

    @classmethod
    def open(cls, url: str, recorder: Recorder) -> "ExplainingConnection":
        connection = cls.connect(url, autocommit=True, row_factory=dict_row)
        connection.recorder = recorder
        connection.cursor_factory = _ExplainingCursor
        return connection

    def explain(self, text: str, params: Any) -> Any:
        with self.transaction(force_rollback=True), Cursor(self, row_factory=tuple_row) as cursor:
            [[[document]]] = cursor.execute(_EXPLAIN + text, params).fetchall()
        return document


class _ExplainingAsyncCursor(AsyncCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **given: Any) -> Any:
        connection = self.connection
        assert isinstance(connection, ExplainingAsyncConnection)
        text = _text(query, self)
        if _EXPLAINABLE.match(text):
            explained: list[Any] = []
            while connection.recorder.wants_more(explained):
                explained.append(await connection.explain(text, params))
            connection.recorder.add(text, explained)
        return await super().execute(query, params, **given)


class ExplainingAsyncConnection(AsyncConnection[DictRow]):
    recorder: Recorder

    @classmethod
    async def open(cls, url: str, recorder: Recorder) -> "ExplainingAsyncConnection":
        connection = await cls.connect(url, autocommit=True, row_factory=dict_row)
        connection.recorder = recorder
        connection.cursor_factory = _ExplainingAsyncCursor
        return connection

    async def explain(self, text: str, params: Any) -> Any:
        async with (
            self.transaction(force_rollback=True),
            AsyncCursor(self, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(_EXPLAIN + text, params)
            [[[document]]] = await cursor.fetchall()
        return document


def _text(query: Any, cursor: Any) -> str:
    if isinstance(query, Composable):
        return query.as_string(cursor)
    return query.decode() if isinstance(query, bytes) else str(query)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _buffers(plan: dict[str, Any]) -> int:
    """Of the whole statement: those of a node include its children's."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _rows(node: dict[str, Any]) -> int:
    """Read from the table, whether or not a filter removed them."""
    if "Relation Name" not in node or node["Node Type"] == "ModifyTable":
        return 0
    removed = sum(int(node.get(f"Rows Removed by {why}", 0)) for why in ("Filter", "Index Recheck"))
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _named(node: dict[str, Any]) -> str:
    """Which table is read how."""
    if "Index Name" in node:
        return f"{node['Node Type']} {node['Index Name']}"
    if node["Node Type"] in ("Seq Scan", "Function Scan", "Tid Scan"):
        return f"{node['Node Type']} {node.get('Relation Name', node.get('Function Name', ''))}"
    return "Sort" if node["Node Type"] == "Sort" else ""
