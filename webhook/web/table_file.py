"""A table as CSV, for a table program."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Response

# A table program would take such a text for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def table_file(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_lines(columns, rows), mimetype="text/csv", headers=headers)


def _lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield _line(columns)
    for row in rows:
        yield _line([_cell(value) for value in row])


def _line(cells: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}"
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text
