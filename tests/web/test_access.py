"""What GitHub says of a person counts for a minute; that of lists for longer, where all who look
need more calls than GitHub allows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import pytest

from sandbox.faults import Fault
from sandbox.github.server import GitHub
from tests.web.viewing import Rows
from tests.world import MovableClock
from webhook.github.authorization import Person
from webhook.settings import Settings
from webhook.store.database import sync_pool
from webhook.web.auth.access import KEPT, PermissionCache
from webhook.web.github_calls import GitHubCalls

T = TypeVar("T")
NAMES = tuple(f"acme/app-{number}" for number in range(4))
SECOND = timedelta(seconds=1)


@dataclass
class Asking:
    """Four repositories, of which lists may ask for four a minute."""

    github: GitHub
    clock: MovableClock
    cache: PermissionCache
    repo_ids: tuple[int, ...]

    def person(self, login: str) -> Person:
        for name in NAMES:
            self.github.add_collaborator(name, login, "write")
        user = self.github.world.user(login)
        assert user is not None
        return Person(user.account.id, login)

    async def list(self, person: Person, count: int = 4, *, for_act: bool = False) -> int:
        """How many calls of GitHub that takes."""
        ids = self.repo_ids[:count]
        return await self._calls(lambda: self.cache.permissions(person, ids, for_act=for_act))

    async def one(self, person: Person) -> int:
        return await self._calls(lambda: self.cache.permission(person, self.repo_ids[0]))

    async def _calls(self, ask: Callable[[], T]) -> int:
        before = len(self.github.called("GET", "/permission"))
        await asyncio.to_thread(ask)
        return len(self.github.called("GET", "/permission")) - before


@pytest.fixture
async def asking(store_url: str) -> AsyncIterator[Asking]:
    async with GitHub() as github:
        installation = github.add_installation("acme", list(NAMES))
        ids = tuple(github.world.repository(name).id for name in NAMES)
        rows = Rows(store_url)
        for number, (name, repo_id) in enumerate(zip(NAMES, ids, strict=True), start=1):
            given = {"repo": name, "repo_id": repo_id, "installation": installation.id}
            await asyncio.to_thread(rows.deployment, number, **given)
        settings = Settings.from_environ(
            {
                "GITPLOY_SERVER_HOST": "relay.example.com",
                "GITPLOY_WEBHOOK_SECRET": "0123456789-whsec-one",
                "GITPLOY_GITHUB_APP_ID": str(github.app.id),
                "GITPLOY_GITHUB_BASE_URL": github.api_url,
                "GITPLOY_GITHUB_PRIVATE_KEY": github.private_key_pem,
            }
        )
        clock = MovableClock(github.world)
        calls = GitHubCalls(settings, clock)
        with sync_pool(store_url, 2) as pool:
            cache = PermissionCache(pool, calls, clock, most_each_minute=len(NAMES))
            yield Asking(github, clock, cache, ids)
        await asyncio.to_thread(calls.close)


async def test_a_list_is_asked_again_after_a_minute_as_long_as_all_are_within_the_limit(
    asking: Asking,
) -> None:
    mona = asking.person("mona")
    assert await asking.list(mona) == 4
    with asking.clock.moved(KEPT - SECOND):
        assert await asking.list(mona) == 0
    with asking.clock.moved(KEPT + SECOND):
        assert await asking.list(mona) == 4
        assert await asking.one(mona) == 0


async def test_above_the_limit_lists_are_asked_less_often_and_acts_are_not(asking: Asking) -> None:
    mona, hubot = asking.person("mona"), asking.person("hubot")
    assert await asking.list(mona) + await asking.list(hubot) == 8
    # Eight of which four may be asked each minute: every two minutes.
    with asking.clock.moved(KEPT - SECOND):
        assert await asking.list(hubot) == 0
    with asking.clock.moved(KEPT + SECOND):
        assert await asking.list(mona) == 0
        assert await asking.one(mona) == 1
        assert await asking.list(mona, for_act=True) == 3
    # Within the last minute, nobody else has looked at a list.
    with asking.clock.moved(2 * KEPT + 2 * SECOND):
        assert await asking.list(mona) == 4


async def test_what_is_known_counts_however_long_github_takes_with_the_rest(
    asking: Asking,
) -> None:
    mona = asking.person("mona")
    assert await asking.one(mona) == 1
    asking.github.faults.add("GET *collaborators/*/permission", Fault.hang_after(0.5), times=3)
    with asking.clock.moved(KEPT - SECOND):
        listing = asyncio.to_thread(asking.cache.permissions, mona, asking.repo_ids)
        task = asyncio.create_task(listing)
        while len(asking.github.called("GET", "/permission")) < 2:
            await asyncio.sleep(0.01)
        asking.clock.ahead = KEPT + SECOND
        assert set((await task).values()) == {"write"}
