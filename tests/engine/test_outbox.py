"""Each write to another service happens once, wherever workers are killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

import pytest
from psycopg import AsyncCursor

from webhook.deployments.models import GitHubDeployment, Repository
from webhook.engine.outbox import Outbox, Policy, Write
from webhook.errors import Excluded, Rejected, RelayError, RetryAt, UnknownOutcome
from webhook.rejections import RejectionPolicy
from webhook.store import deployments, outbox, timeline
from webhook.store.database import Async, AsyncPool, async_pool
from webhook.store.outbox import Entry, Ref, State
from webhook.store.timeline import NewEntry
from webhook.timing import utc_now

DEPLOYMENT = 7
MINUTE = timedelta(minutes=1)
ONCE = Policy(call=MINUTE, lookups=[timedelta(0)])
DOUBT = UnknownOutcome("no clear response")


def _seconds(*values: float) -> list[timedelta]:
    return [timedelta(seconds=value) for value in values]


@dataclass
class OtherSide:
    """Stores what it is sent. `errors_after_storing` and `rejects`: raised instead of the next
    responses, with and without storing. `shows_late`: so many lookups find nothing."""

    has: list[str] = field(default_factory=list)
    errors_after_storing: list[RelayError] = field(default_factory=list)
    rejects: list[RelayError] = field(default_factory=list)
    shows_late: int = 0
    lookups: int = 0
    killed: bool = False


@dataclass
class Sending(Write):
    """`content`: by which it is found again."""

    there: OtherSide
    content: str = "hello"
    current: bool = True
    unready: RelayError | None = None
    may_be_found: bool = True
    rejections: RejectionPolicy | None = None
    kept: Ref | None = None

    async def prepare(self) -> bool:
        if self.unready is not None:
            raise self.unready
        return self.current

    async def find(self, entry: Entry) -> Ref | None:
        self.there.lookups += 1
        if self.there.rejects:
            raise self.there.rejects.pop(0)
        if self.there.lookups <= self.there.shows_late or self.content not in self.there.has:
            return None
        return {"id": str(self.there.has.index(self.content))}

    async def findable(self) -> bool:
        return self.may_be_found

    async def send(self) -> Ref:
        await asyncio.sleep(0)
        if self.there.rejects:
            raise self.there.rejects.pop(0)
        self.there.has.append(self.content)
        if self.there.killed:
            raise asyncio.CancelledError
        if self.there.errors_after_storing:
            raise self.there.errors_after_storing.pop(0)
        return {"id": str(len(self.there.has) - 1)}

    async def record(self, connection: Async, entry: Entry, ref: Ref, digest: str) -> Entry:
        self.kept = ref
        return await outbox.sent(connection, entry, ref, digest)

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        return self.rejections.retry_at(since, now) if self.rejections else None


@dataclass
class Store:
    pool: AsyncPool

    async def entry(self) -> Entry:
        async with self.pool.connection() as connection:
            return await outbox.entry_of(connection, "message", DEPLOYMENT, destination="#deploys")

    async def deliver(self, write: Write, policy: Policy = ONCE) -> Entry:
        """As a worker does that reads the entry now."""
        return await self.as_read(await self.entry(), write, policy)

    async def as_read(self, entry: Entry, write: Write, policy: Policy = ONCE) -> Entry:
        return await Outbox(self.pool, utc_now).deliver(entry, write, policy)

    async def expire(self) -> None:
        """As if every call had started too long ago to be in progress still."""
        async with self.pool.connection() as connection:
            await connection.execute("update outbox set claimed_until = now()")


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    created = GitHubDeployment(DEPLOYMENT, "production", "main", "a" * 40, "deploy", utc_now())
    async with async_pool(store_url, 4) as pool:
        async with pool.connection() as connection:
            await deployments.get_or_create(
                connection, created, Repository(1, "acme/site", "https://x"), 1
            )
        yield Store(pool)


@pytest.fixture
def there() -> OtherSide:
    return OtherSide()


async def test_it_is_sent_once_and_where_it_is_stays_known(store: Store, there: OtherSide) -> None:
    write = Sending(there)
    sent = await store.deliver(write)
    assert (sent.state, sent.ref, sent.attempts) == ("sent", {"id": "0"}, 1)
    assert write.kept == sent.ref
    assert (await store.deliver(Sending(there))).ref == sent.ref
    assert there.has == ["hello"]


async def test_of_two_workers_at_the_same_moment_one_sends(store: Store, there: OtherSide) -> None:
    entry = await store.entry()
    ends = await asyncio.gather(
        *(store.as_read(entry, Sending(there)) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(end).__name__ for end in ends) == ["Entry", "RetryAt", "RetryAt", "RetryAt"]
    assert there.has == ["hello"]


async def test_a_call_that_may_be_under_way_is_waited_for(store: Store, there: OtherSide) -> None:
    there.killed = True
    with pytest.raises(asyncio.CancelledError):
        await store.deliver(Sending(there))
    claimed = await store.entry()
    assert claimed.state == "claimed"
    with pytest.raises(RetryAt) as waits:
        await store.deliver(Sending(there))
    assert waits.value.at == claimed.claimed_until
    assert there.lookups == 0


async def test_what_a_killed_worker_sent_is_found_again(store: Store, there: OtherSide) -> None:
    there.killed = True
    with suppress(asyncio.CancelledError):
        await store.deliver(Sending(there))
    await store.expire()
    write = Sending(there)
    assert (await store.deliver(write)).ref == write.kept == {"id": "0"}
    assert there.has == ["hello"]


async def test_what_nobody_finds_is_sent_again(store: Store, there: OtherSide) -> None:
    there.errors_after_storing = [DOUBT]
    with pytest.raises(RetryAt):
        await store.deliver(Sending(there))
    there.has.clear()  # it had not got through
    assert (await store.deliver(Sending(there))).attempts == 2
    assert (there.has, there.lookups) == (["hello"], 1)


async def test_what_shows_late_is_looked_for_several_times(store: Store, there: OtherSide) -> None:
    policy = Policy(call=MINUTE, lookups=_seconds(0, 10, 40))
    there.errors_after_storing, there.shows_late = [DOUBT], 2
    with pytest.raises(RetryAt):
        await store.deliver(Sending(there), policy)
    for rest in (10, 30):
        with pytest.raises(RetryAt) as waits:
            await store.deliver(Sending(there), policy)
        left = waits.value.at - utc_now()
        assert timedelta(seconds=rest - 2) < left <= timedelta(seconds=rest)
        await store.expire()
    assert (await store.deliver(Sending(there), policy)).state == "sent"
    assert there.has == ["hello"]


async def test_a_worker_with_an_outdated_search_does_not_send(
    store: Store, there: OtherSide
) -> None:
    """Its lookup misses the other one's call, which has ended by then."""
    there.errors_after_storing = [DOUBT]
    with suppress(RetryAt):
        await store.deliver(Sending(there))
    there.has.clear()
    read_early = await store.entry()
    await store.deliver(Sending(there), Policy(call=timedelta(0), lookups=[timedelta(0)]))
    with suppress(RetryAt):
        await store.as_read(read_early, Sending(there, content="hello, from the slow one"))
    assert there.has == ["hello"]


