"""An automatic deployment is created once, wherever the worker that creates it is killed."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY
from tests.engine.by_hand import Engine, Killed, engine_by_hand, killed
from webhook.deployments.models import Repository
from webhook.engine.automatic import ask_all, deploy_automatically, propose
from webhook.engine.pushes import reported
from webhook.errors import Conflict, RetryAt
from webhook.github.commit_events import CommitReported
from webhook.store import automatic
from webhook.store.automatic import Proposal

DEPLOY_YML = "envs: [{name: production, handler: by-hand, auto_deploy_on: ^refs/heads/main$}]"
# Of the places where it waits for the store or GitHub.
EVERY = 5


async def push(engine: Engine, number: int, branch: str = "main", sha: str = "") -> tuple[str, int]:
    """Of a new commit, or of that one."""
    site = engine.sandbox.github.repository(REPOSITORY)
    if sha:
        site.refs[branch] = sha
    sha = sha or site.push(f"Number {number}", ref=branch)
    engine.clock.now += timedelta(seconds=1)
    proposed = await proposal(engine, sha, f"refs/heads/{branch}")
    assert proposed is not None
    assert await proposal(engine, sha, f"refs/heads/{branch}") is None
    return sha, proposed


async def proposal(engine: Engine, sha: str, ref: str) -> int | None:
    proposal = Proposal(
        cause="push",
        repo=REPOSITORY,
        repo_id=engine.sandbox.github.repository(REPOSITORY).id,
        installation_id=engine.sandbox.installation.id,
        environment="production",
        sha=sha,
        ref=ref,
        login="Copilot",
    )
    async with engine.services.pool.connection() as connection:
        return await propose(engine.services, connection, proposal)


async def finish(engine: Engine, automatic_id: int) -> None:
    """As other workers do it later."""
    for _ in range(9):
        try:
            await deploy_automatically(engine.services, automatic_id)
        except RetryAt as later:
            engine.clock.now = max(engine.clock.now, later.at)
            over = "update outbox set claimed_until = %s where state = 'claimed'"
            await engine.execute(over, engine.clock.now - timedelta(hours=12))
        else:
            return
    raise AssertionError("it does not end")


async def test_a_killed_worker_creates_none_twice_and_leaves_none_out(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        github, kills = engine.sandbox.github, 0
        for number, after in enumerate(range(1, 1000, EVERY)):
            sha, automatic_id = await push(engine, number)
            try:
                await killed(deploy_automatically(engine.services, automatic_id), after)
            except Killed:
                kills += 1
            else:
                assert [one.sha for one in github.deployments.values()].count(sha) == 1
                break
            await finish(engine, automatic_id)
            [created] = [one for one in github.deployments.values() if one.sha == sha]
            [row] = await engine.rows(
                "select automatic.*, actions.login as asker from automatic_deployments automatic"
                " join actions on action_id = actions.id where automatic.id = %s",
                automatic_id,
            )
            assert (row["login"], row["asker"]) == ("Copilot", "")  # a bot, as it has no number
            assert (row["state"], row["created_deployment_id"]) == ("created", created.id)
        assert kills >= 6


async def test_two_workers_that_are_at_it_at_once_create_one(
    store_url: str, tmp_path: Path
) -> None:
    """The claim of one may have ended, as its machine stood still."""
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        for number in range(4):
            sha, one = await push(engine, number)
            both = (deploy_automatically(engine.services, one) for _ in range(2))
            ends = await asyncio.gather(*both, return_exceptions=True)
            assert all(end is None or isinstance(end, Conflict | RetryAt) for end in ends)
            await finish(engine, one)
            every = engine.sandbox.github.deployments.values()
            assert [deployment.sha for deployment in every].count(sha) == 1


async def test_a_check_that_is_run_again_while_github_is_unclear_counts(
    store_url: str, tmp_path: Path
) -> None:
    needs = DEPLOY_YML.replace("handler:", "required_contexts: [build], handler:")
    async with engine_by_hand(store_url, tmp_path, needs) as engine:
        github = engine.sandbox.github
        sha, one = await push(engine, 1)

        site = github.repository(REPOSITORY)
        engine.sandbox.installation.permissions |= {"checks": "read", "statuses": "read"}
        event = CommitReported(Repository(site.id, REPOSITORY, ""), sha, "build")

        async def build(state: str) -> None:
            site.set_check(sha, "build", state)
            async with engine.services.pool.connection() as connection:
                await reported(engine.services, connection, event)

        await build("success")
        github.faults.add("POST /repos/acme/site/deployments", Fault.status(502, {}))
        with pytest.raises(RetryAt):
            await deploy_automatically(engine.services, one)
        await build("failure")
        await finish(engine, one)
        [row] = await engine.rows("select state, code from automatic_deployments")
        assert row == {"state": "failed", "code": "checks_failed"}
        await build("success")
        await finish(engine, one)
        assert [one.sha for one in github.deployments.values()] == [sha]


async def test_of_two_that_are_ready_at_once_the_older_is_never_the_newer_deployment(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        deployments = engine.sandbox.github.deployments
        for number in range(6):
            earlier, first = await push(engine, 2 * number)
            later, second = await push(engine, 2 * number + 1)
            order = (first, second) if number % 2 else (second, first)
            await asyncio.gather(*(finish(engine, one) for one in order))
            created = [one.sha for one in deployments.values() if one.sha in (earlier, later)]
            assert created in ([later], [earlier, later])


async def test_that_github_shows_the_branch_as_it_was_does_not_count_at_first(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        site = engine.sandbox.github.repository(REPOSITORY)
        before, _ = await push(engine, 1)
        sha, automatic_id = await push(engine, 2)
        site.refs["main"] = before
        with pytest.raises(RetryAt, match=f"main is at {before[:7]} now") as later:
            await deploy_automatically(engine.services, automatic_id)
        assert later.value.at == engine.clock.now + timedelta(seconds=10)
        site.refs["main"] = sha
        await deploy_automatically(engine.services, automatic_id)
        assert [one.sha for one in engine.sandbox.github.deployments.values()] == [sha]
        # Of a push whose event was lost nobody knows. It takes nothing away.
        third, automatic_id = await push(engine, 3)
        site.push("Its event is lost")
        await finish(engine, automatic_id)
        assert [one.sha for one in engine.sandbox.github.deployments.values()] == [sha, third]


async def test_a_commit_is_pushed_again_until_it_is_created(store_url: str, tmp_path: Path) -> None:
    every = DEPLOY_YML.replace("^refs/heads/main$", "^refs/heads/")
    async with engine_by_hand(store_url, tmp_path, every) as engine:
        site, pool = engine.sandbox.github.repository(REPOSITORY), engine.services.pool
        sha, one = await push(engine, 1, "topic")
        async with pool.connection() as connection:
            stale = await automatic.read(connection, one)
        assert stale is not None
        site.delete_branch("topic")
        # While it waits, and by a worker that does not know of it yet.
        assert await push(engine, 2, "main", sha) == (sha, one)
        async with pool.connection() as connection:
            assert not await automatic.end(connection, stale, "superseded", "gone", stale.at)
            await automatic.forget(connection, stale)
            assert await automatic.begin(connection, stale) is None
        # Once it was superseded, too.
        site.delete_branch("main")
        await finish(engine, one)
        [row] = await engine.rows("select state, reason from automatic_deployments")
        assert row == {"state": "superseded", "reason": "the branch main is gone"}
        assert await push(engine, 3, "release", sha) == (sha, one)
        await finish(engine, one)
        engine.clock.now += timedelta(seconds=1)
        assert await proposal(engine, sha, "refs/heads/other") is None
        assert [one.sha for one in engine.sandbox.github.deployments.values()] == [sha]


async def test_a_tag_that_is_gone_or_elsewhere_is_not_deployed(
    store_url: str, tmp_path: Path
) -> None:
    tags = DEPLOY_YML.replace("^refs/heads/main$", "^refs/tags/")
    async with engine_by_hand(store_url, tmp_path, tags) as engine:
        site = engine.sandbox.github.repository(REPOSITORY)
        reasons = []
        for number, elsewhere in enumerate(("", "elsewhere")):
            sha = site.push(f"Number {number}")
            one = await proposal(engine, sha, f"refs/tags/v{number}")
            assert one is not None
            if elsewhere:
                site.refs[f"v{number}"] = site.push("Elsewhere")
            await finish(engine, one)
            query = "select state, reason from automatic_deployments where id = %s"
            reasons += [list(row.values()) for row in await engine.rows(query, one)]
        moved = f"v1 is at {site.refs['v1'][:7]} now"
        assert reasons == [["superseded", "the tag v0 is gone"], ["superseded", moved]]


async def test_a_promotion_soaks_for_as_long_as_deploy_yml_says_now(
    store_url: str, tmp_path: Path
) -> None:
    chain = """
