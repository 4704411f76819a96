"""Notify people of a deployment, at each destination: one message, edited in place,
whose thread holds the timeline; a failure also in the channel for failures.

Only the newest state is sent, however many changes there were. A failure, a wait for a person and
a success after a failure are urgent, because nobody is notified of an edit. Where messages cannot
be edited, each change is a message of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import structlog

from webhook.config.destinations import Target
from webhook.deployments.approvals import Approval
from webhook.deployments.notice import DeploymentNotice, NoticeApproval, NoticeEntry
from webhook.deployments.phases import FAILED, entry_phase, phase_of
from webhook.engine.changelogs import changelog_of
from webhook.engine.messages import Form, MessageWrite, Rejections, message_policy
from webhook.engine.offers import Offers, notice_of
from webhook.engine.outages import Destination
from webhook.engine.outbox import Outbox
from webhook.engine.policy import kept_policy
from webhook.engine.promotions import promotion_of
from webhook.engine.services import Services, log_about
from webhook.errors import Gone, Rejected, RetryAt, UnknownOutcome
from webhook.gates.approval import answers, review_of
from webhook.notifiers.contract import Message, Notifier, Purpose, Ref
from webhook.rejections import rejected_since
from webhook.store import notices, outbox, schedule
from webhook.store.deployments import DeploymentRow
from webhook.store.notices import Context, News
from webhook.store.outbox import Entry
from webhook.store.schedule import Key
from webhook.store.timeline import BY_PEOPLE, OVERRIDDEN
from webhook.timing import growing_pause

log = structlog.get_logger()

# In one thread; what happens after them follows at the end of the deployment.
MOST_REPLIES = 30


async def notify(services: Services, deployment_id: int, destination: str) -> None:
    kind = services.notifiers.get(destination.partition(":")[0])
    if kind is None:
        return
    purpose = "main" if not kind.edits else "reply" if kind.threads else ""
    async with services.pool.connection() as connection:
        found = await notices.read(
            connection, deployment_id, destination=destination, purpose=purpose
        )
        targets = await services.targets(connection, found[0]) if found else []
    if found is None:
        return
    row, context = found
    log_about(row)
    target = next((one for one in targets if one.name == destination), None)
    target = target or _unlisted(services, row, destination, context)
    if target is None or not (target.main or row.phase in FAILED):
        return
    notice = await build_notice(services, row, context)
    notifier = services.notifier(target)
    notification = Notification(services, row, target, notifier, notice, context)
    await (notification.keep_up() if target.main else notification.alert())


def _unlisted(
    services: Services, row: DeploymentRow, destination: str, context: Context
) -> Target | None:
    """A message that exists is kept up to date, whatever deploy.yml lists now. Errors: `RetryAt`
    for a destination that another worker, with another deploy.yml, may know."""
    name, _, rest = destination.partition(":")
    if any(message.ref for message in context.sent if message.purpose == "main"):
        unlisted = services.notifiers[name].Destination.unlisted(rest)
        if unlisted is None:
            return None
        return Target(name=destination, notifier=name, main=True, destination=unlisted)
    now, timing = services.clock(), services.timing
    if now - row.phase_at < timing.unknown_channel_kept:
        again = now + timing.unknown_channel_retry
        raise RetryAt("deploy.yml names no such destination here", again)
    return None


@dataclass(frozen=True, slots=True)
class Notification:
    """Of one deployment, at one destination."""

    services: Services
    row: DeploymentRow
    target: Target
    notifier: Notifier
    notice: DeploymentNotice
    context: Context

    async def keep_up(self) -> None:
        if not self.notifier.edits:
            await self._keep_row("main", None)
            return
        main = next(iter(self._sent("main")), None)
        # A message that exists is kept up to date, or it would keep showing an old state.
        if not main and not self.target.destination.accepts(self.row.phase):
            return
        waits: list[RetryAt] = []
        try:
            main = await self._keep_main(Message(purpose="main", about=self.notice), main)
        except RetryAt as wait:
            waits.append(wait)  # its thread need not wait for an edit
        if self.notifier.threads and main and main.ref:
            try:
                await self._keep_row("reply", main)
            except RetryAt as wait:
                waits.append(wait)
        if waits:
            raise min(waits, key=lambda wait: wait.at)

    async def alert(self) -> None:
        existing = next(iter(self._sent("alert")), None)
        await self._send(Message(purpose="alert", about=self.notice), existing)

    async def _keep_main(self, message: Message, existing: Entry | None) -> Entry:
        """Send it, or edit it where its content has changed."""
        entry = await self._send(message, existing)
        digest = self.notifier.digest(message)
        if entry.ref is None or entry.digest == digest:
            return entry
        key, ref, form = self._key(entry), Ref.from_json(entry.ref), Form(message)
        try:
            await self.notifier.prepare(message, key, ref)
            await form.accepted(lambda one: self.notifier.edit(ref, one, key))
        except Gone:
            async with self.services.pool.connection() as connection:
                forgotten = await outbox.forget(connection, entry)
            return await self._send(message, forgotten)
        except UnknownOutcome as error:
            raise RetryAt(str(error), self._now() + self._edit_pause) from error
        except Rejected as error:
            await self._edit_rejected(entry, error)
            return entry
        await self._edited(entry, digest, form.error)
        return entry

    async def _edited(self, entry: Entry, digest: str, error: str) -> None:
        async with self.services.pool.connection() as connection:
            if not await outbox.edited(connection, entry, digest, error):
                # Of two workers the one that was taken for dead may have turned it back.
                again = Key("notify", self.row.id, self.target.name)
                await schedule.request(connection, [again])

    async def _keep_row(self, purpose: Purpose, parent: Entry | None) -> None:
        """Messages one after the other, each of what happened after the one before."""
        sent, new = self._sent(purpose), self.context.news
        waiting = next((one for one in sent if not one.over), None)
        # It may be there: what it covers is settled. What was rejected may cover more next time,
        # or it would hold back what people must see.
        attempted = waiting.position if waiting and waiting.state == "claimed" else None
        covered = [one for one in new if attempted is None or one.position <= attempted]
        included = self._included(covered)
        if not included:
            await self._drop(waiting)
            return
        last = covered[-1].position
        if waiting and waiting.position < last:
            waiting = await self._extend(waiting, last)
        urgent = self._is_urgent(included)
        if waiting is None and purpose == "reply" and not urgent and self.row.ended_at is None:
            if len(sent) >= MOST_REPLIES:
                return
            self._wait_for_more(included[0].at)
        message = self._row_message(purpose, included, parent)
        shown = await self._follow(message, waiting, attempted or last, parent)
        if shown.over and len(covered) < len(new):
            raise RetryAt(
                "more has happened since the first attempt to send that message", self._now()
            )

    def _row_message(
        self, purpose: Purpose, included: Sequence[News], parent: Entry | None
    ) -> Message:
        return Message(
            purpose=purpose,
            about=self.notice,
            entries=tuple(notice_entry(one) for one in included),
            parent=Ref.from_json(parent.ref) if parent and parent.ref else None,
            urgent=self._is_urgent(included),
        )

    def foreseen(self) -> Iterator[Message]:
        """What would be sent now of one of which nothing was sent yet."""
        if not self.target.main:
            if self.row.phase in FAILED:
                yield Message(purpose="alert", about=self.notice)
            return
        included = self._included(self.context.news)
        if not self.notifier.edits:
            if included:
                yield self._row_message("main", included, None)
        elif self.target.destination.accepts(self.row.phase):
            yield Message(purpose="main", about=self.notice)
            if self.notifier.threads and included:
                yield self._row_message("reply", included, None)

    async def _extend(self, waiting: Entry, last: int) -> Entry:
        async with self.services.pool.connection() as connection:
            extended = await outbox.extend_to(connection, waiting, last)
        if extended is None:
            raise RetryAt("another worker sends it", self._now())
        return extended

    async def _follow(
        self, message: Message, waiting: Entry | None, position: int, parent: Entry | None
    ) -> Entry:
        try:
            return await self._send(message, waiting, position)
        except Gone as gone:
            if parent is not None:
                async with self.services.pool.connection() as connection:
                    await outbox.forget(connection, parent)
            raise RetryAt("the message was deleted", self._now()) from gone

    async def _drop(self, waiting: Entry | None) -> None:
        """An obsolete message must not delay the ones after it."""
        if waiting is not None:
            async with self.services.pool.connection() as connection:
                await outbox.skip(connection, waiting)
            again = self._now()
            raise RetryAt("continues after an obsolete message", again)

    def _wait_for_more(self, since: datetime) -> None:
        until = since + self.services.timing.replies_gathered_for
        if self._now() < until:
            raise RetryAt("more may follow at once", until)

    async def _send(self, message: Message, existing: Entry | None, position: int = 0) -> Entry:
        """Send it, if that was not done before. `existing`: its entry, if it has one."""
        entry = existing or Entry.new(
            "message",
            self.row.id,
            destination=self.target.name,
            purpose=message.purpose,
            position=position,
        )
        if entry.over:
            return entry
        if existing is None and self.services.precedes_restore(self.row.created_at):
            entry = await self._doubted(entry)
        timing = self.services.timing
        write = MessageWrite(
            self.services, entry, self.notifier, Form(message), self._key(entry), self._rejections
        )
        try:
            sent = await Outbox(self.services.pool, self.services.clock).deliver(
                entry, write, message_policy(timing)
            )
        except UnknownOutcome as error:
            again = self._now() + timing.message_lookups_after[0]
            raise RetryAt(str(error), again) from error
        except Gone:
            raise  # of its parent
        except Rejected:
            return entry
        log.info("message sent", destination=self.target.name, purpose=message.purpose)
        await self.services.outages.got_through(Destination(self.target.name), self.row.phase_at)
        return sent

    async def _doubted(self, entry: Entry) -> Entry:
        """It may have been sent after the backup from which the store was restored."""
        assert self.services.restored
        async with self.services.pool.connection() as connection:
            return await outbox.keep_doubted(connection, entry, self.services.restored.backup_at)

    async def _edit_rejected(self, entry: Entry, error: Rejected) -> None:
        """The error is kept for the page and for `check`; it is retried now and then."""
        if entry.error != str(error):
            log.error("edit rejected", destination=self.target.name, error=str(error))
        now = self._now()
        since = rejected_since(entry, "edit", now)
        async with self.services.pool.connection() as connection, connection.transaction():
            await outbox.keep_error(connection, entry, str(error))
            await outbox.keep_rejection(connection, entry, "edit", since, now)
        if again := self._rejections.retry_at(error, since, now):
            party = Destination(self.target.name)
            again = await self.services.outages.probed_at(party, entry.id, again)
            raise RetryAt(str(error), again) from error

    @property
    def _rejections(self) -> Rejections:
        return Rejections(self.services.timing, self.row.phase_at)

    def _included(self, entries: Sequence[News]) -> list[News]:
        """Those that the destination's filters match, and none twice in a row."""
        included = [one for one in entries if self._wants(one)]
        first = included[:1]
        return first + [new for old, new in pairwise(included) if _content(old) != _content(new)]

    def _wants(self, entry: News) -> bool:
        phase = entry_phase(entry.state, self.row.phase)
        return entry.state in BY_PEOPLE or (
            phase is not None and self.target.destination.accepts(phase)
        )

    def _is_urgent(self, entries: Sequence[News]) -> bool:
        """Whether a person should act now, or know what another one does."""
        if any(one.state == OVERRIDDEN for one in entries):
            return True
        if self.notice.held:
            return any(map(_asks, entries))
        if self.row.phase in FAILED or self.notice.recovered:
            return self.row.phase in {phase_of(one.state) for one in entries}
        return False

    @property
    def _edit_pause(self) -> timedelta:
        timing, lasted = self.services.timing, self._now() - self.row.phase_at
        return growing_pause(lasted / 4, timing.edit_retry_at_least, timing.edit_retry_at_most)

    def _now(self) -> datetime:
        return self.services.clock()

    def _sent(self, purpose: Purpose) -> list[Entry]:
        """The newest first."""
        return [one for one in self.context.sent if one.purpose == purpose]

    def _key(self, entry: Entry) -> str:
        about = f":{entry.position}" if entry.position else ""
        return f"{self.row.id}:{entry.purpose}{about}"


