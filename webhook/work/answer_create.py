"""A press becomes a deployment on GitHub: exactly one, however often it is pressed or delivered.

What came of a call without a clear answer is searched in GitHub's list by the action's marker, more
than once, because GitHub may end late what it was asked for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from webhook.engine.outbox import Outbox, Policy, Write
from webhook.outbound.github_deployment import create_deployment, find_deployment
from webhook.outbound.trouble import Later, Refused
from webhook.store import actions, deployments, outbox
from webhook.store.actions import Action
from webhook.store.database import Async
from webhook.store.outbox import Entry, Ref
from webhook.work.answer_checks import NotDone, require_in_time, scope_of
from webhook.work.answer_orders import Order, marker
from webhook.work.answer_told import tell_there
from webhook.work.answer_words import refused_words
from webhook.work.clock import now
from webhook.work.relay import Relay

log = structlog.get_logger()

# Seconds that a call may be under way in whatever process, and seconds after its end at which it is
# looked whether one without a clear answer made something.
CALL_MAY_TAKE = 12
LOOK_AFTER: tuple[float, ...] = (5, 15, 45)

MakeOrder = Callable[[Relay, Action], Awaitable[Order]]


async def create(relay: Relay, action: Action, make_order: MakeOrder) -> None:
    write = DeploymentWrite(relay, action, make_order)
    policy = Policy(call=CALL_MAY_TAKE, lookups=LOOK_AFTER)
    async with relay.pool.connection() as connection:
        entry = await outbox.entry_of(
            connection, "deployment", action.deployment_id, action_id=action.id
        )
    try:
        await Outbox(relay.pool, now).deliver(entry, write, policy)
    except Refused as refused:
        if write.sending is None:
            raise
        words = refused_words(refused, action.repo or write.sending.scope.repo)
        raise NotDone(f"Nothing was deployed. {words}", "failed") from refused


@dataclass(slots=True)
class DeploymentWrite(Write):
    """`order`: what is to be asked for, once that is known; `sending`: what was."""

    relay: Relay
    action: Action
    make_order: MakeOrder
    order: Order | None = None
    sending: Order | None = None

    async def prepare(self) -> bool:
        require_in_time(self.action)
        self.order = await self.make_order(self.relay, self.action)
        await self.relay.github.require_access(self.order.scope.only(deployments="write"))
        return True

    async def find(self, entry: Entry) -> Ref | None:
        made = await find_deployment(
            self.relay.github,
            await scope_of(self.relay, self.action),
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
            raise Later("somebody else has ended this action", now())

    async def send(self) -> Ref:
        assert self.order is not None
        self.sending = self.order
        made = await create_deployment(self.relay.github, self.order.scope, self.order.wanted)
        return {"id": str(made)}

    async def record(self, connection: Async, ref: Ref) -> None:
        made = int(ref["id"])
        words = self.sending.words if self.sending else self.action.words
        log.info("deployment asked for", made=made, found_again=self.sending is None)
        if not await actions.end(connection, self.action.id, "done", words, made):
            log.warning("somebody else ended this action meanwhile", made=made)
            return
        if self.action.deployment_id is not None:
            await tell_there(self.relay, connection, self.action, words, made)
        new = await deployments.read(connection, made)
        if new is not None:  # GitHub was quicker than we, and its message has no link back yet
            await self.relay.tell_slack(connection, new)
