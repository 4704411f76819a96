"""Our entries of a timeline become GitHub's deployment statuses: in order, each once.

Our log_url ends in the entry's number, by which a status is known again.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest

import structlog

from webhook.deployments.phases import Phase, follows
from webhook.engine.outbox import Outbox, Policy, Write
from webhook.engine.services import Services, log_about, scope
from webhook.errors import INVALID, Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.github.client import Status
from webhook.security.links import ENTRY_ANCHOR
from webhook.store import outbox, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.outbox import Entry, Ref, State
from webhook.store.timeline import TimelineEntry
from webhook.text import one_line

log = structlog.get_logger()

# GitHub takes 80 writes a minute: where more wait, those that only say other words are left out.
MOST_WAITING = 20


async def send_statuses(services: Services, deployment_id: int) -> None:
    row = await services.read(deployment_id)
    if row is None:
        return
    log_about(row)
    async with services.pool.connection() as connection:
        waiting = await outbox.pending(connection, "status", row.id)
        known = await timeline.of_positions(connection, row.id, [one.position for one in waiting])
    too_many = len(waiting) > MOST_WAITING
    for entry, following in zip_longest(waiting, waiting[1:]):
        says = known[entry.position]
        same = following and says.state == known[following.position].state
        if too_many and same and entry.state == "waiting":
            async with services.pool.connection() as connection:
                await outbox.skip(connection, entry)  # the later one says more
        else:
            await _send(services, entry, StatusWrite(services, row, entry, says))


async def _send(services: Services, entry: Entry, write: "StatusWrite") -> None:
    says, timing = write.says, services.timing
    policy = Policy(call=timing.claim_lasts, lookups=[timing.status_lookup_after])
    try:
        sent = await Outbox(services.pool, services.clock).deliver(entry, write, policy)
    except UnknownOutcome as error:
        raise RetryAt(str(error), services.clock() + timing.status_lookup_after) from error
    except Rejected as refused:
        log.error("GitHub refuses the status", state=says.state, error=str(refused))
        if write.may_come_back(refused):
            raise RetryAt(str(refused), services.clock() + timing.installation_retry) from refused
    else:
        if sent.state == "sent":
            log.info("status written", state=says.state, description=says.description)


@dataclass(frozen=True, slots=True)
class StatusWrite(Write):
    """An entry of the timeline as a status on GitHub."""

    services: Services
    row: DeploymentRow
    entry: Entry
    says: TimelineEntry

    async def prepare(self) -> bool:
        if await self._came_too_late():
            return False
        await self.services.github.require_access(scope(self.row))
        return True

    async def _came_too_late(self) -> bool:
        """On GitHub the newest status counts: ours must not turn back what others reported."""
        phase = Phase(self.says.state)
        if phase.final:
            return False
        later = [other.value for other in Phase if follows(phase, other)]
        async with self.services.pool.connection() as connection:
            return await timeline.reported_by_others(connection, self.row.id, later)

    async def find(self, entry: Entry) -> Ref | None:
        found = await self.services.github.find_status(scope(self.row), self.row.id, self._mark)
        return None if found is None else _ref(found)

    async def send(self) -> Ref:
        status = Status(
            state=self.says.state,
            description=one_line(self.says.description),
            log_url=self.services.links.page(self.row.repo, self.row.id) + self._mark,
            environment_url=self.says.environment_url,
        )
        try:
            return await self._create(status)
        except Rejected as error:
            if error.code != INVALID or not status.environment_url:
                raise
        # The command or the tool named it; that the deployment ended matters more.
        log.warning("GitHub refuses the environment_url", environment_url=status.environment_url)
        async with self.services.pool.connection() as connection:
            await outbox.extend(connection, self.entry.id, self.services.timing.claim_lasts)
        return await self._create(replace(status, environment_url=""))

    async def _create(self, status: Status) -> Ref:
        return _ref(await self.services.github.create_status(scope(self.row), self.row.id, status))

    async def record(self, connection: Async, ref: Ref) -> None:
        await timeline.know_status(connection, self.says.id, int(ref["id"]))

    def state_after(self, refused: Rejected, *, in_doubt: bool) -> State:
        if not self.may_come_back(refused):
            return "rejected"
        return "claimed" if in_doubt else "waiting"

    def may_come_back(self, refused: Rejected) -> bool:
        """The App's access, or the repository's."""
        given_up_at = self.says.at + self.services.timing.installation_given_up_after
        return isinstance(refused, Forbidden) and self.services.clock() <= given_up_at

    @property
    def _mark(self) -> str:
        return f"{ENTRY_ANCHOR}{self.says.id}"


def _ref(github_id: int) -> Ref:
    return {"id": str(github_id)}
