"""Announce freezes an hour before they begin, in the channels of what was deployed lately.

Each worker looks for them beside its jobs. An announcement's key is that of its window and its
begin, so that whichever worker is first makes it.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from webhook.config.environments import Config, Environment
from webhook.config.routing import route
from webhook.deployments.announcement import Announcement
from webhook.deployments.blockers import moment
from webhook.deployments.freezes import frozen_until
from webhook.engine.services import Services
from webhook.gates.contract import keys_of
from webhook.gates.freeze import FileWindow, FreezeKeys, FrozenWindow
from webhook.store import announcements, environments
from webhook.store.environments import EnvironmentKey

log = structlog.get_logger()

# Cron's times are whole minutes.
_JUST_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Freeze:
    """That begins soon. `environment`: the one of deploy.yml whose own window it is; None for one
    at the top of the file. `until`: None if no end is known."""

    environment: Environment | None
    window: FrozenWindow
    begin: datetime
    until: datetime | None

    @property
    def key(self) -> str:
        """Without its text, which somebody may correct in between."""
        repos = self.environment.repos if self.environment else ()
        about = f"{self._scope} {repos} {self.window.window}"
        digest = hashlib.sha256(about.encode()).hexdigest()[:12]
        return f"freeze:{digest}:{self.begin.isoformat()}"

    def covers(self, config: Config, repo: str, environment: str) -> bool:
        if self.environment is not None:
            return route(config, repo, environment) is self.environment
        return self.window.covers([repo], environment)

    def text(self, now: datetime) -> str:
        until = f"until {moment(self.until, now)}" if self.until else "without a known end"
        passing = "; rollbacks pass" if self.window.lets else ""
        return (
            f"\N{SNOWFLAKE} {self._scope} will be frozen from {moment(self.begin, now)} {until}:"
            f" {self.window.label}.\nWhat has not started by then waits{passing}."
        )

    @property
    def _scope(self) -> str:
        if self.environment is not None:
            return self.environment.name
        assert isinstance(self.window, FileWindow)
        every = "*" in self.window.environments
        scope = "All environments" if every else ", ".join(self.window.environments)
        repos = "" if "*" in self.window.repos else f" of {', '.join(self.window.repos)}"
        return f"{scope}{repos}"


@dataclass(frozen=True, slots=True)
class FreezeAnnouncements:
    """Of one worker process."""

    services: Services

    async def run_forever(self) -> None:
        while True:
            try:
                await self.run()
            except Exception as error:  # noqa: BLE001 - the next one may succeed
                log.warning("freezes could not be announced", error=str(error))
            await asyncio.sleep(self.services.timing.freezes_announced_every.total_seconds())

    async def run(self) -> None:
        now = self.services.clock()
        # One at the top of the file is in each environment.
        for freeze in {one.key: one for one in self._near(now)}.values():
            await self._announce(freeze, now)

    def _near(self, now: datetime) -> Iterator[Freeze]:
        until = now + self.services.timing.freezes_announced_before
        for environment in self.services.config.envs:
            windows = keys_of(environment, FreezeKeys).frozen_windows
            for window in windows:
                own = None if isinstance(window, FileWindow) else environment
                begins = window.window.starts_between(now, until) if window.announce else ()
                for begin in begins:
                    # Where it ends and begins again, it only goes on.
                    if not window.window.end_at(begin - _JUST_BEFORE):
                        alike = [one.window for one in windows if _same_scope(one, window)]
                        yield Freeze(own, window, begin, frozen_until(alike, begin))

    async def _announce(self, freeze: Freeze, now: datetime) -> None:
        async with self.services.pool.connection() as connection:
            if await announcements.is_known(connection, freeze.key):
                return
        if destinations := await self._destinations(freeze, now):
            announcement = Announcement(key=freeze.key, text=freeze.text(now))
            async with self.services.pool.connection() as connection, connection.transaction():
                await announcements.add(connection, announcement, destinations)

    async def _destinations(self, freeze: Freeze, now: datetime) -> set[str]:
        """Of main messages, of what it freezes and was deployed to lately."""
        services, since = self.services, now - self.services.timing.deployed_lately
        found: set[str] = set()
        after: EnvironmentKey | None = EnvironmentKey(0, "")
        while after is not None:
            async with services.pool.connection() as connection:
                deployed, after = await environments.deployed_since(connection, since, after)
            covered = (one for one in deployed if freeze.covers(services.config, *one))
            found |= set(services.main_destinations(covered))
        return found


def _same_scope(one: FrozenWindow, other: FrozenWindow) -> bool:
    if isinstance(one, FileWindow) and isinstance(other, FileWindow):
        return (one.repos, one.environments) == (other.repos, other.environments)
    return not (isinstance(one, FileWindow) or isinstance(other, FileWindow))
