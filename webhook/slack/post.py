"""One message in Slack, and its row in the store: posted once, edited when it is to say more.

A post is claimed before the call; where it is found so, the channel's history is searched before
anything is posted again. Each call waits for its turn in its channel.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from webhook.engine.services import Services
from webhook.errors import Gone, Rejected, RetryAt, UnknownOutcome
from webhook.slack.blocks.message import digest
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.client import Limited, Posted, Slack, is_channel_id
from webhook.slack.targets import Target
from webhook.slack.workspaces import Workspaces
from webhook.store import rate_limits, slack_messages
from webhook.store.deployments import DeploymentRow
from webhook.store.rate_limits import Slot
from webhook.store.slack_messages import Purpose, SlackMessage
from webhook.timing import Timing

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """`about`: the turn of the last step that it tells of. `parent`: whose thread it is in."""

    services: Services
    workspaces: Workspaces
    row: DeploymentRow
    target: Target
    purpose: Purpose
    about: int = 0
    parent: SlackMessage | None = None
    broadcast: bool = False
    link_names: bool = False

    async def keep_up(self, message: BlockMessage) -> SlackMessage:
        """Post it, or edit it where it says something else by now."""
        known, shown = await self._known(), digest(message)
        if not known.ts:
            known = await self.once(message)
        if known.shown == shown or not known.ts:
            return known
        await self._turn(known, "edit")
        posted = Posted(known.team, known.channel_id, known.ts)
        try:
            await self.workspaces.using(
                known.team, lambda slack: slack.edit(posted, message, key=self._key)
            )
        except Gone:
            async with self.services.pool.connection() as connection:
                await slack_messages.forget(connection, known)
            return await self.once(message)
        except Limited as limited:
            raise await self._held(limited, "edit") from limited
        except UnknownOutcome as trouble:
            again = self._now() + self._rest(self._timing.edit_retry_at_most)
            raise RetryAt(str(trouble), again) from trouble
        except Rejected as refused:
            return await self._in_trouble(known, refused)
        async with self.services.pool.connection() as connection:
            await slack_messages.edited(connection, known, shown)
        return known

    async def once(self, message: BlockMessage) -> SlackMessage:
        """Post it, if that was not done before."""
        known = await self._known()
        if known.ts:
            return known
        if known.tried_until and known.tried_until > self._now():
            raise RetryAt("a call may be under way", known.tried_until)
        team = self.parent.team if self.parent else self.target.destination.workspace or ""
        try:
            posted = await self.workspaces.using(team, lambda slack: self._found(slack, known))
            # What a post that nobody recorded says is not known: an edit follows.
            shown = "" if posted else digest(message)
            if posted:
                await self._leave_queue(known)
            else:
                await self._turn(known, "post")
                posted = await self.workspaces.using(
                    team, lambda slack: self._posted(slack, known, message)
                )
        except Limited as limited:
            raise await self._held(limited, "post") from limited
        except UnknownOutcome as trouble:
            again = self._now() + self._timing.message_lookups_after[0]
            raise RetryAt(str(trouble), again) from trouble
        except Gone:
            raise  # of its parent
        except Rejected as refused:
            return await self._in_trouble(known, refused)
        async with self.services.pool.connection() as connection:
            await slack_messages.posted(
                connection,
                known,
                team=posted.team,
                channel_id=posted.channel_id,
                ts=posted.ts,
                shown=shown,
            )
        log.info("Slack told", channel=known.channel, purpose=known.purpose)
        return await self._known()

    @property
    def _timing(self) -> Timing:
        return self.services.timing

    def _now(self) -> datetime:
        return self.services.clock()

    @property
    def _key(self) -> str:
        """With which the message is found again."""
        about = f":{self.about}" if self.about else ""
        return f"{self.row.id}:{self.purpose}{about}"

    @property
    def _row(self) -> tuple[int, Purpose, str, int]:
        return self.row.id, self.purpose, self.target.name, self.about

    async def _known(self) -> SlackMessage:
        async with self.services.pool.connection() as connection:
            return await slack_messages.claim(connection, *self._row)

    async def _turn(self, known: SlackMessage, kind: str) -> None:
        """Wait for it, where others are before us."""
        lane = self._lane(kind)
        async with self.services.pool.connection() as connection, connection.transaction():
            epoch = await rate_limits.epoch(connection, lane)
            if known.slot_at is not None and known.slot_epoch == epoch:
                slot = Slot(known.slot_at, epoch)
            else:
                slot = await rate_limits.take(connection, lane, self._timing.channel_interval)
            due = slot.at <= self._now() + self._timing.slot_tolerance
            await slack_messages.keep_slot(connection, known, None if due else slot)
        if not due:
            raise RetryAt("its turn in the channel comes later", slot.at)

    def _lane(self, kind: str) -> str:
        return f"{self.target.name} {kind}"

    async def _held(self, limited: Limited, kind: str) -> RetryAt:
        async with self.services.pool.connection() as connection:
            await rate_limits.hold(connection, self._lane(kind), limited.at)
        return RetryAt(str(limited), limited.at)

    async def _found(self, slack: Slack, known: SlackMessage) -> Posted | None:
        """A post of an earlier try that got through although nobody recorded it."""
        if known.tried_until is None or known.first_tried_at is None:
            return None
        thread = self.parent.ts if self.parent else ""
        return await slack.find(
            await self._channel_id(known), self._key, known.first_tried_at, thread
        )

    async def _channel_id(self, known: SlackMessage) -> str:
        """Empty where only its name is known, by which nothing can be searched."""
        if self.parent:
            return self.parent.channel_id
        async with self.services.pool.connection() as connection:
            found = await slack_messages.channel_id(connection, known.channel)
        named = self.target.channel
        return found or (named if is_channel_id(named) else "")

    async def _posted(self, slack: Slack, known: SlackMessage, message: BlockMessage) -> Posted:
        await slack.bot()  # so that the claim covers one call only
        lasts = self._timing.claim_lasts
        async with self.services.pool.connection() as connection:
            if not await slack_messages.claim_post(connection, known, lasts.total_seconds()):
                raise RetryAt("a call is under way", self._now() + lasts)
        try:
            return await slack.post(
                self.parent.channel_id if self.parent else self.target.channel,
                message,
                key=self._key,
                thread_ts=self.parent.ts if self.parent else "",
                broadcast=self.broadcast,
                link_names=self.link_names,
            )
        except (RetryAt, Rejected):
            async with self.services.pool.connection() as connection:
                await slack_messages.not_posted(connection, known)
            raise
        except UnknownOutcome as trouble:
            raise await self._owed(slack, known, trouble) from trouble

    async def _owed(self, slack: Slack, known: SlackMessage, trouble: UnknownOutcome) -> RetryAt:
        """Where the history cannot be searched, each further try may post it once more: so they
        become rare."""
        searchable = await self._channel_id(known) and await slack.may_search()
        after = self._timing.message_lookups_after
        rest = after[0 if searchable else min(known.tries, len(after) - 1)]
        async with self.services.pool.connection() as connection:
            await slack_messages.answer_owed(connection, known, rest.total_seconds())
        return RetryAt(str(trouble), self._now() + rest)

    def _rest(self, longest: timedelta) -> timedelta:
        """The longer the trouble, the longer."""
        lasted = self._now() - self.row.phase_at
        return max(self._timing.edit_retry_at_least, min(lasted / 4, longest))

    async def _leave_queue(self, known: SlackMessage) -> None:
        async with self.services.pool.connection() as connection:
            await slack_messages.keep_slot(connection, known, None)

    async def _in_trouble(self, known: SlackMessage, refused: Rejected) -> SlackMessage:
        """Kept for the page and for `check`, and tried again now and then."""
        words = str(refused)
        for channel_id in (known.channel_id, self.parent.channel_id if self.parent else ""):
            words = words.replace(channel_id, self.target.channel) if channel_id else words
        async with self.services.pool.connection() as connection:
            await slack_messages.in_trouble(connection, known, words)
        if known.trouble != words:
            log.error("Slack refuses", channel=known.channel, words=words)
        timing = self._timing
        if self._now() - self.row.phase_at > timing.refused_given_up_after:
            return known
        rest = max(timing.refused_retry_at_least, self._rest(timing.refused_retry_at_most))
        raise RetryAt(words, self._now() + rest)
