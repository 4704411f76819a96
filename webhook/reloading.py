"""deploy.yml, read again by a process that goes on: a file with errors changes nothing."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Self

import structlog

from webhook import presence, startup
from webhook.config.environments import Config
from webhook.errors import ConfigErrors
from webhook.presence import Kind, Presence, RelayProcess
from webhook.startup import Setup

log = structlog.get_logger()


@dataclass
class Reloading:
    """`setup`: what the process works with."""

    setup: Setup
    presence: Presence

    @classmethod
    def begin(cls, setup: Setup, kind: Kind) -> Self:
        """Of a process that others belong to, or that belongs to none: they use what it has
        read."""
        alone, data_dir = startup.IN_USE not in setup.environ, setup.settings.data_dir
        return cls(setup, Presence.begin(data_dir, kind, setup.config, reloads=alone))

    def processes(self) -> list[RelayProcess]:
        """Those with the same data directory, this one first."""
        return [self.presence.process, *self.presence.others()]

    def share(self) -> None:
        """With the processes that are started from now on."""
        os.environ.setdefault(startup.IN_USE, str(self.presence.path))

    def read(self) -> Setup | None:
        """None: it has errors, and was not taken."""
        try:
            return startup.read_again(self.setup)
        except ConfigErrors as error:
            self._reject(error.errors)
            return None

    def use(self, setup: Setup) -> bool:
        """From now on. False: others do not get it."""
        self.setup = setup
        return self.presence.uses(setup.config)

    def read_and_share(self) -> bool:
        """Whether others have something to read again."""
        before, setup = self.setup, self.read()
        if setup is None:
            return False
        if not self.use(setup):
            self.setup = before
            self._reject(["GITPLOY_DATA_DIR cannot be written to now"])
            return False
        log.info("SIGHUP: reading deploy.yml again")
        return True

    def _reject(self, errors: Sequence[str]) -> None:
        log.error(
            "SIGHUP: deploy.yml has errors, the older one stays in use", errors="; ".join(errors)
        )
        self.presence.rejects(errors)


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """deploy.yml on this machine. `processes`: the relay's here, and which one each of them uses;
    the process that asks comes first."""

    environ: Mapping[str, str] = field(repr=False)
    machine_id: str
    processes: Callable[[], Sequence[RelayProcess]]

    @classmethod
    def alone(cls, setup: Setup) -> Self:
        """Of a process that does not read it again, and that others do not find."""
        own = RelayProcess(kind="web", reloads=False, digest=setup.config.digest, used_since=time())
        others = partial(presence.running, setup.settings.data_dir)
        return cls(setup.environ, setup.machine_id, lambda: [own, *others()])

    def read(self) -> Config:
        """The operator's file as it is now, whatever is in use. Errors: `ConfigErrors`."""
        own = {name: one for name, one in self.environ.items() if name != startup.IN_USE}
        return startup.read_config(own)
