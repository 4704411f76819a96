"""Slack hears of a deployment: one message a channel, edited in place, whose thread holds each
step; a failure also in the channel for failures.

Only the newest state is sent, however many changes there were. A failure, a wait for a person and
a success after a failure are shown in the channel too, because nobody is told of an edit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from webhook.deployments.notice import DeploymentNotice
from webhook.deployments.phases import Phase, phase_of
from webhook.engine.notice import build_notice, notice_entry
from webhook.engine.services import Services, log_about
from webhook.errors import Gone, RetryAt
from webhook.jobs.queue import slack_lock
from webhook.slack.blocks import message as messages
from webhook.slack.destination import Destination
from webhook.slack.mentions import Mention, mention
from webhook.slack.post import Post
from webhook.slack.targets import Target, targets
from webhook.slack.workspaces import Workspaces
from webhook.store import jobs, slack_messages, timeline
from webhook.store.deployments import DeploymentRow
from webhook.store.slack_messages import SlackMessage
from webhook.store.timeline import ASKED, TimelineEntry

# Replies in one thread; what comes after them is told at the end.
MOST_REPLIES = 30
FAILED = (Phase.FAILURE, Phase.ERROR)


async def tell_slack(services: Services, deployment_id: int, channel: str) -> None:
    row = await services.read(deployment_id)
    if row is None or services.slack is None:
        return
    log_about(row)
    target = next((one for one in targets(services.config, row) if one.name == channel), None)
    target = target or await _no_longer_named(services, row, channel)
    if target is None:
        return
    async with services.pool.connection() as connection:
        # They would hold this one back where it has to wait for a shorter time than they.
        await jobs.drop_waiting(connection, slack_lock(row.id, channel))
    telling = Telling(services, services.slack, row, target, await build_notice(services, row))
    if target.living:
        await telling.keep_up()
    elif row.phase in FAILED:
        await telling.alert()
    # Somebody else may have said more by now, which we would have turned back.
    await require_newest(services, row)


async def _no_longer_named(services: Services, row: DeploymentRow, channel: str) -> Target | None:
    """A message that is there is kept up to date, whatever deploy.yml says now. Errors: `RetryAt`
    for a channel that another worker, with another deploy.yml, may know."""
    async with services.pool.connection() as connection:
        there = await slack_messages.newest(connection, row.id, "message", channel)
    if any(message.ts for message in there):
        return Target(channel, channel, living=True, destination=Destination(mentions="none"))
    now, timing = services.clock(), services.timing
    if now - row.phase_at < timing.unknown_channel_kept:
        raise RetryAt("deploy.yml names no such channel here", now + timing.unknown_channel_retry)
    return None


async def require_newest(services: Services, row: DeploymentRow) -> None:
    newer = await services.read(row.id)
    if newer is not None and newer.version != row.version:
        raise RetryAt("it has changed meanwhile", services.clock())


@dataclass(frozen=True, slots=True)
class Telling:
    """Of one deployment, in one channel."""

    services: Services
    workspaces: Workspaces
    row: DeploymentRow
    target: Target
    notice: DeploymentNotice

    async def keep_up(self) -> None:
        async with self.services.pool.connection() as connection:
            there = await slack_messages.newest(
                connection, self.row.id, "message", self.target.name
            )
        # What is there is kept up to date, or it would go on saying what is no longer so.
        if not there and not self.target.destination.wants(self.row.phase):
            return
        waits: list[RetryAt] = []
        try:
            there = [await self._post("message").keep_up(messages.main_message(self.notice))]
        except RetryAt as later:
            waits.append(later)  # its thread need not wait for an edit
        if any(message.ts for message in there):
            try:
                await self._keep_thread(there[0])
            except RetryAt as later:
                waits.append(later)
        if waits:
            raise min(waits, key=lambda later: later.at)

    async def alert(self) -> None:
        who = await self._mention()
        post = self._post("failures", link_names=who.by_name)
        await post.once(messages.alert(self.notice, who.text))

    async def _keep_thread(self, parent: SlackMessage) -> None:
        async with self.services.pool.connection() as connection:
            replies = await slack_messages.newest(connection, self.row.id, "step", self.target.name)
            after = max((reply.about for reply in replies if reply.ts), default=0)
            new = await timeline.shown(connection, self.row.id, after)
        # Read after the steps: all of them are known in the row that says what to make of them.
        await require_newest(self.services, self.row)
        waiting = next((reply for reply in replies if not reply.ts), None)
        begun = waiting.about if waiting and waiting.tries else None
        told = [s for s in new if begun is None or s.position <= begun]
        worth = self._worth_telling(told)
        if not worth:
            await self._drop(waiting)
            return
        if waiting and begun is None:
            async with self.services.pool.connection() as connection:
                await slack_messages.move(connection, waiting, told[-1].position)
        urgent = self._is_urgent(worth)
        if waiting is None and not urgent and self.row.ended_at is None:
            if len(replies) >= MOST_REPLIES:
                return
            together_until = worth[0].at + self.services.timing.replies_gathered_for
            if self.services.clock() < together_until:
                raise RetryAt("more steps may follow at once", together_until)
        shown = await self._reply(parent, worth, begun or told[-1].position, urgent=urgent)
        if shown.ts and len(told) < len(new):
            raise RetryAt("more has happened since that reply was begun", self.services.clock())

    async def _drop(self, waiting: SlackMessage | None) -> None:
        """What this channel does not want to hear any more must not hold back what follows."""
        if waiting is not None:
            async with self.services.pool.connection() as connection:
                await slack_messages.give_up(connection, waiting)
            raise RetryAt(
                "goes on behind a reply that is not wanted any more", self.services.clock()
            )

    async def _reply(
        self, parent: SlackMessage, worth: Sequence[TimelineEntry], about: int, *, urgent: bool
    ) -> SlackMessage:
        who = await self._mention() if urgent else Mention()
        message = messages.thread_reply(
            self.notice, [notice_entry(step) for step in worth], broadcast=urgent, mention=who.text
        )
        post = self._post(
            "step", about=about, parent=parent, broadcast=urgent, link_names=who.by_name
        )
        try:
            return await post.once(message)
        except Gone as gone:
            async with self.services.pool.connection() as connection:
                await slack_messages.forget(connection, parent)
            raise RetryAt("the message was deleted", self.services.clock()) from gone

    def _worth_telling(self, told: Sequence[TimelineEntry]) -> list[TimelineEntry]:
        """What this channel wants to hear, and nothing twice in a row."""
        wanted = [step for step in told if self._wants(step)]
        first = wanted[:1]
        return first + [new for old, new in pairwise(wanted) if _reads(old) != _reads(new)]

    def _wants(self, step: TimelineEntry) -> bool:
        phase = phase_of(step.state)
        return step.state == ASKED or (phase is not None and self.target.destination.wants(phase))

    def _is_urgent(self, worth: Sequence[TimelineEntry]) -> bool:
        """Whether somebody is to look now."""
        if self.notice.held:
            return worth[-1].held
        states = {phase_of(step.state) for step in worth}
        if self.row.phase in FAILED or self.notice.recovered:
            return self.row.phase in states
        return False

    async def _mention(self) -> Mention:
        return await mention(
            self.services, self.workspaces, self.target, self.row, self.notice.requested_by
        )

    def _post(
        self,
        purpose: slack_messages.Purpose,
        *,
        about: int = 0,
        parent: SlackMessage | None = None,
        broadcast: bool = False,
        link_names: bool = False,
    ) -> Post:
        return Post(
            services=self.services,
            workspaces=self.workspaces,
            row=self.row,
            target=self.target,
            purpose=purpose,
            about=about,
            parent=parent,
            broadcast=broadcast,
            link_names=link_names,
        )


def _reads(entry: TimelineEntry) -> tuple[str, str]:
    return entry.state, entry.description
