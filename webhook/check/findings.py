"""What `check` finds, a line for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import click

Kind = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `words` say what was found and, where it is not ok, what to do."""

    kind: Kind
    subject: str
    words: str

    def line(self) -> str:
        colour = {"ok": "green", "note": "yellow", "fault": "red"}[self.kind]
        # Some of it is what others said, which must not reach a terminal as they please.
        text = "".join(c if c.isprintable() else " " for c in f"{self.subject}: {self.words}")
        return f"{click.style(f'{self.kind:5}', fg=colour)} {text}"


def listed(names: Sequence[str], most: int = 10) -> str:
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
