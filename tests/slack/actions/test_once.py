"""The store accepts the first press of each kind, and only that one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from webhook.deployments.actions import ActionRequest, Reply, Requester
from webhook.deployments.models import GitHubDeployment, Repository
from webhook.errors import Excluded
from webhook.slack.actions import ACTIONS
from webhook.store import actions, deployments, notices, outbox
from webhook.store.actions import ActionRow, Subject
from webhook.store.database import Async, AsyncPool, async_pool, connect

DEPLOYMENT = 7
ADA = Requester("T1", "U1", "ada")
WHAT = Subject(repo="acme/site", repo_id=1, environment="production", ref="main")


@pytest.fixture
async def pool(store_url: str) -> AsyncIterator[AsyncPool]:
    async with async_pool(store_url, 4) as opened:
        async with opened.connection() as connection:
            await create(connection, DEPLOYMENT)
        yield opened


async def create(connection: Async, number: int) -> None:
    created = GitHubDeployment(number, "production", "main", "a" * 40, "deploy", datetime.now(UTC))
    repository = Repository(1, "acme/site", "https://x")
    await deployments.get_or_create(connection, created, repository, 1)


def kept(
    store_url: str,
    key: str,
    kind: str = "retry",
    deployment: int | None = 7,
    who: Requester = ADA,
    group: str | None = None,
) -> int:
    request = ActionRequest(
        key=key,
        kind=kind,
        exclusive_group=ACTIONS[kind].exclusive_group if group is None else group,
        requester=who,
        reply=Reply("https://hooks.slack.com/1"),
        deployment_id=deployment,
    )
    with connect(store_url) as connection:
        action_id = actions.keep(connection, request)
        assert action_id is not None
        assert actions.keep(connection, request) is None  # the same press once more
    return action_id


async def read(connection: Async, action_id: int) -> ActionRow:
    action = await actions.read(connection, action_id)
    assert action
    return action


async def claimed(pool: AsyncPool, action_id: int, lasts: timedelta = timedelta(minutes=1)) -> bool:
    async with pool.connection() as connection, connection.transaction():
        action = await read(connection, action_id)
        entry = await actions.outbox_entry(connection, action)
        if await outbox.claim(connection, entry, lasts) is None:
            return False
        return await actions.plan(connection, action_id, WHAT, "Retry")


async def test_of_two_that_try_at_the_same_moment_one_may(store_url: str, pool: AsyncPool) -> None:
    ids = [kept(store_url, f"press {number}") for number in range(4)]
    tries = await asyncio.gather(*(claimed(pool, one) for one in ids), return_exceptions=True)
    assert tries.count(True) == 1
    assert [type(one) for one in tries if one is not True] == [Excluded] * 3
    winner = ids[tries.index(True)]
    assert not await claimed(pool, winner)  # its call is under way
    with pytest.raises(Excluded):  # two would be deployed
        await claimed(pool, kept(store_url, "another kind", "rollback"))
    async with pool.connection() as connection:
        # As GitHub would not, another one may; as it would, no other.
        assert await actions.give_up(connection, winner, "failed", "409")
        assert not await claimed(pool, winner)  # not even by a worker that comes late
        other = next(one for one in ids if one != winner)
        assert await claimed(pool, other, lasts=timedelta(0))
        assert await claimed(pool, other)  # the outcome of that call is unknown
        assert not await actions.reject(connection, other, "somebody else is at it")
        assert await actions.end(connection, other, "done", "Retry", 8)
        late = kept(store_url, "too late")
        with pytest.raises(Excluded):
            await claimed(pool, late)
        with pytest.raises(Excluded):
            await actions.end(connection, late, "done", "Cancel")
        assert (await read(connection, late)).outcome == "waiting"
        back = kept(store_url, "back", "rollback")
        for one in (late, back):
            found = await actions.excluded_by(connection, await read(connection, one))
            assert found is not None
            assert found.id == other
        assert await actions.excluded_by(connection, await read(connection, other)) is None
        # A Cancel is another matter, and once for itself.
        stop = [kept(store_url, f"stop {number}", "cancel") for number in range(2)]
        assert await actions.end(connection, stop[0], "done", "Cancel")
        with pytest.raises(Excluded):
            await actions.end(connection, stop[1], "done", "Cancel")
        await actions.not_cancelled(connection, DEPLOYMENT, "the tool would not")
        assert await actions.end(connection, stop[1], "done", "Cancel")


async def test_actions_of_different_groups_do_not_exclude_each_other(
    store_url: str, pool: AsyncPool
) -> None:
    ids = [
        kept(store_url, key, group=group)
        for key, group in (("a", "one"), ("b", "two"), ("c", ""), ("d", ""))
    ]
    assert [await claimed(pool, one) for one in ids] == [True] * 4
    with pytest.raises(Excluded):
        await claimed(pool, kept(store_url, "e", group="two"))
    async with pool.connection() as connection:
        ended = [await actions.end(connection, one, "done", "Done", 8 + one) for one in ids]
        assert ended == [True] * 4
        found = [await actions.excluded_by(connection, await read(connection, one)) for one in ids]
        assert found == [None] * 4


async def test_what_ended_stays_as_it_ended(store_url: str, pool: AsyncPool) -> None:
    action_id = kept(store_url, "press")
    async with pool.connection() as connection:
        await actions.set_login(connection, action_id, "octocat")
        assert await claimed(pool, action_id)
        entry = await actions.outbox_entry(connection, await read(connection, action_id))
        await outbox.sent(connection, entry, {"id": "8"})
        await actions.end(connection, action_id, "done", "Retry", 8)
        assert not await actions.give_up(connection, action_id, "failed", "a late job")
        assert not await actions.reject(connection, action_id, "a late job")
        await outbox.release(connection, entry, "waiting", "a late job")
        assert not await claimed(pool, action_id)
        await actions.hold(connection, action_id, WHAT, "a late job")
        ended = await read(connection, action_id)
        assert (ended.outcome, ended.message, ended.created_deployment_id) == ("done", "Retry", 8)
        for new in (8, 9):
            await create(connection, new)
        origins = [await notices.read(connection, new) for new in (8, 9)]
    found = [(one[1].origin_id, one[1].login) for one in origins if one is not None]
    assert found == [(DEPLOYMENT, "octocat"), (0, "")]


async def test_a_request_is_confirmed_once(store_url: str, pool: AsyncPool) -> None:
    waiting = kept(store_url, "command", "deploy", None)
    presses = [kept(store_url, f"yes {number}", "deploy", None) for number in range(3)]
    others = [
        Requester("T1", "U2", "eve"),
        Requester("T2", "U1", "ada"),
        Requester("T1", "T2/U1", "ada"),
    ]
    strangers = [kept(store_url, who.user + who.team, "deploy", None, who) for who in others]

    async def confirm(press: int) -> bool:
        async with pool.connection() as connection:
            return await actions.confirm(connection, await read(connection, press), waiting)

    assert [await confirm(press) for press in strangers] == [False] * 3
    assert sorted(await asyncio.gather(*map(confirm, presses))) == [False, False, True]


async def test_a_deployment_that_nobody_knows_is_no_ones(store_url: str, pool: AsyncPool) -> None:
    action_id = kept(store_url, "press", deployment=999)
    async with pool.connection() as connection:
        action = await read(connection, action_id)
    assert (action.deployment_id, action.repo) == (None, "")
    assert "hooks.slack.com" not in repr(action)