def _content(entry: News) -> tuple[str, str]:
    return entry.state, entry.description


def _asks(entry: News) -> bool:
    return entry.held and not entry.asked_before


async def build_notice(
    services: Services, row: DeploymentRow, context: Context
) -> DeploymentNotice:
    notice = notice_of(
        row,
        context,
        actions=services.actions,
        page_of=services.links.page,
        changelog=await changelog_of(services, row, context.previous_sha),
        approvals=await _approvals(services, row, context),
    )
    if not services.actions_enabled or row.requested_at is None:
        return notice
    if context.newest:
        notice = replace(notice, promotion=await promotion_of(services, row))
    offers = Offers(services.actions, services.config, services.gates)
    return offers.added_to(notice, row, context)


def notice_entry(entry: News) -> NoticeEntry:
    return NoticeEntry(
        at=entry.at,
        state="" if entry.state in BY_PEOPLE else entry.state,
        description=entry.description,
        actor=entry.actor,
        log_url=entry.log_url,
        held=entry.held,
        asks=_asks(entry),
        for_all=entry.state == OVERRIDDEN,
    )


async def _approvals(
    services: Services, row: DeploymentRow, context: Context
) -> tuple[NoticeApproval, ...]:
    """To this deployment; and those to earlier ones of its commit that counted when it started."""
    given, at = context.approvals, row.started_at or services.clock()
    if not given:
        return ()
    counted: tuple[Approval, ...] = ()
    async with services.pool.connection() as connection:
        environment = await services.environment_of(connection, row)
        policy = environment and await kept_policy(services, connection, row, environment)
    if policy:
        counted = answers(review_of(policy.environment), row.id, row.sha, given, at).yes
    return tuple(
        NoticeApproval(login=one.login, approved=one.approved, at=one.at, comment=one.comment)
        for one in given
        if one.deployment_id == row.id or one in counted
    )
