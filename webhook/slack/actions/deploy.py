"""`/deploy`: what was typed or chosen; production only once its requester has confirmed it."""

from collections.abc import Callable

from webhook.deployments.models import is_production
from webhook.github import repositories
from webhook.github.deployments import NewDeployment
from webhook.github.tokens import Scope
from webhook.slack.actions.create import CreateDeployment, Plan, marker
from webhook.slack.actions.permissions import EXPIRED, Authorized, Declined, authorize, routed
from webhook.slack.actions.services import ActionServices
from webhook.slack.blocks.mrkdwn import BlockMessage, bold, escape
from webhook.slack.response_url import question
from webhook.store import actions
from webhook.store.actions import ActionRow

_TOO_LATE = "This waited for too long, and nothing was done; please try again"


class Deploy(CreateDeployment):
    name = "deploy"
    confirms = True

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        confirms = action.reply.confirms if action.reply else 0
        if confirms and not action.repo:
            action = await _confirmed(services, action, confirms)
        elif not action.claimed and not confirms and _is_production(services, action):
            return await self._hold(services, action)
        return await super().run(services, action)

    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        request = NewDeployment(
            ref=await _ref(services, action, by.repository),
            environment=action.environment,
            description=f"Requested in Slack by {by.login}",
            production=_is_production(services, action),
            marker=marker(action),
        )
        return Plan(by.repository, request)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        if action.outcome == "waiting":
            text = f"Deploy {_target(action, bold)}?"
            return question(text, action.id, action=self.name, button="Deploy to production")
        return await super().reply(services, action)

    def done(self, action: ActionRow) -> str:
        # One that was confirmed is done by the press.
        created = action.created_deployment_id is not None
        return f"Deploying {_target(action)}" if created else super().done(action)

    async def _hold(self, services: ActionServices, action: ActionRow) -> None:
        by = await authorize(services, action, self.permission)
        ref = await _ref(services, action, by.repository)
        async with services.pool.connection() as connection:
            await actions.hold(connection, action.id, "Waits until it is confirmed", ref)


def _is_production(services: ActionServices, action: ActionRow) -> bool:
    environment = routed(services, action.repo, action.environment)
    return is_production(action.environment, environment.production_environment)


async def _confirmed(services: ActionServices, press: ActionRow, confirms: int) -> ActionRow:
    """The press confirms the action that waited for it."""
    async with services.pool.connection() as connection:
        if await actions.confirm(connection, press, confirms):
            return await actions.read(connection, press.id) or press
        waiting = await actions.read(connection, confirms)
    if waiting is None or (waiting.team, waiting.slack_user) != (press.team, press.slack_user):
        raise Declined("no_access", "Only the person who requested this may confirm it")
    if waiting.outcome == "waiting":
        raise Declined(EXPIRED, _TOO_LATE)
    raise Declined("not_possible", "You have confirmed this already; the deployment is on its way")


async def _ref(services: ActionServices, action: ActionRow, repository: Scope) -> str:
    """The default branch, where none was typed."""
    if action.ref:
        return action.ref
    return (await repositories.repository(services.github, repository)).default_branch


def _target(action: ActionRow, shown: Callable[[str], str] = str) -> str:
    ref, environment = escape(action.ref, 255), escape(action.environment, 255)
    return f"{shown(ref)} of {escape(action.repo, 200)} to {shown(environment)}"
