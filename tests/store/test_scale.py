"""What a query reads does not grow with the store: each is made on a filled one, and its plan is
read. `script/bench --scale` measures the same at a million deployments."""

from math import inf

import psycopg

from benchmarks.calls import EXCEPTIONS, Caller, functions
from benchmarks.filling import fill

# Of the repository with the most, which has a fifth of them.
DEPLOYMENTS = 3000
# Rows of what is in flight or was there last; a fifth of the deployments is more.
MOST_ROWS = 550
# What is deleted at once, which is read to be found, to be locked, and to be deleted.
MOST_ROWS_OF_BATCH = 1600
# Read as a whole: they have a row for each process, workspace or channel, or for what is under way.
SMALL = {
    "alembic_version",
    "configs",
    "delivery_scan",
    "machines",
    "oauth_states",
    "rate_limit_slots",
    "rate_limits",
    "slack_installations",
    "workers",
}


async def test_no_query_reads_more_the_more_deployments_there_are(store_url: str) -> None:
    with psycopg.connect(store_url, autocommit=True) as connection:
        fill(connection, DEPLOYMENTS)
    # Small tables are read as a whole where that is quicker; this is about large ones.
    by_index = f"{store_url}&options=-c%20enable_seqscan%3Doff"
    measured = await Caller(by_index).call_all(["no success"])

    called = {one.function for one in measured}
    assert set(functions()) - set(EXCEPTIONS) <= called, "neither measured nor an exception"
    statements = [one.statement for one in measured]
    assert len({statement.text for statement in statements}) > 120
    whole = {one.statement.text: one.function for one in measured if one.statement.scanned - SMALL}
    assert not whole, "an index is missing"
    many = {
        one.function: (one.statement.rows, one.statement.plan)
        for one in measured
        if one.statement.rows > _most_rows(one.function)
    }
    assert not many, "more is read the more there is"


def _most_rows(function: str) -> float:
    # They count what is waited for; it lists the repositories.
    if function in ("schedule.load", "health.queued", "repositories.every"):
        return inf
    # It looks through the newest of each for one person's.
    batch = function.startswith("retention.") or function == "board.lately_active"
    return MOST_ROWS_OF_BATCH if batch else MOST_ROWS
