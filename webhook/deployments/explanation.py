"""What holds for deployments to an environment, and what one would meet now, as people read it:
sections of rows, for a terminal, a pipe and Slack alike."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`cells`: by the keys of the section's columns. `minor`: it is as by default, and is left out
    where there is little room."""

    cells: Mapping[str, str]
    minor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`columns`: the header of each key; the last one is a text. `left_out`: what is said of minor
    rows that are left out."""

    name: str
    title: str
    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`heading`: what it is about. `caveats`: what nobody can know before, or could find out, in
    sentences without a full stop."""

    heading: str
    sections: tuple[Section, ...]
    caveats: tuple[str, ...] = ()
