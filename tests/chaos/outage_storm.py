"""Six hours without GitHub, Slack, the store or the network to all of them, in a minute.

    script/storm --outage github

Deployments are asked for all the time. Time passes in steps: whatever the store and GitHub have
recorded becomes older, which is the same as if it were later. Afterwards everything is caught up
by itself within five minutes; each deployment has one final status and one message, and what was
learned of too late did not run. How often the newer of two came first is shown, not required:
workers do many things at once, and what GitHub could not deliver is known only after a minute.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path

import psycopg
from psycopg import sql

from sandbox.faults import Fault
from sandbox.github.model import Delivery, Deployment, Status
from sandbox.github.webhooks import ARRIVES, Transit, encoded
from sandbox.sandbox import REPOSITORY
from sandbox.slack.model import Channel, Message
from tests.chaos.lines import Line, State, to_port, to_socket
from tests.chaos.recorded import FINAL, Expected, all_that_is_wrong, key_of
from tests.chaos.storm import Storm
from tests.store_proxy import SOCKET
from webhook.store.embedded import EmbeddedPostgres

LASTS = timedelta(hours=6)
WITHIN = timedelta(minutes=5)
CHANNELS = 4
ENVIRONMENT = """
  - name: "env-{number}/*"
    handler: command
    serialization: false
    with:
      run:
        - sh
        - -c
        - 'while ! test -e {folder}/$1; do sleep 0.05; done; echo $DEPLOYMENT_ID >> {folder}/runs'
        - sh
        - "{{payload.gate}}"
    timeout: 30m
    slack: {{channel: "{channel}"}}
"""
FOLLOWED = {"receive", "advance", "send_statuses", "notify"}
GITHUB_FAILS = [
    *[Fault.status(502), Fault.status(503)] * 4,
    *[Fault.drop_before()] * 4,
    Fault(delay=11, drops=True),
]
SLACK_FAILS = [
    *[Fault.status(503), Fault.slack("fatal_error"), Fault.slack("service_unavailable")] * 3,
    *[Fault.drop_before()] * 4,
    Fault(delay=11, drops=True),
]
# Whose rows are about the present.
_PRESENT = ["workers", "machines", "alembic_version"]
_TIMES = """
select table_name, array_agg(column_name::text) from information_schema.columns
join information_schema.tables using (table_schema, table_name)
where table_schema = 'public' and table_type = 'BASE TABLE' and is_generated = 'NEVER'
    and data_type = 'timestamp with time zone' and table_name <> all(%s)
