"""How each query grows with the store: from a thousand deployments to a million.

script/bench --scale [--sizes 1000,100000,1000000] [--repeat 10] [--stores FOLDER] [--json]

Every function that takes a connection is called with what a filled store holds; each statement of
it is explained and executed. A query is flat if neither its time nor the pages that it touches more
than double from the smallest size to the largest. Exits with 1 where one does.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from benchmarks.calls import EXCEPTIONS, GROWS, Caller, Measured
from benchmarks.filling import fill
from benchmarks.plans import TIME_FLOOR, Statement
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

# Pages that take about as long as TIME_FLOOR. Below it nothing counts as growth: noise, and levels
# that an index gains.
BUFFERS_FLOOR = 250
MOST_GROWTH = 2
# Nothing outlives the measurement, so that nothing waits for the disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "'4GB'",
    "maintenance_work_mem": "'256MB'",
}
_SIZES = """
select relname as table, pg_table_size(oid) as bytes, pg_indexes_size(oid) as indexes
from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
order by pg_total_relation_size(oid) desc limit 12
"""
_UNUSED = """
select indexrelname as index, pg_relation_size(indexrelid) as bytes from pg_stat_user_indexes
join pg_index using (indexrelid)
where idx_scan = 0 and not indisunique order by 1
"""
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Store:
    """What was measured of one size. `seconds`: to fill it. `tables`: the largest."""

    size: int
    seconds: float
    bytes: int
    tables: list[tuple[str, int, int]]
    unused: list[str]
    worst: dict[_Key, Measured]


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one statement, whose worst case of each size counts."""

    function: str
    text: str
    sizes: list[Statement]
    case: str

    @property
    def time(self) -> float:
        return _ratio([one.milliseconds for one in self.sizes], TIME_FLOOR)

    @property
    def buffers(self) -> float:
        return _ratio([float(one.buffers) for one in self.sizes], BUFFERS_FLOOR)

    @property
    def flat(self) -> bool:
        return self.function in GROWS or max(self.time, self.buffers) <= MOST_GROWTH


def _ratio(values: Sequence[float], floor: float) -> float:
    return max(values[-1], floor) / max(values[0], floor)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    postgres = EmbeddedPostgres(folder)
    url = postgres.start()
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"alter system set {name} = {value}")
            connection.execute("select pg_reload_conf()")
        yield url
    finally:
        postgres.stop()


def measure(folder: Path, size: int, repeat: int) -> Store:
    """In a store that is filled, unless it is already."""
    with server(folder) as url:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            begun = time.monotonic()
            if not connection.execute("select 1 from deployments limit 1").fetchone():
                fill(connection, size)
            seconds = time.monotonic() - begun
            connection.execute("select pg_stat_reset()")
            measured = asyncio.run(Caller(url, repeat).call_all())
            [[size_on_disk]] = connection.execute(
                "select pg_database_size(current_database())"
            ).fetchall()
            return Store(
                size=size,
                seconds=seconds,
                bytes=size_on_disk,
                tables=connection.execute(_SIZES).fetchall(),
                unused=[name for name, _ in connection.execute(_UNUSED).fetchall()],
                worst=_worst(measured),
            )


def _worst(measured: Sequence[Measured]) -> dict[_Key, Measured]:
    """Of all deployments that a function was called about, the one that took longest."""
    worst: dict[_Key, Measured] = {}
    for one in measured:
        key = one.function, one.statement.text
        known = worst.get(key)
        if known is None or _cost(one) > _cost(known):
            worst[key] = one
    return worst


def _cost(one: Measured) -> tuple[int, float]:
    return one.statement.buffers, one.statement.milliseconds


def grown(stores: Sequence[Store]) -> list[Growth]:
    """The worst first."""
    everywhere = [
        Growth(
            function=one.function,
            text=one.statement.text,
            sizes=[store.worst[key].statement for store in stores if key in store.worst],
            case=one.case,
        )
        for key, one in stores[-1].worst.items()
    ]
    return sorted(everywhere, key=lambda one: max(one.time, one.buffers), reverse=True)


def print_table(stores: Sequence[Store], growths: Sequence[Growth], everything: bool) -> None:
    """For people; below each line, how the largest store was read."""
    console = Console(soft_wrap=True, highlight=False)
    sizes = "".join(f"{f'{store.size:,}':>20}" for store in stores)
    console.print(f"{'ms / pages':46}{sizes}   grows")
    for one in growths:
        if everything or not one.flat or one.function in GROWS:
            figures = "".join(f"{size.milliseconds:12,.2f}{size.buffers:8,}" for size in one.sizes)
            factor = max(one.time, one.buffers)
            console.print(f"{f'{one.function} ({one.case})':46}{figures}{factor:8,.1f}")
            console.print(f"    {one.sizes[-1].plan}", style="dim")
    for store in stores:
        console.print(
            f"{store.size:,} deployments: {store.bytes / 1e6:,.0f} MB, filled in"
            f" {store.seconds:,.0f} s; indexes that nothing used: {', '.join(store.unused) or '-'}"
        )
    for name, reason in GROWS.items():
        console.print(f"{name} grows {reason}.")
    not_flat = sum(not one.flat for one in growths)
    console.print(f"{len(growths)} statements, of which {not_flat} are not flat.")


def as_json(stores: Sequence[Store], growths: Sequence[Growth]) -> dict[str, Any]:
    return {
        "stores": [
            {
                "deployments": store.size,
                "filled_in_s": round(store.seconds, 1),
                "bytes": store.bytes,
                "tables": {name: [size, indexes] for name, size, indexes in store.tables},
                "unused_indexes": store.unused,
            }
            for store in stores
        ],
        "exceptions": dict(EXCEPTIONS),
        "grows_with_something_else": dict(GROWS),
        "statements": [
            {
                "function": one.function,
                "statement": one.text,
                "worst": one.case,
                "ms": [round(size.milliseconds, 3) for size in one.sizes],
                "buffers": [size.buffers for size in one.sizes],
                "rows": [size.rows for size in one.sizes],
                "time_grows": round(one.time, 2),
                "buffers_grow": round(one.buffers, 2),
                "flat": one.flat,
                "plan": one.sizes[-1].plan,
            }
            for one in growths
        ],
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="script/bench --scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", default="1000,100000,1000000", help="numbers of deployments")
    parser.add_argument("--repeat", type=int, default=10, help="the quickest of so many counts")
    parser.add_argument("--stores", type=Path, help="keep the stores here, to use them again")
    parser.add_argument("--all", action="store_true", help="list what is flat too")
    parser.add_argument("--json", action="store_true", help="print one object")
    given = parser.parse_args(arguments)
    folder = given.stores or Path(tempfile.mkdtemp(prefix="relay-scale-"))
    try:
        sizes = [int(size) for size in given.sizes.split(",")]
        stores = [measure(folder / str(size), size, given.repeat) for size in sizes]
    finally:
        if given.stores is None:
            shutil.rmtree(folder)
    growths = grown(stores)
    if given.json:
        print(json.dumps(as_json(stores, growths), indent=1))  # noqa: T201 - for programs
    else:
        print_table(stores, growths, given.all)
    sys.exit(any(not one.flat for one in growths))


if __name__ == "__main__":
    main(sys.argv[1:])
