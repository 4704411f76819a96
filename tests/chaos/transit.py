"""What happens to deliveries on their way in a storm: doubled, delayed, reordered, lost."""

import asyncio
import json
import random
from collections import Counter

from sandbox.github.model import Delivery
from sandbox.github.server import GitHub
from sandbox.github.webhooks import ARRIVES, Transit

# Shares of all deliveries, beside those that are lost. Others overtake one that is delayed.
DOUBLED = 0.10
DELAYED = 0.15
# Seconds at most.
DELAY = 5.0


class UnreliableTransit:
    """`lost`: the share that does not arrive, of each of `fates` as many. What is sent once more
    arrives. `missing`: the deployments of which the relay was not told that they exist."""

    def __init__(self, github: GitHub, seed: int, lost: float, fates: tuple[str, ...]) -> None:
        self.counts: Counter[str] = Counter()
        self.missing: set[int] = set()
        self._github = github
        self._random = random.Random(seed)
        self._lost = lost
        self._fates = fates
        self._repeating: set[asyncio.Task[None]] = set()

    def __call__(self, delivery: Delivery) -> Transit:
        self.counts["all"] += 1
        if delivery.redelivery:
            return ARRIVES
        roll = self._random.random()
        delay = self._random.uniform(0, DELAY)
        if roll < self._lost:
            return self._lose(delivery)
        if roll < self._lost + DOUBLED:
            self.counts["doubled"] += 1
            task = asyncio.create_task(self._repeat(delivery, delay))
            self._repeating.add(task)
            task.add_done_callback(self._repeating.discard)
        elif roll < self._lost + DOUBLED + DELAYED:
            self.counts["delayed"] += 1
            return Transit(delay)
        return ARRIVES

    def _lose(self, delivery: Delivery) -> Transit:
        fate = self._random.choice(self._fates)
        self.counts[fate] += 1
        if delivery.event == "deployment":
            self.missing.add(json.loads(delivery.body)["deployment"]["id"])
        return Transit(0, fate)  # type: ignore[arg-type]

    async def _repeat(self, delivery: Delivery, delay: float) -> None:
        await asyncio.sleep(delay)
        self._github.webhooks.redeliver(delivery)

    async def close(self) -> None:
        for task in self._repeating:
            task.cancel()
        await asyncio.gather(*self._repeating, return_exceptions=True)
