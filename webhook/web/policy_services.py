"""What a view needs to ask what holds for an environment, and what a deployment would meet there:
`webhook.engine.services.PolicyServices`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cachetools import LRUCache

from webhook.config.environments import Config
from webhook.gates import GATES
from webhook.gates.contract import Gates
from webhook.github.client import GitHub
from webhook.logs import Redactor
from webhook.store.database import AsyncPool, async_pool
from webhook.store.repository_files import RepositoryFile
from webhook.timing import DEFAULT_TIMING, Clock, Timing
from webhook.web.github_calls import Outside
from webhook.web.services import PageServices

_CONNECTIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPolicyServices:
    """As `PolicyServices`."""

    config: Config
    pool: AsyncPool
    github: GitHub
    clock: Clock
    redactor: Redactor
    gates: Gates = field(default_factory=lambda: GATES)
    timing: Timing = DEFAULT_TIMING
    commit_files: LRUCache[tuple[int, str], RepositoryFile] = field(
        default_factory=lambda: LRUCache(2)
    )


@asynccontextmanager
async def asking(services: PageServices, outside: Outside) -> AsyncIterator[WebPolicyServices]:
    """With connections for these few queries: GitHub's calls have a loop of their own."""
    async with async_pool(_address(services), _CONNECTIONS) as pool:
        yield WebPolicyServices(
            config=services.config.config,
            pool=pool,
            github=outside.github,
            clock=services.clock,
            redactor=services.redactor,
        )


def _address(services: PageServices) -> str:
    address = services.pool.conninfo
    return address if isinstance(address, str) else address()
