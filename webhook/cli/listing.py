"""What commands list: in a terminal a table with headers, or a paragraph for each row where that is
too narrow; a line for each row where another program reads it; or JSON, an object a line."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from handlers import durations
from webhook import logs
from webhook.logs import hidden
from webhook.text import json_text, one_line

Row = Mapping[str, Any]

# Characters of a cell. Parts of it come from outside and must not control the terminal.
LONGEST_CELL = 1000
_EMPTY = "-"
# Characters of the last column, the text of a row, that make a table readable.
_NARROWEST_TEXT = 24
_GAP = "  "
_STYLES = {
    **dict.fromkeys(("success", "done"), "green"),
    **dict.fromkeys(("failure", "error", "failed", "refused"), "red"),
    **dict.fromkeys(("queued", "in_progress", "waiting"), "cyan"),
}


class ListingGroup(click.Group):
    """Without the name of a command, what is typed is for its command `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


class Seconds(click.ParamType[timedelta]):
    """How long something may take."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return durations.parse(value)
        except ValueError as error:
            self.fail(f"'{value}' {error}", param, ctx)


# Of commands that wait for what they have requested.
WITHIN = click.option(
    "--within",
    type=Seconds(),
    default="1m",
    show_default=True,
    metavar="DURATION",
    help="Wait for so long.",
)


def print_rows(columns: Mapping[str, str], rows: Sequence[Row], *, as_json: bool) -> None:
    """`columns`: the header of each key that is shown; JSON has all keys of the rows. Known secrets
    are hidden."""
    rows = hidden(list(rows), logs.redactor)
    if as_json:
        for row in rows:
            click.echo(json_text(row))
        return
    cells = [[_cell(row[key]) for key in columns] for row in rows]
    if sys.stdout.isatty():
        _print_table(list(columns.values()), cells)
        return
    lines = [[header.upper() for header in columns.values()], *cells]
    widths = _widths(lines)
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(_GAP.join(padded).rstrip())


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*lines, strict=True)]


def _print_table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    console = Console()
    *fixed, text = _widths([headers, *lines])
    if sum(fixed) + len(_GAP) * len(fixed) + min(text, _NARROWEST_TEXT) > console.width:
        _print_paragraphs(console, headers, lines)
        return
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for header in headers[:-1]:
        table.add_column(header, no_wrap=True)
    table.add_column(headers[-1], overflow="fold")
    for line in lines:
        table.add_row(*map(_styled, line))
    console.print(table)


def _print_paragraphs(
    console: Console, headers: Sequence[str], lines: Sequence[Sequence[str]]
) -> None:
    """Only what a line begins with is not indented, and the text has lines of its own."""
    heading = [Text(header, style="bold") for header in headers]
    for cells in (heading, *(list(map(_styled, line)) for line in lines)):
        row, text = Text(_GAP).join(cells[:-1]), cells[-1]
        parts = [row] if text.plain == _EMPTY else [row, text]
        wrapped = [line for part in parts for line in part.wrap(console, console.width - len(_GAP))]
        for number, line in enumerate(wrapped):
            console.print(Text(_GAP if number else "") + line, soft_wrap=True)


def _styled(cell: str) -> Text:
    return Text(cell, style=_STYLES.get(cell, ""))


def _cell(value: Any) -> str:
    return one_line(_text(value), LONGEST_CELL) or _EMPTY


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)
