"""What runs keeps the environment with which it began, whatever deploy.yml says by now.

Each worker keeps the text of its deploy.yml in the store, encrypted: secrets should only stand in
it as `${NAME}`, but nothing makes them.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import structlog
from cachetools import LRUCache

from webhook.config.environments import Config
from webhook.errors import ConfigErrors
from webhook.security.cipher import Cipher, DecryptionError
from webhook.store import configs
from webhook.store.database import Async, AsyncPool

log = structlog.get_logger()

Hiding = Sequence[Callable[[frozenset[str]], None]]

# Files of one process, besides its own.
_MOST_LOADED = 20


@dataclass(frozen=True, slots=True)
class Configs:
    """`parse` fills `${NAME}` in from this process's environment, and raises `ConfigErrors`.
    `hiding`: what is called with the secrets that were filled in, which are in `secrets` then.
    `loaded`: None where it cannot be."""

    pool: AsyncPool
    cipher: Cipher
    parse: Callable[[str], Config]
    hiding: Hiding
    secrets: set[str] = field(default_factory=set, repr=False)
    loaded: LRUCache[str, Config | None] = field(default_factory=lambda: LRUCache(_MOST_LOADED))

    async def keep(self, config: Config) -> None:
        async with self.pool.connection() as connection:
            await configs.keep(connection, config.digest, self.cipher.encrypt(config.text))

    async def load(self, digest: str, connection: Async | None = None) -> Config | None:
        """None: it is not kept any more, or this process cannot read it. `connection`: of a caller
        who has one, and so must not wait for another."""
        if digest in self.loaded:
            return self.loaded[digest]
        async with nullcontext(connection) if connection else self.pool.connection() as one:
            text = await configs.text_of(one, digest)
        if text is None:
            return None
        found = self.loaded[digest] = await asyncio.to_thread(self._read, text)
        return found

    def _read(self, encrypted: bytes) -> Config | None:
        try:
            config = self.parse(self.cipher.decrypt(encrypted))
        except ConfigErrors as error:
            reason = "; ".join(error.errors)
        except DecryptionError:
            reason = "GITPLOY_SECRET_KEY is not the one that encrypted it"
        else:
            self.secrets.update(config.secrets)
            for hide in self.hiding:
                hide(config.secrets)
            return config
        log.warning("the deploy.yml with which a deployment began is of no use now", reason=reason)
        return None
