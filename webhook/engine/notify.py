"""Notify people of a deployment, at each destination: one message, edited in place,
whose thread holds the timeline; a failure also in the channel for failures.

Only the newest state is sent, however many changes there were. A failure, a wait for a person and
a success after a failure are urgent, because nobody is notified of an edit. Where messages cannot
be edited, each change is a message of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypedDict

import structlog

from handlers import TITLES
from webhook.config.destinations import Target
from webhook.deployments.actions import Snapshot, offered_buttons
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.phases import Phase, phase_of
from webhook.engine.changelogs import changelog_of
from webhook.engine.messages import Form, MessageWrite, Rejections
from webhook.engine.outbox import Outbox, Policy
from webhook.engine.services import Services, log_about
from webhook.errors import Gone, Rejected, RetryAt, UnknownOutcome
from webhook.notifiers.contract import Message, Notifier, Purpose, Ref
from webhook.rejections import rejected_since
from webhook.store import actions, deployments, outbox, timeline
from webhook.store.actions import ActionRow
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.outbox import Entry
from webhook.store.timeline import REQUESTED, TimelineEntry
from webhook.timing import growing_pause

log = structlog.get_logger()

# In one thread; what happens after them follows at the end of the deployment.
MOST_REPLIES = 30
FAILED = (Phase.FAILURE, Phase.ERROR)


async def notify(services: Services, deployment_id: int, destination: str) -> None:
    row = await services.read(deployment_id)
    if row is None:
        return
    log_about(row)
    target = next((one for one in services.targets(row) if one.name == destination), None)
    target = target or await _unlisted(services, row, destination)
    if target is None:
        return
    notifier, notice = services.notifier(target), await build_notice(services, row)
    notification = Notification(services, row, target, notifier, notice)
    if target.main:
        await notification.keep_up()
    elif row.phase in FAILED:
        await notification.alert()
    # Another job may have sent a newer state by now, which this one would have turned back.
    await require_newest(services, row)


async def _unlisted(services: Services, row: DeploymentRow, destination: str) -> Target | None:
    """A message that exists is kept up to date, whatever deploy.yml lists now. Errors: `RetryAt`
    for a destination that another worker, with another deploy.yml, may know."""
    name, _, rest = destination.partition(":")
    notifier = services.notifiers.get(name)
    if notifier is None:
        return None
    async with services.pool.connection() as connection:
        existing = await outbox.messages(connection, row.id, destination, "main")
    if any(message.ref for message in existing):
        unlisted = notifier.Destination.unlisted(rest)
        if unlisted is None:
            return None
        return Target(name=destination, notifier=name, main=True, destination=unlisted)
    now, timing = services.clock(), services.timing
    if now - row.phase_at < timing.unknown_channel_kept:
        again = now + timing.unknown_channel_retry
        raise RetryAt("deploy.yml names no such destination here", again)
    return None


async def require_newest(services: Services, row: DeploymentRow) -> None:
    newer = await services.read(row.id)
    if newer is not None and newer.version != row.version:
        raise RetryAt("it has changed meanwhile", services.clock())


@dataclass(frozen=True, slots=True)
class Notification:
    """Of one deployment, at one destination."""

    services: Services
    row: DeploymentRow
    target: Target
    notifier: Notifier
    notice: DeploymentNotice

    async def keep_up(self) -> None:
        if not self.notifier.edits:
            await self._keep_row("main", None)
            return
        existing = await self._messages("main")
        # A message that exists is kept up to date, or it would keep showing an old state.
        if not existing and not self.target.destination.accepts(self.row.phase):
            return
        waits: list[RetryAt] = []
        try:
            existing = [await self._keep_main(Message(purpose="main", notice=self.notice))]
        except RetryAt as wait:
            waits.append(wait)  # its thread need not wait for an edit
        if self.notifier.threads and existing and existing[0].ref:
            try:
                await self._keep_row("reply", existing[0])
            except RetryAt as wait:
                waits.append(wait)
        if waits:
            raise min(waits, key=lambda wait: wait.at)

    async def alert(self) -> None:
        await self._send(Message(purpose="alert", notice=self.notice))

    async def _keep_main(self, message: Message) -> Entry:
        """Send it, or edit it where its content has changed."""
        entry = await self._send(message)
        digest = self.notifier.digest(message)
        if entry.ref is None or entry.digest == digest:
            return entry
        key, ref, form = self._key("main", 0), Ref.from_json(entry.ref), Form(message)
        try:
            await self.notifier.prepare(message, key, ref)
            await form.accepted(lambda one: self.notifier.edit(ref, one, key))
        except Gone:
            async with self.services.pool.connection() as connection:
                await outbox.forget(connection, entry)
            return await self._send(message)
        except UnknownOutcome as error:
            raise RetryAt(str(error), self._now() + self._edit_pause) from error
        except Rejected as error:
            await self._edit_rejected(entry, error)
            return entry
        async with self.services.pool.connection() as connection:
            await outbox.edited(connection, entry, digest, form.error)
        return entry

    async def _keep_row(self, purpose: Purpose, parent: Entry | None) -> None:
        """Messages one after the other, each of what happened after the one before."""
        sent = await self._messages(purpose)
        async with self.services.pool.connection() as connection:
            after = max((one.position for one in sent if one.over), default=0)
            new = await timeline.shown(connection, self.row.id, after)
        # Checked after reading the entries: the row that decides about them knows all of them.
        await require_newest(self.services, self.row)
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
        if waiting and attempted is None:
            async with self.services.pool.connection() as connection:
                await outbox.extend_to(connection, waiting, last)
        urgent = self._is_urgent(included)
        if waiting is None and purpose == "reply" and not urgent and self.row.ended_at is None:
            if len(sent) >= MOST_REPLIES:
                return
            self._wait_for_more(included[0].at)
        entries = tuple(notice_entry(one) for one in included)
        message = Message(
            purpose=purpose,
            notice=self.notice,
            entries=entries,
            parent=Ref.from_json(parent.ref) if parent and parent.ref else None,
            urgent=urgent,
        )
        shown = await self._follow(message, attempted or last, parent)
        if shown.over and len(covered) < len(new):
            raise RetryAt(
                "more has happened since the first attempt to send that message", self._now()
            )

    async def _follow(self, message: Message, position: int, parent: Entry | None) -> Entry:
        try:
            return await self._send(message, position)
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

    async def _send(self, message: Message, position: int = 0) -> Entry:
        """Send it, if that was not done before."""
        entry = await self._entry(message.purpose, position)
        if entry.over:
            return entry
        timing = self.services.timing
        after = timing.message_lookups_after
        policy = Policy(call=timing.claim_lasts, lookups=after[:1], unfindable=after)
        key = self._key(message.purpose, position)
        write = MessageWrite(
            self.services, entry, self.notifier, Form(message), key, self._rejections
        )
        try:
            sent = await Outbox(self.services.pool, self.services.clock).deliver(
                entry, write, policy
            )
        except UnknownOutcome as error:
            raise RetryAt(str(error), self._now() + after[0]) from error
        except Gone:
            raise  # of its parent
        except Rejected:
            return entry
        log.info("message sent", destination=self.target.name, purpose=message.purpose)
        return sent

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
            raise RetryAt(str(error), again) from error

    @property
    def _rejections(self) -> Rejections:
        return Rejections(self.services.timing, self.row.phase_at)

    def _included(self, entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
        """Those that the destination's filters match, and none twice in a row."""
        included = [one for one in entries if self._wants(one)]
        first = included[:1]
        return first + [new for old, new in pairwise(included) if _content(old) != _content(new)]

    def _wants(self, entry: TimelineEntry) -> bool:
        phase = phase_of(entry.state)
        return entry.state == REQUESTED or (
            phase is not None and self.target.destination.accepts(phase)
        )

    def _is_urgent(self, entries: Sequence[TimelineEntry]) -> bool:
        """Whether a person should act now."""
        if self.notice.held:
            return entries[-1].held
        if self.row.phase in FAILED or self.notice.recovered:
            return self.row.phase in {phase_of(one.state) for one in entries}
        return False

    @property
    def _edit_pause(self) -> timedelta:
        timing, lasted = self.services.timing, self._now() - self.row.phase_at
        return growing_pause(lasted / 4, timing.edit_retry_at_least, timing.edit_retry_at_most)

    def _now(self) -> datetime:
        return self.services.clock()

    def _key(self, purpose: Purpose, position: int) -> str:
        about = f":{position}" if position else ""
        return f"{self.row.id}:{purpose}{about}"

    async def _messages(self, purpose: Purpose) -> list[Entry]:
        """The newest first."""
        async with self.services.pool.connection() as connection:
            return await outbox.messages(connection, self.row.id, self.target.name, purpose)

    async def _entry(self, purpose: Purpose, position: int) -> Entry:
        async with self.services.pool.connection() as connection:
            return await outbox.entry_of(
                connection,
                "message",
                self.row.id,
                destination=self.target.name,
                purpose=purpose,
                position=position,
            )


