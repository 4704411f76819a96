"""The queue of an environment: what runs there, and what waits for its start, the newest first."""

from collections.abc import Iterable
from dataclasses import dataclass

_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """`running`: it was started. `position`: from 1, among `total` that wait, or that run."""

    deployment_id: int
    repo: str
    environment: str
    ref: str
    sha: str
    running: bool
    position: int
    total: int

    @property
    def shown_position(self) -> str:
        """As in "2nd of 3"; "running" of one that was started."""
        return "running" if self.running else f"{ordinal(self.position)} of {self.total}"


def ordinal(number: int) -> str:
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else _ENDINGS.get(number % 10, 'th')}"


def others(queue: Iterable[Queued], deployment_id: int) -> bool:
    """Whether there is anything else in it."""
    return any(one.deployment_id != deployment_id for one in queue)