async def test_what_cannot_be_searched_for_is_retried_at_growing_intervals(
    store: Store, there: OtherSide
) -> None:
    policy = Policy(call=MINUTE, lookups=_seconds(0), unfindable=_seconds(3, 60, 300))
    for rest in (3, 60, 300, 300):
        there.errors_after_storing = [DOUBT]
        there.has.clear()
        with pytest.raises(RetryAt) as waits:
            await store.deliver(Sending(there, may_be_found=False), policy)
        left = waits.value.at - utc_now()
        assert timedelta(seconds=rest - 2) < left <= timedelta(seconds=rest)
        await store.expire()


async def test_a_rate_limited_claim_is_released_for_any_worker(
    store: Store, there: OtherSide
) -> None:
    there.rejects = [RetryAt("rate limited", utc_now() + MINUTE)]
    with pytest.raises(RetryAt, match="rate limited"):
        await store.deliver(Sending(there))
    entry = await store.entry()
    assert (entry.state, entry.error) == ("waiting", "rate limited")
    assert (await store.deliver(Sending(there))).state == "sent"
    assert there.lookups == 0


async def test_what_is_rejected_keeps_why(store: Store, there: OtherSide) -> None:
    there.rejects = [Rejected("not in channel")]
    with pytest.raises(Rejected):
        await store.deliver(Sending(there))
    entry = await store.entry()
    assert (entry.state, entry.error) == ("rejected", "not in channel")