group by table_name
"""


@dataclass
class OutageStorm(Storm):
    what: str = "github"
    steps: int = 12
    expected: dict[int, Expected] = field(default_factory=dict)
    down: bool = False
    late: bool = False
    undelivered: set[int] = field(default_factory=set)
    # Since the end of the outage: what came first of each, and seconds until all was caught up.
    caught_up: dict[int, float] = field(default_factory=dict)
    took: float = 0.0
    aged: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        github, slack = self.sandbox.github, self.sandbox.slack
        github.rate_limits.per_hour = 1_000_000
        github.webhooks.transit = self._transit
        github.on_status.append(self._status_created)
        slack.on_change.append(self._message_changed)
        names = [f"channel-{number}" for number in range(CHANNELS)]
        self.channels = {name: slack.add_channel(name) for name in names}

    async def run(self) -> list[str]:
        postgres = EmbeddedPostgres(self.folder / "data")
        postgres.start()
        try:
            async with self.sandbox, self._lines(), self._services():
                await self._go_through()
        finally:
            postgres.stop()
        return list(self._what_is_wrong())

    @contextlib.asynccontextmanager
    async def _lines(self) -> AsyncIterator[None]:
        """All that the relay calls, it calls through these."""
        github, slack = self.sandbox.github, self.sandbox.slack
        socket = to_socket(f"{self.folder}/data/postgres/{SOCKET}")
        ends = {"github": to_port(_port(github.url)), "slack": to_port(_port(slack.url))}
        self.lines = {name: Line(end) for name, end in {**ends, "store": socket}.items()}
        async with contextlib.AsyncExitStack() as stack:
            for line in self.lines.values():
                await stack.enter_async_context(line.running())
            github.world.url = f"http://127.0.0.1:{self.lines['github'].port}"
            yield

    def _environ(self, config: Path, port: int) -> dict[str, str]:
        ports = {name: line.port for name, line in self.lines.items()}
        return super()._environ(config, port) | {
            "GITPLOY_SLACK_BASE_URL": f"http://127.0.0.1:{ports['slack']}/api/",
            "GITPLOY_STORE_SOURCE": f"postgresql://postgres@127.0.0.1:{ports['store']}/postgres",
        }

    def _deploy_yml(self) -> str:
        text = f'slack: {{channel: "{self.sandbox.deploys.id}"}}\nenvs:\n'
        for number, channel in enumerate(self.channels.values()):
            text += ENVIRONMENT.format(number=number, folder=self.folder, channel=channel.id)
        return text

    # -- the story ----------------------------------------------------------------------------

    async def _go_through(self) -> None:
        (self.folder / "open").touch()
        for _ in range(self.deployments // 4):
            await self._deploy("open", Expected.RUNS)
        await self._until_over()
        slow = [await self._deploy("later", Expected.RUNS) for _ in range(4)]
        for one in slow:
            await self.sandbox.github.wait_for(one.id, "in_progress")
        await self._begin()
        (self.folder / "later").touch()
        await self._while_down()
        await self._end()
        await self._catch_up()

    async def _while_down(self) -> None:
        """Of GitHub's deliveries the later half does not arrive."""
        each = max(1, self.deployments // self.steps)
        for number in range(self.steps):
            self.late = 2 * number >= self.steps
            for _ in range(each):
                await self._deploy("open", self._expected(LASTS * (1 - number / self.steps)))
                await asyncio.sleep(0.1)
            await asyncio.sleep(self.pause)
            await self._age(LASTS / self.steps)

    def _expected(self, until_end: timedelta) -> Expected:
        """What is known only after more than `recover_within` does not run."""
        if self.what in ("store", "network") and until_end > timedelta(minutes=70):
            return Expected.NEVER
        return Expected.RUNS if self.what == "slack" else Expected.EITHER

    async def _begin(self) -> None:
        self.down = True
        github, slack = self.sandbox.github, self.sandbox.slack
        if self.what == "github":
            github.faults.add_random("*", GITHUB_FAILS, 1.0, self.seed)
        elif self.what == "slack":
            slack.faults.add_random("*", SLACK_FAILS, 1.0, self.seed)
        else:
            await self._set_lines("refuses" if self.what == "store" else "loses")

    async def _end(self) -> None:
        self.down = False
        self.sandbox.github.faults.clear()
        self.sandbox.slack.faults.clear()
        await self._set_lines("works")

    async def _set_lines(self, state: State) -> None:
        for name, line in self.lines.items():
            if self.what in (name, "network"):
                await line.set(state)

    async def _deploy(self, gate: str, expected: Expected) -> Deployment:
        number = len(self.expected)
        deployment = await self.sandbox.github.create_deployment(
            REPOSITORY,
            environment=f"env-{number % CHANNELS}/{number}",
            required_contexts=[],
            payload={"gate": gate},
        )
        self.expected[deployment.id] = expected
        if self.down and (self.late or self.what in ("store", "network")):
            self.undelivered.add(deployment.id)
        return deployment

    def _transit(self, delivery: Delivery) -> Transit:
        lost = self.what == "network" or (self.what == "github" and self.late)
        return Transit(fate="timed out") if self.down and lost else ARRIVES

    # -- time ---------------------------------------------------------------------------------

    async def _age(self, by: timedelta) -> None:
        """What was recorded was recorded that much earlier."""
        # In a thread, as what it waits for may come through a line.
        await asyncio.to_thread(self._age_store, by)
        self._age_github(by)
        self.aged += by

    def _age_store(self, by: timedelta) -> None:
        """What a worker is at stays its own."""
        with psycopg.connect(self.store, autocommit=True) as store:
            store.execute("set session_replication_role = replica")  # also what does not change
            for table, columns in store.execute(_TIMES, [_PRESENT]).fetchall():
                shifted = [sql.SQL("{0} = {0} - %(by)s").format(sql.Identifier(c)) for c in columns]
                where = " where claimed_by is null" if table == "schedule" else ""
                statement = sql.SQL("update {} set {}" + where)
                shift = statement.format(sql.Identifier(table), sql.SQL(", ").join(shifted))
                store.execute(shift, {"by": by})

    def _age_github(self, by: timedelta) -> None:
        world = self.sandbox.github.world
        for deployment in world.deployments.values():
            deployment.created_at -= by
            deployment.updated_at -= by
            for status in deployment.statuses:
                status.created_at -= by
        for delivery in world.deliveries:
            delivery.delivered_at -= by
            if delivery.event == "deployment":
                delivery.body = _aged(delivery.body, by)
            delivery.listed_at = delivery.listed_at and delivery.listed_at - by
        for value, token in world.tokens.items():
            world.tokens[value] = replace(token, expires_at=token.expires_at - by)

    # -- the end ------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Time passes ten times as fast, which leaves the relay less of it."""
        self.aged, self._ended = timedelta(0), time.monotonic()
        await self._until_over(age=timedelta(seconds=5))
        self.took = self._since_end()

    def _since_end(self) -> float:
        return time.monotonic() - self._ended + self.aged.total_seconds()

    async def _until_over(self, age: timedelta = timedelta(0)) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            await asyncio.sleep(0.5)
            if not self._open() and not await asyncio.to_thread(self._jobs):
                return
            if age:
                await self._age(age)

    def _open(self) -> list[int]:
        github = self.sandbox.github
        return [id_ for id_ in self.expected if not FINAL & set(github.states(id_))]

    def _jobs(self) -> list[tuple[object, ...]]:
        """Of deployments."""
        with psycopg.connect(self.store) as connection:
            return connection.execute(
                "select task, subject, detail, attempts, due_at from schedule where task = any(%s)",
                [list(FOLLOWED)],
            ).fetchall()

    def _status_created(self, deployment: Deployment, status: Status) -> None:
        if self.what != "slack":
            self._came(deployment.id)

    def _message_changed(self, _: Channel, message: Message) -> None:
        if message.metadata and self.what in ("slack", "network"):
            self._came(int(key_of(message).partition(":")[0]))

    def _came(self, deployment_id: int) -> None:
        if not self.down and hasattr(self, "_ended"):
            self.caught_up.setdefault(deployment_id, self._since_end())

    def _what_is_wrong(self) -> Iterator[str]:
        yield from all_that_is_wrong(self.sandbox, self.expected, self.runs)
        if left := self._left:
            yield f"not over: {left}"
        if self.took > WITHIN.total_seconds():
            yield f"caught up only {self.took:.0f} s after the end"

    @property
    def _left(self) -> list[int]:
        return self._open()

    @property
    def newest_first(self) -> float:
        """Of all pairs of which both waited for the same: where the newer was first."""
        pairs = [
            (old, new)
            for old, new in combinations(sorted(self.caught_up), 2)
            if (old in self.undelivered) == (new in self.undelivered)
        ]
        first = sum(self.caught_up[new] < self.caught_up[old] for old, new in pairs)
        return first / len(pairs) if pairs else 1.0


def _aged(body: bytes, by: timedelta) -> bytes:
    """Of a deployment: it was made that much earlier."""
    document = json.loads(body)
    at = datetime.fromisoformat(document["deployment"]["created_at"]) - by
    document["deployment"]["created_at"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return encoded(document)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def summary(storm: OutageStorm, faults: Sequence[str]) -> str:
    ended: Mapping[str, int] = {
        state: sum(state in storm.sandbox.github.states(id_) for id_ in storm.expected)
        for state in sorted(FINAL)
    }
    counts = ", ".join(f"{state} {count}" for state, count in ended.items() if count)
    return (
        f"{storm.what}: {len(storm.expected)} deployments ({counts}), seed {storm.seed},"
        f" {len(storm.caught_up)} caught up in {storm.took:.0f} s after 6 h, newest first"
        f" {storm.newest_first:.0%}: {len(faults)} faults"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/storm --outage", description=__doc__)
    parser.add_argument("what", choices=["github", "slack", "store", "network"])
    parser.add_argument("--deployments", type=int, default=200, help="during the outage")
    parser.add_argument("--steps", type=int, default=36, help="in which the six hours pass")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds that each takes")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as folder:
        storm = OutageStorm(
            kills=0, with_tools=False, hurried=False, folder=Path(folder), **vars(parsed)
        )
        faults = asyncio.run(storm.run())
        if faults:
            sys.stderr.write((Path(folder) / "log").read_text()[-20_000:])
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    sys.stdout.write(f"{summary(storm, faults)}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
