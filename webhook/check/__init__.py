"""`python -m webhook check`, and what the page of the relay's health shows of it: one line for each
finding. It may import every room but the web's and the engine's.
"""

from dataclasses import dataclass
from typing import Literal

import click

Level = Literal["ok", "note", "error"]
_COLOURS = {"ok": "green", "note": "yellow", "error": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`message` says what was found and, if it is not ok, what to do."""

    level: Level
    subject: str
    message: str

    def line(self) -> str:
        # Parts of it come from outside and must not control the terminal.
        text = "".join(c if c.isprintable() else " " for c in f"{self.subject}: {self.message}")
        return f"{click.style(f'{self.level:5}', fg=_COLOURS[self.level])} {text}"