async def test_what_is_rejected_for_a_while_is_tried_again(store: Store, there: OtherSide) -> None:
    policy = RejectionPolicy(MINUTE, MINUTE, 2 * MINUTE)
    there.rejects = [Rejected("not yet")]
    with pytest.raises(RetryAt) as waits:
        await store.deliver(Sending(there, rejections=policy))
    assert utc_now() < waits.value.at <= utc_now() + MINUTE
    entry = await store.entry()
    assert (entry.state, entry.error, entry.rejected_call) == ("waiting", "not yet", "send")
    sent = await store.deliver(Sending(there, rejections=policy))
    assert (sent.state, sent.error, sent.rejected_call, sent.rejected_since) == (
        "sent",
        "",
        "",
        None,
    )


async def test_a_rejection_counts_once_it_has_lasted(store: Store, there: OtherSide) -> None:
    policy = RejectionPolicy(MINUTE, MINUTE, 2 * MINUTE)
    there.rejects = [Rejected("no")] * 3
    with pytest.raises(RetryAt):
        await store.deliver(Sending(there, rejections=policy))
    # Another call is in doubt by itself.
    with pytest.raises(RetryAt):
        await store.deliver(Sending(there, unready=Rejected("no token"), rejections=policy))
    with pytest.raises(RetryAt):
        await store.deliver(Sending(there, rejections=policy))
    async with store.pool.connection() as connection:
        earlier = "update outbox set rejected_since = rejected_since - %s"
        await connection.execute(earlier, [2 * MINUTE])
    with pytest.raises(Rejected):
        await store.deliver(Sending(there, rejections=policy))
    assert (await store.entry()).state == "rejected"


async def test_a_rejected_search_leaves_the_outcome_unknown(store: Store, there: OtherSide) -> None:
    there.errors_after_storing = [DOUBT]
    with suppress(RetryAt):
        await store.deliver(Sending(there))
    there.rejects = [Rejected("the token is dead")]
    with pytest.raises(Rejected):
        await store.deliver(Sending(there))
    entry = await store.entry()
    assert (entry.state, entry.error) == ("claimed", "the token is dead")
    assert (await store.deliver(Sending(there))).ref == {"id": "0"}
    assert there.has == ["hello"]


@pytest.mark.parametrize("error", [DOUBT, Rejected("no access")])
async def test_nothing_is_claimed_before_all_is_ready(
    store: Store, there: OtherSide, error: RelayError
) -> None:
    with pytest.raises(type(error)):
        await store.deliver(Sending(there, unready=error))
    entry = await store.entry()
    assert (entry.attempts, entry.error) == (0, str(error))
    with pytest.raises(RetryAt):
        await store.deliver(Sending(there, unready=RetryAt("its turn comes later", utc_now())))
    assert (await store.entry()).error == str(error)
    assert there.has == []


