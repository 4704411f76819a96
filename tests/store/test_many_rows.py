"""A store in which much waits. What monitors request often must not read all of it for each row."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.web.test_probes import get
from tests.world import QUICK, World, live

# A hundred times what a query takes that reads each row once.
BRIEF = replace(QUICK, statement_within=timedelta(seconds=3))
SENT, REJECTED, JOBS = 3000, 1000, 20_000


@pytest.mark.slow
async def test_workz_responds_while_thousands_of_statuses_and_jobs_wait(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0, timing=BRIEF) as world:
        fill(world)
        status, body = await get(world, "/workz")
    assert (status, body["store"]) == (503, "ok")
    assert f"GitHub lacks the state of {REJECTED} deployments since" in body["github"]
    assert "a job has waited for" in body["queue"]


def fill(world: World) -> None:
    """The newest statuses are rejected; each job has a lock of its own."""
    world.execute(
        "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref,"
        " sha, task, description, creator, production_on_github, transient, created_at, production,"
        " phase) select id, 'acme/shop', 1, '', 1, 'production', 'main', md5(id::text), 'deploy',"
        " '', 'octocat', true, false, now(), true, 'success' from generate_series(1, %s) id",
        SENT + REJECTED,
    )
    world.execute(
        "insert into timeline (deployment_id, at, actor, state, description, counted)"
        " select id, now() - interval '1 hour', 'octocat', 'success', '', true"
        " from deployments, generate_series(1, 3) order by id"
    )
    world.execute(
        "insert into outbox (kind, deployment_id, position, state, error)"
        " select 'status', deployment_id, position, 'sent', '' from timeline"
    )
    world.execute(
        "update outbox set state = 'rejected', error = 'GitHub returned 403'"
        " where deployment_id > %s",
        SENT,
    )
    world.execute(
        "insert into schedule (task, subject, due_at)"
        " select 'advance', id, now() - interval '1 hour' from generate_series(1, %s) id",
        JOBS,
    )
    world.execute("analyze")  # as autovacuum does after a while
