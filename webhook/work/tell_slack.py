"""Slack hears of a deployment: one message a channel, edited in place; a failure also as a reply
that the channel sees, and in the channel for failures.

Only the newest state is sent, however many changes there were. A post is claimed before the call;
if it is found so, the channel's history is searched before anything is posted again.
"""

from datetime import timedelta

import structlog

from webhook.deployments.route import route
from webhook.deployments.states import Phase
from webhook.outbound import messages
from webhook.outbound.messages import Told
from webhook.outbound.slack import Gone, Message, Posted, Slack
from webhook.outbound.trouble import Later, Refused, Unsure
from webhook.store import deployments, slack_messages
from webhook.store.deployments import DeploymentRow
from webhook.store.slack_messages import Purpose, SlackMessage
from webhook.work.relay import Relay, log_about, now

log = structlog.get_logger()

# How long a call may be under way in whatever process, and the seconds after which one without a
# clear answer is looked into.
CALL_MAY_TAKE = timedelta(seconds=12)
LOOK_AFTER = 3


async def tell_slack(relay: Relay, deployment_id: int) -> None:
    row = await relay.read(deployment_id)
    environment = route(relay.config, row.repo, row.environment) if row else None
    if relay.slack is None or row is None or environment is None:
        return
    log_about(row)
    told = await _told(relay, row)
    channel, failures = environment.slack.channel, environment.slack.failures
    failed = row.phase in (Phase.FAILURE, Phase.ERROR)
    if channel:
        living = Post(relay, relay.slack, row, "message", channel)
        shown = await living.keep_up(messages.living(told))
        if failed and shown.ts:
            reply = Post(relay, relay.slack, row, "reply", channel, thread_ts=shown.ts)
            await reply.once(messages.failure(told, "reply"))
    if failures and failed:
        alarm = Post(relay, relay.slack, row, "failures", failures)
        await alarm.once(messages.failure(told, "failures"))
    newer = await relay.read(row.id)
    if newer is not None and newer.version != row.version:
        # Somebody else may have said more by now, which we would have turned back.
        raise Later("it has changed meanwhile", now())


async def _told(relay: Relay, row: DeploymentRow) -> Told:
    async with relay.pool.connection() as connection:
        last = await deployments.last_success(connection, row)
    return Told(
        deployment_id=row.id,
        repo=row.repo,
        repo_url=row.repo_url,
        environment=row.environment,
        production=row.production,
        ref=row.ref,
        sha=row.sha,
        task=row.task,
        creator=row.creator,
        phase=row.phase,
        words=row.words,
        seconds=messages.seconds_between(row.started_at or row.asked_at, row.ended_at),
        page_url=relay.links.page(row.repo, row.id),
        run_url=(row.run or {}).get("url", ""),
        handler=row.handler,
        environment_url=row.environment_url,
        since_sha=last.sha if last else "",
    )


class Post:
    """One message of a deployment, and its row in the store."""

    def __init__(
        self,
        relay: Relay,
        slack: Slack,
        row: DeploymentRow,
        purpose: Purpose,
        channel: str,
        *,
        thread_ts: str = "",
    ) -> None:
        self._pool = relay.pool
        self._slack = slack
        self._key = (row.id, purpose, channel)
        self._thread_ts = thread_ts

    async def keep_up(self, message: Message) -> SlackMessage:
        """Post it, or edit it where it says something else by now."""
        known = await self._known()
        if not known.ts:
            return await self.once(message)
        shown = messages.digest(message)
        if known.shown == shown:
            return known
        try:
            await self._slack.edit(Posted(known.team, known.channel_id, known.ts), message)
        except Gone:
            async with self._pool.connection() as connection:
                await slack_messages.forget(connection, known)
            return await self.once(message)
        except Unsure as trouble:
            raise Later.in_seconds(str(trouble), LOOK_AFTER) from trouble
        except Refused as refused:
            return await self._in_trouble(known, refused)
        async with self._pool.connection() as connection:
            await slack_messages.edited(connection, known, shown)
        return known

    async def once(self, message: Message) -> SlackMessage:
        """Post it, if that was not done before."""
        known = await self._known()
        if known.ts:
            return known
        if known.tried_until and known.tried_until > now():
            raise Later("a call may be under way", known.tried_until)
        try:
            posted = await self._found(known, message)
            # What a post that nobody recorded says is not known: an edit follows.
            shown = "" if posted else messages.digest(message)
            posted = posted or await self._posted(known, message)
        except Unsure as trouble:
            async with self._pool.connection() as connection:
                await slack_messages.answer_owed(connection, known, LOOK_AFTER)
            raise Later.in_seconds(str(trouble), LOOK_AFTER) from trouble
        except Refused as refused:
            return await self._in_trouble(known, refused)
        async with self._pool.connection() as connection:
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

    async def _known(self) -> SlackMessage:
        async with self._pool.connection() as connection:
            return await slack_messages.claim(connection, *self._key)

    async def _found(self, known: SlackMessage, message: Message) -> Posted | None:
        """A post of an earlier try that got through although nobody recorded it."""
        if known.tried_until is None or known.first_tried_at is None:
            return None
        async with self._pool.connection() as connection:
            channel_id = await slack_messages.channel_id(connection, known.channel)
        return await self._slack.find(
            channel_id, message.key, known.first_tried_at, self._thread_ts
        )

    async def _posted(self, known: SlackMessage, message: Message) -> Posted:
        await self._slack.bot()  # so that the claim covers one call only
        seconds = CALL_MAY_TAKE.total_seconds()
        async with self._pool.connection() as connection:
            if not await slack_messages.claim_post(connection, known, seconds):
                raise Later("a call is under way", now() + CALL_MAY_TAKE)
        try:
            return await self._slack.post(
                known.channel,
                message,
                thread_ts=self._thread_ts,
                broadcast=bool(self._thread_ts),
            )
        except Later:
            async with self._pool.connection() as connection:
                await slack_messages.not_posted(connection, known)
            raise

    async def _in_trouble(self, known: SlackMessage, refused: Refused) -> SlackMessage:
        """Kept for the page and for `check`; the next change of the deployment tries again."""
        async with self._pool.connection() as connection:
            await slack_messages.in_trouble(connection, known, str(refused))
        log.error("Slack refuses", channel=known.channel, words=str(refused))
        return known