async def test_an_error_stays_until_an_attempt_succeeds(store: Store, there: OtherSide) -> None:
    there.errors_after_storing = [UnknownOutcome("GitHub returned 502")]
    with suppress(RetryAt):
        await store.deliver(Sending(there))
    for killed in (True, False):  # a further attempt of unknown outcome, and one that succeeds
        assert (await store.entry()).error == "GitHub returned 502"
        there.has.clear()
        there.killed = killed
        await store.expire()
        with suppress(asyncio.CancelledError):
            await store.deliver(Sending(there))
    assert (await store.entry()).error == ""


async def test_an_obsolete_message_is_skipped(store: Store, there: OtherSide) -> None:
    await store.deliver(Sending(there, current=False))
    assert (await store.entry()).state == "skipped"
    assert (await store.deliver(Sending(there))).state == "skipped"
    assert there.has == []


@pytest.mark.parametrize("state", ["waiting", "claimed", "rejected"])
async def test_the_timeline_shows_why_github_does_not_have_a_status(
    store: Store, state: State
) -> None:
    async with store.pool.connection() as connection:
        new = NewEntry(actor="relay", state="queued", description="Accepted")
        await timeline.add_status(connection, DEPLOYMENT, new)
        [entry] = await outbox.pending(connection, "status", DEPLOYMENT)
        claimed = await outbox.claim(connection, entry, MINUTE)
        assert claimed is not None
        await outbox.release(connection, claimed, state, "GitHub returned 502")
        shown = (await timeline.of_positions(connection, DEPLOYMENT, [entry.position])).values()
        assert [(one.outbox, one.error) for one in shown] == [(state, "GitHub returned 502")]
        # It is gone with the next success, and not before.
        await outbox.sent(connection, claimed, {"id": "1"})
        shown = (await timeline.of_positions(connection, DEPLOYMENT, [entry.position])).values()
        assert [(one.outbox, one.error) for one in shown] == [("sent", "")]


class Recording(AsyncCursor[Any]):
    """Keeps the last query."""

    last: ClassVar[tuple[Any, Any]] = ("", None)

    async def execute(self, query: Any, params: Any = None, **more: Any) -> Self:
        Recording.last = (query, params)
        return await super().execute(query, params, **more)


async def test_an_entry_is_read_by_its_key_and_not_among_all_of_its_kind(store: Store) -> None:
    async with store.pool.connection() as connection, connection.transaction():
        await connection.execute("set local enable_seqscan = off")
        created = await outbox.entry_of(connection, "message", DEPLOYMENT, destination="#deploys")
        plain, connection.cursor_factory = connection.cursor_factory, Recording
        entry = await outbox.entry_of(connection, "message", DEPLOYMENT, destination="#deploys")
        connection.cursor_factory = plain
        query, values = Recording.last
        lines = await (await connection.execute(f"explain {query}", values)).fetchall()
    plan = "\n".join(line["QUERY PLAN"] for line in lines)
    assert (entry, entry.deployment_id, entry.action_id) == (created, DEPLOYMENT, None)
    assert "deployment_id = " in plan.partition("Index Cond")[2]
    assert "Filter" not in plan


async def test_a_late_result_of_one_that_was_given_up_is_excluded(store: Store) -> None:
    async def claimed(connection: Async, name: str) -> Entry:
        entry = await outbox.entry_of(
            connection, "deployment", DEPLOYMENT, destination=name, purpose="after"
        )
        found = await outbox.claim(connection, entry, MINUTE)
        assert found is not None
        return found

    async with store.pool.connection() as connection:
        first = await claimed(connection, "first")
        await outbox.skip(connection, first)
        second = await claimed(connection, "second")
    with pytest.raises(Excluded):
        async with store.pool.connection() as connection:
            await outbox.sent(connection, first, {"id": "1"})
    async with store.pool.connection() as connection:
        recorded = await outbox.sent(connection, second, {"id": "2"})
    assert (recorded.state, recorded.ref) == ("sent", {"id": "2"})
