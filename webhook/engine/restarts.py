"""How often a start is repeated that may have run, of a tool that cannot be searched.

A tool that runs whatever it is sent would deploy once more with each of them. Most failures pass by
themselves, so a few starts are made, at growing intervals; then a person decides. A tool that
recognizes a repeated start is safe (`StartsBlindly.restart_is_safe`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from handlers.contract import Handler, StartsBlindly
from handlers.errors import NotReady
from webhook.store.deployments import DeploymentRow
from webhook.timing import Timing


def is_risky(handler: Handler) -> bool:
    """Whether the tool would run a repeated start as another one."""
    return isinstance(handler, StartsBlindly) and not handler.restart_is_safe


@dataclass(frozen=True, slots=True)
class Restarts:
    """`starts`: those that may have run."""

    starts: int
    pauses: tuple[timedelta, ...]

    @classmethod
    def of(cls, row: DeploymentRow, timing: Timing) -> Self:
        return cls(row.possible_starts, timing.restarts_after)

    @property
    def are_over(self) -> bool:
        return self.starts > len(self.pauses)

    @property
    def pause(self) -> timedelta:
        """After the last start; there is none after the last one of all."""
        return timedelta(0) if self.are_over or not self.starts else self.pauses[self.starts - 1]

    def held(self, error: str, until: datetime) -> NotReady:
        times = "once" if self.starts == 1 else f"{self.starts} times"
        message = f"Started {times}, may have run: check there, then Cancel and Retry. {error}"
        return NotReady(message, held=True, retry_at=until)
