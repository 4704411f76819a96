"""`/deploy`: what was typed or chosen; production only once its requester has confirmed it.

What is confirmed is a commit: a branch may have another one by the time of the press.
"""

import re
from collections.abc import Callable

import structlog

from webhook.config.creation import Payload, payload_of
from webhook.config.environments import Environment
from webhook.deployments.models import is_production
from webhook.engine.creation import Plan, description_of, marker
from webhook.errors import INVALID, LACKS_PERMISSION, Rejected
from webhook.gates.repository_file import tightens
from webhook.github import repositories
from webhook.github.deployments import NewDeployment
from webhook.github.tokens import Scope
from webhook.slack.actions.create import CreateDeployment
from webhook.slack.actions.permissions import (
    EXPIRED,
    Authorized,
    Declined,
    authorize,
    rejected,
    routed,
)
from webhook.slack.actions.policy import tightened
from webhook.slack.actions.services import ActionServices
from webhook.slack.blocks.mrkdwn import BlockMessage, bold, escape
from webhook.slack.response_url import question
from webhook.store import actions
from webhook.store.actions import PAGE, ActionRow, Subject

log = structlog.get_logger()

_SHA = re.compile("[0-9a-f]{40}")
_TOO_LATE = "This waited for too long, and nothing was done; please try again"


class Deploy(CreateDeployment):
    name = "deploy"
    confirms = True

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        confirms = action.reply.confirms if action.reply else 0
        if confirms and not action.repo:
            action = await confirmed(services, action, confirms)
        elif action.source == PAGE:  # there, people see what they confirm before they request it
            return await super().run(services, action)
        elif not action.claimed and not confirms and await _needs_confirmation(services, action):
            return await self._hold(services, action)
        return await super().run(services, action)

    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        listed = routed(services, by.repository.repo, action.environment)
        environment = await tightened(services, by.repository, action.environment)
        ref = await _ref(services, action, by)
        requested = f"Requested {action.where} by {by.login}"
        request = NewDeployment(
            ref=ref,
            environment=action.environment,
            task=environment.task or "deploy",
            payload=_payload(environment, action),
            auto_merge=environment.auto_merge and not _SHA.fullmatch(ref),
            required_contexts=environment.required_contexts,
            description=description_of(listed, environment, requested),
            production=is_production(action.environment, environment.production_environment),
            marker=marker(action),
        )
        if request.production and not _is_confirmed(action):
            raise _unconfirmed(action, by)
        return Plan(by.repository, request, ref_name=action.ref_name)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        if action.outcome == "waiting":
            text = f"Deploy {_target(action, bold)}{_inputs(action)}?{_unless_pinned(action)}"
            return question(text, action.id, action=self.name, button="Deploy to production")
        return await super().reply(services, action)

    def done(self, action: ActionRow) -> str:
        # One that was confirmed is done by the press.
        created = action.created_deployment_id is not None
        return f"Deploying {_target(action)}" if created else super().done(action)

    async def _hold(self, services: ActionServices, action: ActionRow) -> None:
        by = await authorize(services, action, self.permission)
        repository = by.repository
        _payload(await tightened(services, repository, action.environment), action)
        name = await _ref(services, action, by)
        sha = await _commit(services, repository, name)
        what = Subject(
            repo=repository.repo,
            repo_id=repository.repo_id,
            environment=action.environment,
            ref=sha or name,
            ref_name="" if not sha or sha.startswith(name) else name,
        )
        async with services.pool.connection() as connection:
            await actions.hold(connection, action.id, what, "Waits until it is confirmed")


def _payload(environment: Environment, action: ActionRow) -> Payload | None:
    try:
        return payload_of(environment, action.inputs)
    except ValueError as error:
        raise Declined("not_possible", str(error)) from error


async def _needs_confirmation(services: ActionServices, action: ActionRow) -> bool:
    environment = routed(services, action.repo, action.environment)
    if is_production(action.environment, environment.production_environment):
        return True
    if not tightens(environment):
        return False
    by = await authorize(services, action, Deploy.permission)
    environment = await tightened(services, by.repository, action.environment)
    return is_production(action.environment, environment.production_environment)


def _is_confirmed(action: ActionRow) -> bool:
    """By its requester: with a press on the button of the question; on a page, by a commit."""
    if action.source == PAGE:
        return bool(_SHA.fullmatch(action.ref))
    return bool(action.reply and action.reply.confirms)


def _unconfirmed(action: ActionRow, by: Authorized) -> Declined:
    """It was not production a moment ago."""
    if action.source == PAGE:
        message = f"To {action.environment}, which is production, a page deploys a commit only"
        return Declined("not_possible", f"{message}; see first what it would do, and confirm that")
    if by.repository.repo.lower() == action.repo.lower():
        message = f"{action.environment} of {action.repo} has just become production"
        return Declined("not_possible", f"{message}; please type it once more")
    renamed = f"{action.repo} is now {by.repository.repo}, where this is production"
    return Declined("not_possible", f"{renamed}; please type the new name")


async def confirmed(services: ActionServices, press: ActionRow, confirms: int) -> ActionRow:
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


async def _ref(services: ActionServices, action: ActionRow, by: Authorized) -> str:
    """The default branch, where none was typed."""
    if action.ref or by.default_branch:
        return action.ref or by.default_branch
    return (await repositories.repository(services.github, by.repository)).default_branch


async def _commit(services: ActionServices, repository: Scope, ref: str) -> str:
    """Of the ref now; "" where the App may not read it."""
    try:
        return await repositories.commit_of(services.github, repository, ref)
    except Rejected as error:
        if error.code == LACKS_PERMISSION:
            log.info("a confirmation without a commit", error=str(error))
            return ""
        if error.code == INVALID:
            message = f"GitHub knows no branch, tag or commit '{ref}' of {repository.repo}"
            raise Declined("not_possible", message) from error
        raise rejected(error, repository.repo, "Nothing was deployed.") from error


def _unless_pinned(action: ActionRow) -> str:
    if _SHA.fullmatch(action.ref):
        return ""
    permission = "with the permission contents: read, the App would keep to the commit of now"
    return f" It will be the newest commit of {escape(action.ref, 255)} then; {permission}."


def _inputs(action: ActionRow) -> str:
    pairs = ", ".join(f"{name}={value}" for name, value in action.inputs.items())
    return f" with {escape(pairs, 500)}" if pairs else ""


def _target(action: ActionRow, shown: Callable[[str], str] = str) -> str:
    environment, repo = escape(action.environment, 255), escape(action.repo, 200)
    ref = action.ref[:7] if _SHA.fullmatch(action.ref) else escape(action.ref, 255)
    ref = f"{shown(escape(action.ref_name, 255))} @ {ref}" if action.ref_name else shown(ref)
    return f"{ref} of {repo} to {shown(environment)}"
