"""A press becomes a deployment on GitHub: exactly one, however often it is pressed or delivered.

What came of a call without a clear answer is searched in GitHub's list by the action's marker, more
than once, because GitHub may end late what it was asked for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from webhook.engine.outbox import Outbox, Policy, Write
from webhook.engine.services import Services
from webhook.errors import Rejected, RetryAt
from webhook.github.deployments import create_deployment, find_deployment
from webhook.slack.actions.orders import Order, marker
from webhook.slack.actions.outcome import tell_there
from webhook.slack.actions.permissions import NotDone, require_in_time, scope_of
from webhook.slack.actions.reasons import refused_words
from webhook.store import actions, deployments, outbox
from webhook.store.actions import Action
from webhook.store.database import Async
from webhook.store.outbox import Entry, Ref

log = structlog.get_logger()

MakeOrder = Callable[[Services, Action], Awaitable[Order]]


async def create(services: Services, action: Action, make_order: MakeOrder) -> None:
    write = DeploymentWrite(services, action, make_order)
    timing = services.timing
    policy = Policy(call=timing.claim_lasts, lookups=timing.deployment_lookups_after)
    async with services.pool.connection() as connection:
        entry = await outbox.entry_of(
            connection, "deployment", action.deployment_id, action_id=action.id
        )
    try:
        await Outbox(services.pool, services.clock).deliver(entry, write, policy)
    except Rejected as refused:
        if write.sending is None:
            raise
        words = refused_words(refused, action.repo or write.sending.scope.repo)
        raise NotDone(f"Nothing was deployed. {words}", "failed") from refused


@dataclass(slots=True)
class DeploymentWrite(Write):
    """`order`: what is to be asked for, once that is known; `sending`: what was."""

    services: Services
    action: Action
    make_order: MakeOrder
    order: Order | None = None
    sending: Order | None = None

    async def prepare(self) -> bool:
        require_in_time(self.services, self.action)
        self.order = await self.make_order(self.services, self.action)
        await self.services.github.require_access(self.order.scope.only(deployments="write"))
        return True

    async def find(self, entry: Entry) -> Ref | None:
        made = await find_deployment(
            self.services.github,
            await scope_of(self.services, self.action),
            sha_or_ref=self.action.ref,
            environment=self.action.environment,
            marker=marker(self.action),
        )
        return None if made is None else {"id": str(made)}

    async def claimed(self, connection: Async) -> None:
        assert self.order is not None
        wanted = self.order.wanted
        if not await actions.plan(
            connection,
            self.action.id,
            repo=self.order.scope.repo,
            environment=wanted.environment,
            ref=wanted.ref,
            words=self.order.words,
        ):
            raise RetryAt("somebody else has ended this action", self.services.clock())

    async def send(self) -> Ref:
        assert self.order is not None
        self.sending = self.order
        made = await create_deployment(self.services.github, self.order.scope, self.order.wanted)
        return {"id": str(made)}

    async def record(self, connection: Async, ref: Ref) -> None:
        made = int(ref["id"])
        words = self.sending.words if self.sending else self.action.words
        log.info("deployment asked for", made=made, found_again=self.sending is None)
        if not await actions.end(connection, self.action.id, "done", words, made):
            log.warning("somebody else ended this action meanwhile", made=made)
            return
        if self.action.deployment_id is not None:
            await tell_there(self.services, connection, self.action, words, made)
        new = await deployments.read(connection, made)
        if new is not None:  # GitHub was quicker than we, and its message has no link back yet
            await self.services.notify(connection, new)
