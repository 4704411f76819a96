"""How far apart the checks of runs are: the more deployments wait for their tools, the further.

All workers together make about `Timing.checks_a_second` for each of them. Where these suffice, each
run is checked as often as its handler wants. Otherwise all pauses grow by the same factor, so that
a run that has just begun is still checked more often than one that lasts.
"""

import random
from dataclasses import dataclass
from datetime import timedelta

from webhook.store.schedule import Load
from webhook.timing import Timing

# The mean is that of about so many checks.
_REMEMBERED = 500
# Stretched pauses differ by so much, so that what was due together drifts apart.
_JITTER = 0.1


@dataclass(slots=True)
class Pacing:
    """Of one worker process. `_usual`: seconds between two checks as handlers want them, on average
    of the checks: n runs would be checked n / `_usual` times a second."""

    timing: Timing
    _load: Load = Load(waiting=0, workers=1)  # noqa: RUF009 - it is frozen
    _usual: float = 0.0
    _checks: int = 0

    def measured(self, load: Load) -> None:
        self._load = load

    def stretched(self, pause: timedelta) -> timedelta:
        """How long to wait until the next check of a run whose handler wants it after `pause`."""
        self._checks = min(self._checks + 1, _REMEMBERED)
        self._usual += (pause.total_seconds() - self._usual) / self._checks
        factor = self._factor
        return pause if factor <= 1 else pause * factor * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311

    @property
    def _factor(self) -> float:
        allowed = self.timing.checks_a_second * max(1, self._load.workers)
        return self._load.waiting / (allowed * max(self._usual, 0.001))
