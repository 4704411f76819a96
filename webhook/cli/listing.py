"""What commands list: a table with headers in a terminal, a line for each row where another program
reads it, or JSON, an object a line."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from webhook.text import one_line

Row = Mapping[str, Any]

# Characters of a cell. Parts of it come from outside and must not control the terminal.
LONGEST_CELL = 1000
_EMPTY = "-"
_STYLES = {
    **dict.fromkeys(("success", "done"), "green"),
    **dict.fromkeys(("failure", "error", "failed", "refused"), "red"),
    **dict.fromkeys(("queued", "in_progress", "waiting"), "cyan"),
}


def print_rows(columns: Mapping[str, str], rows: Sequence[Row], *, as_json: bool) -> None:
    """`columns`: the header of each key that is shown; JSON has all keys of the rows."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=_text, ensure_ascii=False))
        return
    cells = [[_cell(row[key]) for key in columns] for row in rows]
    if sys.stdout.isatty():
        _print_table(list(columns.values()), cells)
        return
    lines = [[header.upper() for header in columns.values()], *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    Console().print(table)


def _cell(value: Any) -> str:
    return one_line(_text(value), LONGEST_CELL) or _EMPTY


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)
