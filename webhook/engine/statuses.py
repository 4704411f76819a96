"""Our entries of a timeline become GitHub's deployment statuses: in order, each once.

Our log_url ends in the entry's number, by which a status is recognised.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest

import structlog

from webhook.deployments.phases import Phase, follows
from webhook.engine.outages import Installation
from webhook.engine.outbox import Outbox, Policy, Write
from webhook.engine.rule_answers import send_answers
from webhook.engine.services import Services, log_about, scope
from webhook.errors import INVALID, Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.github.client import Status
from webhook.rejections import RejectionPolicy
from webhook.security.signing import ENTRY_ANCHOR
from webhook.store import deployments, outbox, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.outbox import Entry, Ref, State
from webhook.store.timeline import TimelineEntry
from webhook.text import one_line

log = structlog.get_logger()

# GitHub accepts 80 writes a minute: where more wait, those that only change the description are
# skipped.
MOST_WAITING = 20


async def send_statuses(services: Services, deployment_id: int) -> None:
    row = await services.read(deployment_id)
    if row is None:
        return
    log_about(row)
    if row.watched:
        await send_answers(services, row)
        return
    async with services.pool.connection() as connection:
        waiting = await outbox.pending(connection, "status", row.id)
        known = await timeline.of_positions(connection, row.id, [one.position for one in waiting])
    too_many = len(waiting) > MOST_WAITING
    for entry, following in zip_longest(waiting, waiting[1:]):
        reported = known[entry.position]
        same = following and reported.state == known[following.position].state
        if too_many and same and entry.state == "waiting":
            async with services.pool.connection() as connection:
                await outbox.skip(connection, entry)  # the later one replaces it
        else:
            await _send(services, entry, StatusWrite(services, row, entry, reported))


async def _send(services: Services, entry: Entry, write: "StatusWrite") -> None:
    reported, timing = write.reported, services.timing
    policy = Policy(call=timing.claim_lasts, lookups=[timing.status_lookup_after])
    try:
        sent = await Outbox(services.pool, services.clock).deliver(entry, write, policy)
    except UnknownOutcome as error:
        raise RetryAt(str(error), services.clock() + timing.status_lookup_after) from error
    except Rejected as error:
        log.error("GitHub rejects the status", state=reported.state, error=str(error))
    else:
        if sent.state == "sent":
            log.info("status written", state=reported.state, description=reported.description)
            await services.outages.got_through(Installation(write.row.installation_id), reported.at)


@dataclass(frozen=True, slots=True)
class StatusWrite(Write):
    """An entry of the timeline as a status on GitHub."""

    services: Services
    row: DeploymentRow
    entry: Entry
    reported: TimelineEntry

    async def prepare(self) -> bool:
        await self.services.github.require_access(scope(self.row))
        return True

    async def claim(self, connection: Async, entry: Entry, lasts: timedelta) -> Entry | None:
        """On GitHub the newest status counts: ours must not hide a state that others reported.
        Whoever records such a state has the row locked, and sees our claim or is seen here."""
        claimed = await outbox.claim(connection, entry, lasts)
        phase = Phase(self.reported.state)
        if claimed is None or phase.final:
            return claimed
        await deployments.wait_for_changes(connection, self.row.id)
        later = [other.value for other in Phase if follows(phase, other)]
        if await timeline.reported_by_others(connection, self.row.id, later):
            return await outbox.skip(connection, claimed)
        return claimed

    async def find(self, entry: Entry) -> Ref | None:
        found = await self.services.github.find_status(scope(self.row), self.row.id, self._mark)
        return None if found is None else _ref(found)

    async def send(self) -> Ref:
        status = Status(
            state=self.reported.state,
            description=one_line(self.reported.description),
            log_url=self.services.links.page(self.row.repo, self.row.id) + self._mark,
            environment_url=self.reported.environment_url,
        )
        try:
            return await self._create(status)
        except Rejected as error:
            if not self._may_be_for_its_address(error) or not status.environment_url:
                raise
        # The command or the tool named it; that the deployment ended matters more.
        log.warning("GitHub rejects the environment_url", environment_url=status.environment_url)
        async with self.services.pool.connection() as connection:
            await outbox.extend(connection, self.entry.id, self.services.timing.claim_lasts)
        return await self._create(replace(status, environment_url=""))

    async def _create(self, status: Status) -> Ref:
        return _ref(await self.services.github.create_status(scope(self.row), self.row.id, status))

    async def record(self, connection: Async, entry: Entry, ref: Ref, digest: str) -> Entry:
        return await timeline.record_status(connection, entry, self.reported.id, int(ref["id"]))

    def _may_be_for_its_address(self, error: Rejected) -> bool:
        """A single 422 that does not say so may have another reason."""
        return error.code == INVALID and (error.certain or self.entry.attempts > 0)

    async def probed_at(self, entry: Entry, again: datetime) -> datetime:
        party = Installation(self.row.installation_id)
        return await self.services.outages.probed_at(party, self.row.id, again)

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        timing = self.services.timing
        if isinstance(error, Forbidden):
            return RejectionPolicy.access(timing).retry_at(since, now)
        if error.certain:
            return None
        return RejectionPolicy.doubtful(timing).retry_at(since, now)

    def state_after(self, error: Rejected, *, in_doubt: bool, retried: bool) -> State:
        if not retried:
            return "rejected"
        return "claimed" if in_doubt else "waiting"

    @property
    def _mark(self) -> str:
        return f"{ENTRY_ANCHOR}{self.reported.id}"


def _ref(github_id: int) -> Ref:
    return {"id": str(github_id)}