envs:
  - {name: staging, handler: by-hand}
  - {name: production, handler: by-hand, after: staging, soak: 12h, promote: auto}
"""
    async with engine_by_hand(store_url, tmp_path, chain) as engine:
        staging = await engine.ask(REPOSITORY, "staging")
        await engine.settle()
        await engine.end(staging.id)
        await engine.settle()
        [row] = await engine.rows("select id from automatic_deployments where state = 'waiting'")
        with pytest.raises(RetryAt, match="Soaks in staging for 12h") as wait:
            await deploy_automatically(engine.services, row["id"])
        assert wait.value.at == engine.clock.now + timedelta(hours=12)
        await engine.execute("delete from schedule")
        await ask_all(engine.services)  # as a worker does it that begins
        assert await engine.rows("select from schedule where task = 'deploy_automatically'")
        sooner = engine.load(chain.replace("12h", "30m"))
        engine.clock.now += timedelta(minutes=31)
        await deploy_automatically(replace(engine.services, config=sooner), row["id"])
        [new] = [o for o in engine.sandbox.github.deployments.values() if o.id != staging.id]
        assert (new.environment, new.sha) == ("production", staging.sha)


async def test_events_of_pushes_may_come_in_any_order(store_url: str, tmp_path: Path) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        site = engine.sandbox.github.repository(REPOSITORY)
        before, after = site.push("Before"), site.push("After")
        proposed = []
        for sha in (after, before):
            engine.clock.now += timedelta(seconds=1)
            one = await proposal(engine, sha, "refs/heads/main")
            assert one is not None
            proposed.append(one)
        for one in reversed(proposed):
            await finish(engine, one)
        assert [one.sha for one in engine.sandbox.github.deployments.values()] == [after]


async def test_a_newer_one_waits_for_what_is_being_created(store_url: str, tmp_path: Path) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        create = "POST /repos/acme/site/deployments"
        engine.sandbox.github.faults.add(create, Fault.status(502, {}))
        earlier, first = await push(engine, 1)
        with pytest.raises(RetryAt):
            await deploy_automatically(engine.services, first)
        later, second = await push(engine, 2)
        with pytest.raises(RetryAt, match=f"main @ {earlier[:7]} is being created"):
            await deploy_automatically(engine.services, second)
        await engine.execute("delete from schedule")
        await finish(engine, first)
        asked = "select subject from schedule where task = 'deploy_automatically'"
        assert await engine.rows(asked) == [{"subject": second}]
        await finish(engine, second)
        deployments = engine.sandbox.github.deployments
        assert [one.sha for one in deployments.values()] == [earlier, later]

        # Also where that ends without a deployment.
        engine.sandbox.github.faults.add(create, Fault.status(502, {}))
        _, third = await push(engine, 3)
        with pytest.raises(RetryAt):
            await deploy_automatically(engine.services, third)
        newest, fourth = await push(engine, 4)
        await engine.execute("delete from schedule")
        engine.sandbox.github.faults.add(create, Fault.status(409, {"message": "Conflict"}))
        await finish(engine, third)
        assert await engine.rows(asked) == [{"subject": fourth}]
        # What somebody has deployed meanwhile is there already.
        by_hand = await engine.ask(REPOSITORY, "production", newest)
        await engine.settle()
        await finish(engine, fourth)
        query = "select state, reason from automatic_deployments where id = any(%s) order by id"
        ends = [(row["state"], row["reason"]) for row in await engine.rows(query, [third, fourth])]
        there = f"deployment {by_hand.id} is of this commit already"
        assert ends == [
            ("failed", "GitHub refused it: GitHub returned 409: Conflict"),
            ("skipped", there),
        ]
        assert len(deployments) == 3
