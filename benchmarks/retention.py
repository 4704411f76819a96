"""A store that lives through days of deployments, while what is older than a day is deleted: its
size after each day.

script/bench --retention [--deployments 20000] [--days 4] [--also SQL] [--json]

A day takes a minute or two here, so autovacuum begins as often and works as fast as it would in
the hours of a real one. The deletes are those of a worker, with their pauses, which are four times
as long as the work: they go on for some minutes after a day of 20,000 deployments.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import structlog
from rich.console import Console
from rich.table import Table

from webhook.engine.retention import Retention
from webhook.engine.services import Services
from webhook.settings import Retention as Keep
from webhook.store import database
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate
from webhook.timing import DEFAULT_TIMING

DAY = timedelta(days=1)
FIRST_DAY = datetime(2030, 1, 1, tzinfo=UTC)
AT_ONCE = 100
# Of a deployment: what GitHub delivers, and what is sent.
DELIVERIES, BODY = 5, 2200
OUTPUT = 20_000
ENVIRONMENTS = 40
AS_FAST_AS_A_DAY = ("autovacuum_naptime = '1s'", "autovacuum_vacuum_cost_delay = 0")

# The statements of a deployment's life, as the relay makes them; `ids` are those of a batch.
LIFE = (
    "insert into deliveries (hook_id, guid, event, body, received_at)"
    " select 1, gen_random_uuid()::text, 'deployment', %(body)b, %(at)s"
    " from unnest(%(ids)s::bigint[]), generate_series(1, %(deliveries)s)",
    "insert into schedule (subject, task, detail)"
    " select id, task, detail from unnest(%(ids)s::bigint[]) id, (values ('receive', ''),"
    " ('advance', ''), ('send_statuses', ''), ('notify', 'slack:#deploys')) it (task, detail)",
    "update schedule set claimed_by = 'worker', due_at = now() + interval '30 seconds'"
    " where subject = any(%(ids)s)",
    "delete from schedule where subject = any(%(ids)s) and task = 'receive'",
    "update deliveries set outcome = 'done', deployment_id = 1"
    " where id > (select max(id) from deliveries)"
    " - %(deliveries)s * cardinality(%(ids)s::bigint[])",
    "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref, sha,"
    " task, payload, description, creator, production_on_github, transient, created_at, production,"
    " phase, phase_at, requested_at)"
    " select id, 'acme/api', 1, 'https://github.com/acme/api', 1, 'env-' || id %% %(envs)s, 'main',"
    " md5(id::text), 'deploy', '{}', '', 'octocat', false, false, %(at)s, false, 'queued', %(at)s,"
    " %(at)s from unnest(%(ids)s::bigint[]) id",
    "update deployments set handler = 'command', started_at = %(at)s, started_on = 'm',"
    " deadline = %(at)s, version = version + 1 where id = any(%(ids)s)",
    "update deployments set start_claimed_until = %(at)s, version = version + 1"
    " where id = any(%(ids)s)",
    """update deployments set run = '{"id": "1", "state": "in_progress"}', version = version + 1
        where id = any(%(ids)s)""",
    "update deployments set phase = 'in_progress', phase_at = %(at)s, version = version + 1"
    " where id = any(%(ids)s)",
    "update deployments set changelog = '{}' where id = any(%(ids)s)",
    "update schedule set claimed_by = null, urgent = false, due_at = now() + interval '1 minute'"
    " where subject = any(%(ids)s)",
    "update schedule set claimed_by = 'worker', due_at = now() + interval '30 seconds'"
    " where subject = any(%(ids)s)",
    "with added as (insert into timeline (deployment_id, at, actor, state, description, counted)"
    " select id, %(at)s, 'relay', state, 'a description', true from unnest(%(ids)s::bigint[]) id,"
    " unnest(array['queued', 'in_progress', 'success']) state returning deployment_id, position)"
    " insert into outbox (kind, deployment_id, position)"
    " select 'status', deployment_id, position from added",
    "insert into outbox (kind, deployment_id, destination, purpose)"
    " select 'message', id, 'slack:#deploys', purpose from unnest(%(ids)s::bigint[]) id,"
    " unnest(array['main', 'reply']) purpose",
    "update outbox set state = 'claimed', attempts = 1, claimed_until = %(at)s"
    " where deployment_id = any(%(ids)s)",
    """update outbox set state = 'sent', ref = '{"ts": "1.1", "channel_id": "C1"}', digest = 'd'
        where deployment_id = any(%(ids)s)""",
    "update timeline set github_id = id where deployment_id = any(%(ids)s)",
    "update outbox set digest = 'e', edits = edits + 1"
    " where deployment_id = any(%(ids)s) and purpose = 'main'",
    "insert into output select id, 0, %(output)b from unnest(%(ids)s::bigint[]) id",
    """update deployments set run = '{"id": "1", "state": "success"}', phase = 'success',
        ended_at = %(at)s, phase_at = %(at)s, version = version + 1 where id = any(%(ids)s)""",
    "delete from schedule where subject = any(%(ids)s)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """After a day, in seconds and bytes. `deleting`: with its pauses; `after`: of that, what came
    after the day. `sizes`: of each table, with indexes and TOAST."""

    day: int
    seconds: float
    deleting: float
    after: float
    rows: int
    wal: int
    sizes: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.sizes.values())


class Days:
    """`now` is what the store's rows and the deletes take for the time."""

    def __init__(self, url: str, deployments: int) -> None:
        self._url = url
        self._count = deployments
        self._next_id = 1
        self.now = FIRST_DAY

    async def live(self, day: int) -> None:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await self._live(connection, day)

    async def _live(self, connection: psycopg.AsyncConnection[Any], day: int) -> None:
        body, output = os.urandom(BODY), os.urandom(OUTPUT // 2) + bytes(OUTPUT // 2)
        for made in range(0, self._count, AT_ONCE):
            self.now = FIRST_DAY + DAY * (day + made / self._count)
            ids = list(range(self._next_id, self._next_id + AT_ONCE))
            self._next_id += AT_ONCE
            values = {"ids": ids, "at": self.now, "body": body, "output": output}
            for statement in LIFE:
                await connection.execute(
                    statement, values | {"deliveries": DELIVERIES, "envs": ENVIRONMENTS}
                )

    async def delete(self, lived: asyncio.Event) -> tuple[float, float]:
        """As a worker does, until nothing is left to delete after the day; the seconds that it
        took, and those after the day."""
        async with database.async_pool(self._url, 2) as pool:
            services = SimpleNamespace(
                pool=pool,
                keep=Keep.model_construct(deliveries=DAY, output=DAY / 2, deployments=DAY),
                clock=lambda: self.now,
                timing=replace(DEFAULT_TIMING, retention_lasts=timedelta(seconds=5)),
                handlers={},
            )
            retention = Retention(cast("Services", services))
            spent, after = 0.0, 0.0
            while True:
                began, over = time.perf_counter(), lived.is_set()
                deleted = await retention.run()
                took = time.perf_counter() - began
                spent, after = spent + took, after + took * over
                if over and not deleted:
                    return spent, after
                await asyncio.sleep(0.3)


async def live_through(days: Days, url: str, day: int) -> Result:
    lived = asyncio.Event()
    deleting = asyncio.create_task(days.delete(lived))
    began = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        wal = _wal(connection)
        await days.live(day)
        took = time.perf_counter() - began
        lived.set()
        spent, after = await deleting
        await asyncio.sleep(4)  # autovacuum comes once more
        written = _wal(connection) - wal
        sizes = dict(_sizes(connection))
        rows = connection.execute("select count(*) from deliveries").fetchone()
    return Result(
        day=day + 1,
        seconds=took,
        deleting=spent,
        after=after,
        rows=rows[0] if rows else 0,
        wal=written,
        sizes=sizes,
    )


def _day(days: Days, url: str, day: int) -> Result:
    result = asyncio.run(live_through(days, url, day))
    Console(stderr=True).print(
        f"day {result.day}: {result.total / 1e6:,.0f} MB; lived in {result.seconds:,.0f} s, and"
        f" {result.after:,.0f} s later all that was to be deleted is"
    )
    return result


def _configure(url: str, also: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in AS_FAST_AS_A_DAY:
            connection.execute(f"alter system set {setting}")
        connection.execute("select pg_reload_conf()")
        if also:
            connection.execute(also)


def _wal(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select pg_current_wal_lsn() - '0/0'").fetchone()
    return int(row[0]) if row else 0


def _sizes(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, int]]:
    yield from connection.execute(
        "select relname, pg_total_relation_size(oid) from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind = 'r' order by 2 desc"
    )


def _updates(url: str) -> str:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select relname, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables"
            " where n_tup_upd > 0 order by 2 desc"
        ).fetchall()
    return ", ".join(f"{name} {hot / updated:.0%} of {updated:,}" for name, updated, hot in found)


def report(results: list[Result]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("MB after day", *(str(result.day) for result in results)):
        table.add_column(column, justify="right")
    for name in list(results[-1].sizes)[:8]:
        table.add_row(name, *(f"{result.sizes[name] / 1e6:,.1f}" for result in results))
    table.add_row("all", *(f"{result.total / 1e6:,.1f}" for result in results))
    table.add_row("deliveries kept", *(f"{result.rows:,}" for result in results))
    table.add_row("MB of WAL", *(f"{result.wal / 1e6:,.0f}" for result in results))
    table.add_row("seconds", *(f"{result.seconds:,.0f}" for result in results))
    table.add_row("deleting", *(f"{result.deleting:,.0f}" for result in results))
    table.add_row("of that, after", *(f"{result.after:,.0f}" for result in results))
    Console().print(table)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="script/bench --retention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--deployments", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--also", default="", help="run after the migration, to compare")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        url = postgres.start()
        try:
            migrate(url)
            _configure(url, given.also)
            days = Days(url, given.deployments)
            results = [_day(days, url, day) for day in range(given.days)]
            updates = _updates(url)
        finally:
            postgres.stop()
    growth = results[-1].total / results[-2].total - 1
    if given.json:
        document = [{"day": one.day, "bytes": one.total, "seconds": one.seconds} for one in results]
        print(json.dumps({"days": document, "growth": growth}))  # noqa: T201
        return
    report(results)
    Console().print("Updates, and those that write no index:", updates)
    Console().print(f"The last day changed the size by {growth:+.1%}.")


if __name__ == "__main__":
    main(sys.argv[1:])
