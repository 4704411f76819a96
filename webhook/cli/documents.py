"""What commands show of one thing: facts and tables for people, or one JSON document.

Secrets are hidden, and text from outside does not control the terminal.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from webhook.cli.listing import LONGEST_CELL, Row, print_rows
from webhook.text import one_line

Document = Mapping[str, Any]


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Those that are known, one a line."""
    click.secho(one_line(title, LONGEST_CELL), bold=True)
    known = {name: _fact(value) for name, value in facts.items()}
    width = max(map(len, known), default=0)
    for name, text in known.items():
        if text:
            click.echo(f"  {name.ljust(width)}  {text}")


def _fact(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else one_line(str(value), LONGEST_CELL)


def print_table(title: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
    """Nothing where there are no rows."""
    found = list(rows)
    if found:
        click.echo("")
        click.secho(title, bold=True)
        print_rows(columns, found, as_json=False)
