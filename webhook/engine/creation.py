"""A deployment is created on GitHub: exactly one, however often it is asked for.

Who asks is a row of `actions`: a person, or a rule of deploy.yml. After a call without a clear
response, GitHub's list is searched for the marker of the row, more than once, because GitHub may
complete late what it was sent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from webhook.config.environments import Environment
from webhook.engine.outbox import Outbox, Policy, Write
from webhook.engine.requests import add_to_timeline
from webhook.engine.services import Services
from webhook.errors import Rejected, RetryAt
from webhook.github.deployments import NewDeployment, create_deployment, find_deployment
from webhook.github.tokens import Scope
from webhook.rejections import RejectionPolicy
from webhook.store import actions, deployments, outbox
from webhook.store.actions import ActionRow, Subject
from webhook.store.database import Async
from webhook.store.outbox import Entry, Ref
from webhook.store.schedule import Key

log = structlog.get_logger()

# With which the marker of each deployment begins that a relay has created.
ANY_MARKER = "(relay action "


@dataclass(frozen=True, slots=True)
class Plan:
    """The deployment to create, and its text in the timeline of the one that it comes from.
    `ref_name`: the branch or tag where a commit of it is created."""

    scope: Scope
    request: NewDeployment
    message: str = ""
    ref_name: str = ""


@dataclass(slots=True)
class DeploymentWrite(Write):
    """`plan`: what to create, if it is still possible. `repository`: where an earlier call created
    it. `planned`: what is to be created, once that is known; `sending`: what was sent."""

    services: Services
    action: ActionRow
    plan: Callable[[], Awaitable[Plan]]
    repository: Callable[[], Awaitable[Scope]]
    planned: Plan | None = None
    sending: Plan | None = None

    async def deliver(self) -> None:
        """Errors: those of `plan`, and of `Outbox`; `Rejected` with `sending` None is not GitHub's
        answer to the deployment itself."""
        timing = self.services.timing
        policy = Policy(call=timing.claim_lasts, lookups=timing.deployment_lookups_after)
        async with self.services.pool.connection() as connection:
            entry = await actions.outbox_entry(connection, self.action)
        await Outbox(self.services.pool, self.services.clock).deliver(entry, self, policy)

    async def prepare(self) -> bool:
        self.planned = await self.plan()
        await self.services.github.require_access(self.planned.scope.only(deployments="write"))
        return True

    async def find(self, entry: Entry) -> Ref | None:
        created = await find_deployment(
            self.services.github,
            await self.repository(),
            sha_or_ref=self.action.ref,
            environment=self.action.environment,
            marker=marker(self.action),
        )
        return None if created is None else {"id": str(created)}

    async def claim(self, connection: Async, entry: Entry, lasts: timedelta) -> Entry | None:
        assert self.planned is not None
        subject = Subject(
            repo=self.planned.scope.repo,
            repo_id=self.planned.scope.repo_id,
            environment=self.planned.request.environment,
            ref=self.planned.request.ref,
            ref_name=self.planned.ref_name,
        )
        async with connection.transaction():
            claimed = await outbox.claim(connection, entry, lasts)
            if claimed is None:
                return None
            if not await actions.plan(connection, self.action.id, subject, self.planned.message):
                raise RetryAt("somebody else has ended this action", self.services.clock())
        return claimed

    async def send(self) -> Ref:
        assert self.planned is not None
        self.sending = self.planned
        created = await create_deployment(
            self.services.github, self.planned.scope, self.planned.request
        )
        return {"id": str(created)}

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        if error.certain:
            return None
        return RejectionPolicy.doubtful(self.services.timing).retry_at(since, now)

    async def record(self, connection: Async, entry: Entry, ref: Ref, digest: str) -> Entry:
        async with connection.transaction():
            recorded = await outbox.sent(connection, entry, ref, digest)
            await self._end(connection, int(ref["id"]))
        return recorded

    async def _end(self, connection: Async, created: int) -> None:
        message = self.sending.message if self.sending else self.action.message
        log.info("deployment requested", created=created, found_again=self.sending is None)
        if not await actions.end(connection, self.action.id, "done", message, created):
            log.warning("somebody else ended this action meanwhile", created=created)
            return
        if self.action.deployment_id is not None:
            await add_to_timeline(self.services, connection, self.action, message, created)
        new = await deployments.read(connection, created)
        if new is not None:
            # Its event was quicker: its message has no link back yet, nor do gates know its asker.
            await self.services.notify(connection, new, also=[Key("advance", new.id)])


def description_of(listed: Environment, environment: Environment, requested: str) -> str:
    """With what the repository's own file says, and behind it who asked. What the operator's says,
    in `listed`, is for the readers of deploy.yml."""
    if environment.description in ("", listed.description):
        return requested
    return f"{environment.description} ({requested[:1].lower()}{requested[1:]})"


def marker(action: ActionRow) -> str:
    """By which what it creates is found again; unique among all relays and their stores."""
    return f"{ANY_MARKER}{action.id}-{action.key[:8]})"
