"""Notifications through different notifiers: one that cannot edit, one without threads."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.world import live
from webhook.config.destinations import Destination, Target
from webhook.deployments.models import GitHubDeployment, Repository
from webhook.deployments.phases import Phase
from webhook.engine.notify import Notification, build_notice, notify
from webhook.engine.services import Services
from webhook.errors import Gone, Rejected, RelayError, RetryAt, UnknownOutcome
from webhook.notifiers.contract import Message, Ref
from webhook.store import deployments, notices, schedule, timeline
from webhook.store.outbox import Entry
from webhook.store.schedule import Due, Finished, Key
from webhook.store.timeline import NewEntry
from webhook.timing import utc_now
from webhook.worker import open_services

DEPLOYMENT = 7


class PlainDestination(Destination):
    EXAMPLE: ClassVar[str] = "{url: there}"

    url: str = "there"


@dataclass
class There:
    """`errors`: raised instead of the next responses."""

    messages: dict[str, Message] = field(default_factory=dict)
    edited: list[str] = field(default_factory=list)
    errors: list[RelayError] = field(default_factory=list)

    def states(self) -> list[list[str]]:
        return [[one.state for one in message.entries] for message in self.messages.values()]


class Plain:
    title: ClassVar[str] = "Plain"
    edits: ClassVar[bool] = False
    threads: ClassVar[bool] = False
    Destination: ClassVar[type[Destination]] = PlainDestination

    def __init__(self, there: There) -> None:
        self.there = there

    async def prepare(self, message: Message, key: str, ref: Ref | None) -> None:
        pass

    def digest(self, message: Message) -> str:
        return f"{message.notice.phase} {message.notice.description}"

    async def findable(self, message: Message) -> bool:
        return True

    async def find(self, message: Message, key: str, since: datetime) -> Ref | None:
        return Ref({"key": key}) if key in self.there.messages else None

    async def send(self, message: Message, key: str) -> Ref:
        assert key not in self.there.messages
        error = self.there.errors.pop(0) if self.there.errors else None
        if error is None or isinstance(error, UnknownOutcome):
            self.there.messages[key] = message
        if error is not None:
            raise error
        return Ref({"key": key})

    async def edit(self, ref: Ref, message: Message, key: str) -> None:
        if self.there.errors:
            raise self.there.errors.pop(0)
        assert ref["key"] == key
        if key not in self.there.messages:
            raise Gone("no such message")
        self.there.messages[key] = message
        self.there.edited.append(key)


class Editable(Plain):
    edits: ClassVar[bool] = True


@dataclass
class Listener:
    """One deployment and its destination."""

    services: Services
    there: There = field(default_factory=There)
    notifier: type[Plain] = Plain
    destination: Destination = field(default_factory=PlainDestination)

    async def happens(self, state: str, **columns: Any) -> None:
        new = NewEntry(actor="relay", state=state, description=f"it is {state}", counted=True)
        async with self.services.pool.connection() as connection:
            row = await deployments.read(connection, DEPLOYMENT)
            assert row is not None
            columns |= {"phase": Phase(state), "status_description": f"it is {state}"}
            await deployments.change(connection, row, **columns)
            await timeline.add(connection, DEPLOYMENT, new)

    async def hear(self) -> None:
        await (await self.notification()).keep_up()

    async def notification(self) -> Notification:
        """Of the present."""
        async with self.services.pool.connection() as connection:
            found = await notices.read(
                connection,
                DEPLOYMENT,
                destination="plain:there",
                purpose="" if self.notifier.edits else "main",
            )
        assert found is not None
        row, context = found
        target = Target(
            name="plain:there", notifier="plain", main=True, destination=self.destination
        )
        notice = await build_notice(self.services, row, context)
        notifier = self.notifier(self.there)
        return Notification(self.services, row, target, notifier, notice, context)

    async def entries(self, purpose: str = "main") -> list[Entry]:
        async with self.services.pool.connection() as connection:
            read = await notices.read(connection, DEPLOYMENT, destination="plain:there")
        assert read is not None
        return [one for one in read[1].sent if one.purpose == purpose]

    async def expire(self) -> None:
        """As if every call had started too long ago to be in progress still."""
        async with self.services.pool.connection() as connection:
            await connection.execute("update outbox set claimed_until = now()")


@pytest.fixture
async def listener(store_url: str, tmp_path: Path) -> AsyncIterator[Listener]:
    created = GitHubDeployment(DEPLOYMENT, "production", "main", "a" * 40, "deploy", utc_now())
    async with (
        live(store_url, tmp_path, workers=0) as world,
        open_services(world.setup, store_url, actions={}, timing=world.timing) as services,
    ):
        async with services.pool.connection() as connection:
            await deployments.get_or_create(
                connection, created, Repository(1, "acme/site", "https://x"), 1
            )
        yield Listener(services)


async def test_without_edits_each_change_is_a_message_of_its_own(listener: Listener) -> None:
    for state in ("queued", "in_progress", "success"):
        await listener.happens(state)
        await listener.hear()
        await listener.hear()
    assert listener.there.states() == [["queued"], ["in_progress"], ["success"]]
    assert [message.notice.phase for message in listener.there.messages.values()] == [
        Phase.QUEUED,
        Phase.IN_PROGRESS,
        Phase.SUCCESS,
    ]


async def test_changes_that_were_not_sent_at_once_are_sent_together(listener: Listener) -> None:
    for state in ("queued", "in_progress", "failure"):
        await listener.happens(state)
    await listener.hear()
    assert listener.there.states() == [["queued", "in_progress", "failure"]]
    [message] = listener.there.messages.values()
    assert message.urgent


async def test_a_message_of_unknown_outcome_covers_its_original_entries(listener: Listener) -> None:
    listener.there.errors = [UnknownOutcome("no response")]
    await listener.happens("queued")
    with pytest.raises(RetryAt):
        await listener.hear()
    await listener.happens("in_progress")
    await listener.expire()
    with pytest.raises(RetryAt, match="more has happened"):
        await listener.hear()
    await listener.hear()
    assert listener.there.states() == [["queued"], ["in_progress"]]


async def test_states_that_a_destination_does_not_want_are_left_out(listener: Listener) -> None:
    listener.destination = PlainDestination(only="failures")
    for state in ("queued", "in_progress", "failure"):
        await listener.happens(state)
        await listener.hear()
    assert listener.there.states() == [["failure"]]


async def test_without_threads_one_message_is_all_there_is(listener: Listener) -> None:
    listener.notifier = Editable
    for state in ("queued", "in_progress", "success"):
        await listener.happens(state)
        await listener.hear()
        await listener.hear()
    [key] = listener.there.messages
    assert listener.there.edited == [key, key]
    assert listener.there.messages[key].notice.phase is Phase.SUCCESS
    assert await listener.entries("reply") == []


async def test_a_deleted_message_is_sent_again(listener: Listener) -> None:
    listener.notifier = Editable
    await listener.happens("queued")
    await listener.hear()
    listener.there.messages.clear()
    await listener.happens("in_progress")
    await listener.hear()
    [message] = listener.there.messages.values()
    assert message.notice.phase is Phase.IN_PROGRESS


async def test_a_worker_that_was_taken_for_dead_does_not_turn_a_message_back(
    listener: Listener,
) -> None:
    listener.notifier = Editable
    await listener.happens("queued")
    await listener.hear()
    await listener.happens("in_progress")
    late = await listener.notification()
    await listener.happens("success")
    await listener.hear()
    await late.keep_up()
    async with listener.services.pool.connection() as connection:
        requested = await (await connection.execute("select detail from schedule")).fetchall()
    assert requested == [{"detail": "plain:there"}]
    await listener.hear()
    [message] = listener.there.messages.values()
    assert message.notice.phase is Phase.SUCCESS


async def test_what_is_replaced_while_its_message_is_sent_is_notified_again(
    listener: Listener,
) -> None:
    await listener.happens("success")
    key = Key("notify", DEPLOYMENT, "plain:there")

    async def exchange(*finished: Finished) -> list[Due]:
        async with listener.services.pool.connection() as connection:
            done = await schedule.exchange(
                connection,
                finished,
                {("notify", True): 1},
                worker="worker",
                machine_id="machine",
                lasts=timedelta(minutes=1),
                now=utc_now(),
            )
        return list(done.claimed)

    async with listener.services.pool.connection() as connection:
        await schedule.request(connection, [key])
    [sending] = await exchange()
    async with listener.services.pool.connection() as connection:  # of its message nothing is known
        await schedule.request(connection, [], notified=[DEPLOYMENT])
    await exchange(Finished(due=sending))
    assert [due.key for due in await exchange()] == [key]


async def test_the_reason_of_a_rejected_message_is_kept_until_it_is_sent(
    listener: Listener,
) -> None:
    listener.there.errors = [Rejected("the channel is archived"), Rejected("it still is")]
    await listener.happens("queued")
    for error in ("the channel is archived", "it still is"):
        with pytest.raises(RetryAt, match=error):
            await listener.hear()
        [entry] = await listener.entries()
        assert (entry.state, entry.error) == ("rejected", error)
    await listener.hear()
    [entry] = await listener.entries()
    assert (entry.state, entry.error) == ("sent", "")


async def test_the_reason_of_a_rejected_edit_is_kept_until_one_succeeds(listener: Listener) -> None:
    listener.notifier = Editable
    await listener.happens("queued")
    await listener.hear()
    listener.there.errors = [Rejected("the channel is archived")]
    await listener.happens("in_progress")
    with pytest.raises(RetryAt, match="archived"):
        await listener.hear()
    [entry] = await listener.entries()
    assert (entry.state, entry.error) == ("sent", "the channel is archived")
    await listener.hear()
    assert (await listener.entries())[0].error == ""


async def test_after_a_day_of_rejections_retries_end(listener: Listener) -> None:
    await listener.happens("queued")
    listener.there.errors = [Rejected("the channel is archived")]
    late = replace(listener, services=replace(listener.services, clock=_in_two_days))
    await late.hear()
    assert (await listener.entries())[0].state == "rejected"


async def test_what_no_deploy_yml_names_is_given_up_after_a_while(listener: Listener) -> None:
    await listener.happens("queued")
    services = replace(listener.services, notifiers={"plain": Plain})
    with pytest.raises(RetryAt, match="names no such destination"):
        await notify(services, DEPLOYMENT, "plain:there")
    with suppress(RetryAt):
        await notify(replace(services, clock=_in_two_days), DEPLOYMENT, "plain:there")
    assert await listener.entries() == []


def _in_two_days() -> datetime:
    return utc_now() + timedelta(days=2)
