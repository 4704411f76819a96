"""`python -m webhook check` for a page: it runs beside, and its newest result is shown.

It calls GitHub, Slack and the tools, so it runs at most once at a time in a process, and by itself
only where the result is old.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

import structlog

from webhook.check import Finding
from webhook.errors import RelayError
from webhook.github.limits import Limit, limit_of
from webhook.web.github_calls import Outside
from webhook.web.services import PageServices

log = structlog.get_logger()

OLD_AFTER = timedelta(minutes=5)
# Seconds after which it is given up.
_LONGEST = 60.0
# Installations that are asked for their rate limit.
_MOST_INSTALLATIONS = 20


@dataclass(frozen=True, slots=True)
class Result:
    """`limits`: by installation."""

    at: datetime
    findings: Sequence[Finding]
    limits: Mapping[int, Limit]


class HealthCheck:
    """Of one process."""

    def __init__(self, services: PageServices) -> None:
        self._services = services
        self._lock = Lock()
        self.runs = False
        self.result: Result | None = None

    def begin_if_old(self) -> None:
        result = self.result
        if result is None or self._services.clock() - result.at > OLD_AFTER:
            self.begin()

    def begin(self) -> None:
        with self._lock:
            if self.runs:
                return
            self.runs = True
        running = self._services.github.begin(self._check, _LONGEST)
        running.add_done_callback(self._ended)

    async def _check(self, outside: Outside) -> None:
        found = await self._services.check()
        limits = await self._limits(outside)
        self.result = Result(self._services.clock(), found, limits)

    async def _limits(self, outside: Outside) -> dict[int, Limit]:
        known = self._services.permissions.repositories().values()
        found: dict[int, Limit] = {}
        for installation in sorted({one.installation_id for one in known})[:_MOST_INSTALLATIONS]:
            try:
                async with outside.slots:
                    found[installation] = await limit_of(outside.github, installation)
            except RelayError as error:
                log.info("no rate limit", installation=installation, error=str(error))
        return found

    def _ended(self, done: "Future[None]") -> None:
        self.runs = False
        if not done.cancelled() and (error := done.exception()) is not None:
            message = f"it could not be run to its end ({type(error).__name__}); read the log"
            log.warning("the check was not run", error=f"{type(error).__name__}: {error}")
            finding = Finding("error", "check", message)
            self.result = Result(self._services.clock(), [finding], {})