def _content(entry: TimelineEntry) -> tuple[str, str]:
    return entry.state, entry.description


class _Origin(TypedDict):
    origin: str
    origin_url: str
    origin_label: str


async def build_notice(services: Services, row: DeploymentRow) -> DeploymentNotice:
    async with services.pool.connection() as connection:
        last = await deployments.last_success(connection, row)
        before = await deployments.ended_before(connection, row)
        creator = await actions.creator_of(connection, row.id)
        held = row.ended_at is None and await timeline.is_held(connection, row.id)
        back = await deployments.success_of_another_commit(connection, row)
        snapshot = await _snapshot(connection, row, back)
    end = row.ended_at
    start = row.started_at or row.requested_at
    notice = DeploymentNotice(
        deployment_id=row.id,
        repo=row.repo,
        repo_url=row.repo_url,
        environment=row.environment,
        production=row.production,
        ref=row.shown_ref,
        sha=row.sha,
        task=row.task,
        requested_by=_requested_by(row, creator),
        phase=row.phase,
        changed_at=row.phase_at,
        description=row.status_description,
        held=held,
        started=row.run is not None,
        recovered=before in (Phase.FAILURE, Phase.ERROR) and row.phase is Phase.SUCCESS,
        seconds=(end - start).total_seconds() if start and end else None,
        page_url=services.links.page(row.repo, row.id),
        run_url=row.run.url if row.run else "",
        tool="GitHub Actions" if row.watched else TITLES.get(row.handler, row.handler),
        environment_url=row.environment_url,
        changelog=await changelog_of(services, row, last),
        previous_sha=last.sha if last else "",
        **_origin(services, row, creator),
        actions=(),
        rollback_to=f"{back.shown_ref} @ {back.sha[:7]}" if back else "",
        rollback_id=back.id if back else 0,
    )
    if not services.actions_enabled or row.requested_at is None:
        return notice
    buttons = offered_buttons(services.actions.values(), snapshot, notice)
    return replace(notice, actions=buttons)


def notice_entry(entry: TimelineEntry) -> NoticeEntry:
    return NoticeEntry(
        at=entry.at,
        state="" if entry.state == timeline.REQUESTED else entry.state,
        description=entry.description,
        actor=entry.actor,
        log_url=entry.log_url,
        held=entry.held,
    )


def _requested_by(row: DeploymentRow, creator: ActionRow | None) -> str:
    """What people request in Slack is created by the App."""
    return creator.login if creator else row.creator


def _origin(services: Services, row: DeploymentRow, creator: ActionRow | None) -> _Origin:
    if creator is None or not creator.deployment_id:
        return {"origin": "", "origin_url": "", "origin_label": ""}
    action = services.actions.get(creator.kind)
    return {
        "origin": creator.kind,
        "origin_url": services.links.page(creator.repo or row.repo, creator.deployment_id),
        "origin_label": action.origin if action else "",
    }


async def _snapshot(connection: Async, row: DeploymentRow, back: DeploymentRow | None) -> Snapshot:
    return Snapshot(
        phase=row.phase,
        ended=row.ended_at is not None,
        watched=row.watched,
        cancel_requested=bool(row.cancel_requested_by),
        newest=await deployments.is_newest(connection, row),
        rollback_target=back is not None,
    )
