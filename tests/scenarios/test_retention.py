"""What is kept, and for how long; all else is deleted."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.world import World, until

SOON = timedelta(milliseconds=50)
OF_A_DEPLOYMENT = ("timeline", "outbox", "output", "actions")


def ids(world: World) -> set[int]:
    return {row["id"] for row in world.rows("select id from deployments")}


def deployments_in(world: World, table: str) -> set[int]:
    return {row["deployment_id"] for row in world.rows(f"select deployment_id from {table}")}


def run_directories(world: World) -> set[int]:
    return {int(path.name) for path in (world.setup.settings.data_dir / "runs").glob("[0-9]*")}


async def successes(world: World, *shas: str) -> list[int]:
    """Deployments to production with those commits, in order."""
    made = [(await world.deploy()).id for _ in shas]
    for id_, sha in zip(made, shas, strict=True):
        await world.phase(id_, "success", "inactive")
        world.execute("update deployments set sha = %s where id = %s", sha, id_)
    return made


def age(world: World, days: int) -> None:
    """All deployments and run directories, also what is under way."""
    world.execute(
        "update deployments set created_at = created_at - age, phase_at = phase_at - age,"
        " ended_at = ended_at - age from (select %s * interval '1 day' as age) given",
        days,
    )
    for path in (world.setup.settings.data_dir / "runs").iterdir():
        os.utime(path, (0, 0))


@pytest.mark.slow
async def test_deployments_are_kept_as_long_as_anything_needs_them(
    world: World, tmp_path: Path
) -> None:
    first, target, repeated, last = await successes(world, "a", "b", "c", "c")
    await world.idle()
    slow = (await world.begin_slow(tmp_path / "gate")).id
    unsent = "update outbox set state = %s where deployment_id = %s and kind = 'message'"
    world.execute(unsent, "waiting", repeated)
    world.execute(
        "insert into repository_files (repo_id, ref, state, read_at)"
        " select repo_id, unnest(array['HEAD', 'a', 'b', 'c']), 'present', now()"
        " from deployments where id = %s",
        target,
    )
    age(world, days=366)
    async with world.timed(retention_interval=SOON):
        await until(lambda: first not in ids(world) or None)
        await until(lambda: run_directories(world) == {slow} or None)
        assert ids(world) == {slow, target, repeated, last}
        world.execute(unsent, "sent", repeated)
        await until(lambda: repeated not in ids(world) or None)
    assert await _deleted(world, repeated)
    assert ids(world) == {slow, target, last}
    kept = world.rows("select ref from repository_files order by ref")
    assert [one["ref"] for one in kept] == ["HEAD", "b", "c"]
    for table in OF_A_DEPLOYMENT:
        assert deployments_in(world, table) <= {slow, target, last}, table
    (tmp_path / "gate").touch()
    await world.phase(slow, "success")


async def _deleted(world: World, deployment_id: int) -> bool:
    """Whether its page says so."""
    url = world.github.statuses(deployment_id)[-1].log_url
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        page = await response.text()
    return response.status == 404 and "are deleted 365 days after their end" in page


async def test_the_page_says_that_the_output_was_deleted(world: World) -> None:
    deployment = await world.deployed()
    assert "deploying main" in await world.page(deployment.id)
    with world.clock.moved(timedelta(days=89)):
        async with world.timed(retention_interval=SOON):
            await until(lambda: not run_directories(world) or None)
            assert "deploying main" in await world.page(deployment.id)
            world.clock.ahead = timedelta(days=91)
            await until(lambda: not world.rows("select 1 from output") or None)
            page = await world.page(deployment.id)
    assert "Output is deleted 90 days after the end" in page


async def test_deliveries_are_deleted_after_a_while_once_they_were_processed(
    world: World,
) -> None:
    await world.github.ping()
    await world.github.deliver("star", {"action": "created"})
    await world.idle()
    world.execute("update deliveries set outcome = null where event = 'ping'")
    world.execute(
        "insert into delivery_requests (key, kind, login, user_id, state, ended_at)"
        " values ('over', 'replay', 'octocat', 1, 'done', now()),"
        " ('open', 'replay', 'octocat', 1, 'waiting', null)"
    )
    with world.clock.moved(timedelta(days=31)):
        async with world.timed(retention_interval=SOON):

            def events() -> Any:
                found = [row["event"] for row in world.rows("select event from deliveries")]
                return found if len(found) == 1 else None

            assert await until(events) == ["ping"]

            def requests() -> Any:
                found = [row["key"] for row in world.rows("select key from delivery_requests")]
                return found if len(found) == 1 else None

            assert await until(requests) == ["open"]
