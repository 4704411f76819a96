"""An action becomes a deployment on GitHub: exactly one, however often it is pressed or delivered.

After a call without a clear response, GitHub's list is searched for the action's marker, more than
once, because GitHub may complete late what it was sent.
"""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from webhook.engine.outbox import Outbox, Policy, Write
from webhook.errors import Excluded, Rejected, RetryAt
from webhook.github.deployments import NewDeployment, create_deployment, find_deployment
from webhook.github.tokens import Scope
from webhook.rejections import RejectionPolicy
from webhook.slack.actions.contract import Action, add_to_timeline
from webhook.slack.actions.permissions import (
    Authorized,
    Declined,
    authorize,
    rejected,
    routed,
    scope_of,
)
from webhook.slack.actions.services import ActionServices
from webhook.store import actions, deployments, outbox
from webhook.store.actions import ActionRow, Subject
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.outbox import Entry, Ref
from webhook.store.schedule import Key

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """The deployment to create, and its text in the timeline of the one that was pressed.
    `ref_name`: the branch or tag where a commit of it is created."""

    scope: Scope
    request: NewDeployment
    message: str = ""
    ref_name: str = ""


class CreateDeployment(Action):
    """An action whose whole effect is another deployment."""

    @abstractmethod
    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        """Raises `Declined` if it is no longer possible: a button may be old."""

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        write = DeploymentWrite(services, action, self)
        timing = services.timing
        policy = Policy(call=timing.claim_lasts, lookups=timing.deployment_lookups_after)
        async with services.pool.connection() as connection:
            entry = await actions.outbox_entry(connection, action)
        try:
            await Outbox(services.pool, services.clock).deliver(entry, write, policy)
        except Rejected as error:
            if write.sending is None:
                raise
            repo = action.repo or write.sending.scope.repo
            raise rejected(error, repo, "Nothing was deployed.") from error

    def done(self, action: ActionRow) -> str:
        created = action.created_deployment_id
        return f"Deployment {created} was requested" if created else super().done(action)


@dataclass(slots=True)
class DeploymentWrite(Write):
    """`planned`: what is to be created, once that is known; `sending`: what was sent."""

    services: ActionServices
    action: ActionRow
    kind: CreateDeployment
    planned: Plan | None = None
    sending: Plan | None = None

    async def prepare(self) -> bool:
        by = await authorize(self.services, self.action, self.kind.permission)
        self.planned = await self.kind.plan(self.services, self.action, by)
        await self.services.github.require_access(self.planned.scope.only(deployments="write"))
        return True

    async def find(self, entry: Entry) -> Ref | None:
        created = await find_deployment(
            self.services.github,
            await scope_of(self.services, self.action),
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


def marker(action: ActionRow) -> str:
    """By which what it creates is found again; unique among all relays and their stores."""
    return f"(relay action {action.id}-{action.key[:8]})"


def plan_like(
    row: DeploymentRow, old: DeploymentRow, action: ActionRow, *, task: str, description: str
) -> NewDeployment:
    """In the environment of `row`, what `old` was."""
    return NewDeployment(
        ref=old.sha,
        environment=row.environment,
        task=task,
        payload=old.payload,
        description=description,
        production=row.production_on_github,
        transient=row.transient,
        marker=marker(action),
    )


def name_of(row: DeploymentRow) -> str:
    """The branch or tag that its commit was deployed as; "" where nobody named one."""
    return "" if row.shown_ref == row.sha else row.shown_ref


async def require_newest(services: ActionServices, action: ActionRow, row: DeploymentRow) -> None:
    """A button may be older than what happened since."""
    routed(services, row.repo, row.environment)
    if row.watched:
        message = f"A GitHub Actions workflow made deployment {row.id} and deploys it"
        raise Declined("not_possible", f"{message}; run the workflow again on GitHub")
    async with services.pool.connection() as connection:
        if await actions.excluded_by(connection, action):
            raise Excluded
        newest = await deployments.is_newest(connection, row)
    if not newest:
        message = f"Another deployment to {row.environment} was requested after {row.id}"
        raise Declined("not_possible", f"{message}; use the buttons of the newest one")
