"""Promote: the commit that one environment has goes to the next, by a button or by a command.

The button stands below the newest success of an environment, where deploy.yml says what comes
`after` it; the command takes any two. Both deploy what has succeeded there and is there still.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from webhook.config.creation import payload_of
from webhook.config.environments import Config
from webhook.deployments.actions import Snapshot
from webhook.deployments.models import is_production
from webhook.deployments.notice import Button, Confirmation, DeploymentNotice, Promotion
from webhook.deployments.phases import Phase
from webhook.engine.creation import Plan, description_of, marker
from webhook.errors import Excluded
from webhook.gates.promotion import state_there
from webhook.github.deployments import NewDeployment
from webhook.slack.actions.contract import commit_of
from webhook.slack.actions.create import CreateDeployment, name_of
from webhook.slack.actions.deploy import confirmed
from webhook.slack.actions.permissions import Authorized, Declined, authorize, routed
from webhook.slack.actions.policy import tightened
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import (
    Mistyped,
    Typed,
    environment_error,
    repo_error,
    require,
    spelling,
)
from webhook.slack.blocks.mrkdwn import BlockMessage, bold, escape, plain
from webhook.slack.response_url import question
from webhook.store import actions, promotions
from webhook.store.actions import PAGE, ActionRow, Subject
from webhook.store.deployments import DeploymentRow
from webhook.text import one_line

_FROM = "from"
_USAGE = "promote owner/repo staging production"


class Promote(CreateDeployment):
    name = "promote"
    label = "Promote"
    style = "primary"
    noun = "a promotion"
    origin = "promoted from {environment}"

    def offered(self, deployment: Snapshot) -> bool:
        return deployment.phase is Phase.SUCCESS and deployment.newest and deployment.promotable

    def group(self, target: int, environment: str) -> str:
        """Once, until something else is deployed there."""
        return f"promotion to {environment.lower()} after {target}"

    def button(self, notice: DeploymentNotice) -> Button:
        to = _promotion(notice)
        label = f"Promote to {plain(to.environment, 50)}"
        button = replace(super().button(notice), label=label)
        return replace(button, target=to.newest_id, environment=to.environment)

    def confirmation(self, notice: DeploymentNotice) -> Confirmation:
        to = _promotion(notice)
        production = " (production)" if to.production and to.environment != "production" else ""
        target = f"{plain(to.environment, 40)}{production}"
        live = f" It has {plain(to.live, 50)}." if to.live else " Nothing has been deployed there."
        changes = f" {plain(to.changes, 50)}." if to.changes else ""
        what = f"{commit_of(notice)} of {plain(notice.repo, 50)}"
        return Confirmation(
            title=f"Promote to {plain(to.environment, 50)}?",
            text=f"Deploy {what} to {target}?{live}{changes}",
            confirm="Promote",
            deny="Not yet",
            style="primary",
        )

    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        row, to = by.pressed_on, action.inputs.get("environment", "")
        await _require_unchanged(services, action, row, to)
        return await plan_promotion(services, action, by, to)

    def done(self, action: ActionRow) -> str:
        if action.created_deployment_id is None:
            return super().done(action)
        return f"Promoting {_commit(action)} of {escape(action.repo, 200)} to {_to(action)}"


class PromoteByName(Promote):
    """What is typed. Production waits until its requester has confirmed the commit."""

    name = "promote_to"
    label = ""
    on_page = False
    verb = "promote"
    usage = (_USAGE, "deploys what staging has to production")
    confirms = True

    def offered(self, deployment: Snapshot) -> bool:
        return False

    def group(self, target: int, environment: str) -> str:
        return ""

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if len(arguments) != 3:
            raise Mistyped(f"Name a repository and two environments: `{command} {_USAGE}`")
        repo, before, to = arguments
        same = before.lower() == to.lower()
        require(
            repo_error(repo),
            environment_error(config, repo, before),
            environment_error(config, repo, to),
            f"'{one_line(to, 40)}' is where it is already; name the next one" if same else "",
        )
        inputs = ((_FROM, spelling(config, repo, before)),)
        return Typed(self.name, repo, spelling(config, repo, to), inputs=inputs)

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        confirms = action.reply.confirms if action.reply else 0
        if confirms and not action.repo:
            action = await confirmed(services, action, confirms)
        if not action.claimed and action.deployment_id is None:
            by = await authorize(services, action, self.permission)
            source = await _source(services, action, by)
            environment = await tightened(services, by.repository, action.environment)
            production = is_production(action.environment, environment.production_environment)
            if production and not confirms:
                return await _hold(services, action, by, source)
            async with services.pool.connection() as connection:
                await actions.set_deployment(connection, action.id, source.id)
            action = replace(action, deployment_id=source.id)
        return await super().run(services, action)

    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        newest = await _source(services, action, by)
        if newest.id != by.pressed_on.id:
            raise _changed(action, newest)
        plan = await plan_promotion(services, action, by, action.environment)
        if plan.request.production and not (action.reply and action.reply.confirms):
            message = f"{action.environment} has just become production"
            raise Declined("not_possible", f"{message}; please type it once more")
        return plan

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        if action.outcome != "waiting":
            return await super().reply(services, action)
        what = f"{_commit(action, bold)} of {escape(action.repo, 200)}"
        before, to = escape(action.inputs[_FROM], 255), bold(_to(action))
        text = f"Deploy {what}, which {before} has, to {to}?"
        button = f"Promote to {action.environment}"
        return question(text, action.id, action=self.name, button=button)


async def plan_promotion(
    services: ActionServices, action: ActionRow, by: Authorized, to: str
) -> Plan:
    """With the task and the payload of that environment."""
    row, repo = by.pressed_on, by.repository.repo
    environment = await tightened(services, by.repository, to)
    try:
        payload = payload_of(environment, {})
    except ValueError as error:
        way = f"Type /deploy {repo} {to} {row.sha} name=value"
        if action.source == PAGE:
            way = f"Deploy {row.sha} on the page of {to}, which asks for them"
        raise Declined("not_possible", f"{to} has inputs: {error}. {way}") from error
    requested = f"Promoted from {row.environment} by {by.login}"
    request = NewDeployment(
        ref=row.sha,
        environment=to,
        task=environment.task or "deploy",
        payload=payload,
        required_contexts=environment.required_contexts,
        description=description_of(routed(services, repo, to), environment, requested),
        production=is_production(to, environment.production_environment),
        marker=marker(action),
    )
    return Plan(
        by.repository, request, f"Promotion to {to}, requested {action.where}", name_of(row)
    )


def _promotion(notice: DeploymentNotice) -> Promotion:
    assert notice.promotion is not None, "it is not offered"
    return notice.promotion


async def _require_unchanged(
    services: ActionServices, action: ActionRow, row: DeploymentRow, to: str
) -> None:
    """A button may be older than what happened since: here, and where it goes."""
    routed(services, row.repo, to)
    async with services.pool.connection() as connection:
        if await actions.excluded_by(connection, action):
            raise Excluded
        [there] = await promotions.next_in(connection, row.repo_id, [to], row.sha)
        here = await promotions.newest_in(connection, row.repo_id, [row.environment])
    if [(one.id, one.phase) for one in here] != [(row.id, Phase.SUCCESS)]:
        message = f"Deployment {row.id} is not the newest success of {row.environment} any more"
        raise Declined("not_possible", f"{message}; use the button of the newest one")
    if there.newest_id != action.target:
        message = f"Another deployment to {to} was requested since you were asked"
        raise Declined("not_possible", f"{message}: {there.newest_id}; press Promote again")


async def _source(services: ActionServices, action: ActionRow, by: Authorized) -> DeploymentRow:
    """What the environment has now. Raises `Declined`, with what it has instead of a success."""
    before, to, repo_id = action.inputs[_FROM], action.environment, by.repository.repo_id
    async with services.pool.connection() as connection:
        here = await promotions.newest_in(connection, repo_id, [before])
        sha = here[0].sha if here else ""
        [there] = await promotions.next_in(connection, repo_id, [to], sha)
    row = await services.read(here[0].id) if here else None
    if row is None:
        message = f"Nothing has been deployed to {before} of {by.repository.repo}"
        raise Declined("not_possible", f"{message}, as far as the relay has seen")
    if row.phase is not Phase.SUCCESS:
        message = (
            f"{before} has no success to promote: {row.sha[:7]} {state_there(row.phase)} there"
        )
        raise Declined("not_possible", f"{message} (deployment {row.id})")
    if action.ref and action.ref != row.sha:
        raise _changed(action, row)
    if there.live_sha == row.sha:
        raise Declined("not_possible", f"{to} has {row.sha[:7]} already, as {before} does")
    return row


def _changed(action: ActionRow, row: DeploymentRow) -> Declined:
    message = f"{action.inputs[_FROM]} has {row.sha[:7]} now, and nothing was done"
    return Declined("not_possible", f"{message}; type the command again to promote that")


async def _hold(
    services: ActionServices, action: ActionRow, by: Authorized, source: DeploymentRow
) -> None:
    what = Subject(
        repo=by.repository.repo,
        repo_id=by.repository.repo_id,
        environment=action.environment,
        ref=source.sha,
        ref_name=name_of(source),
    )
    async with services.pool.connection() as connection:
        await actions.hold(connection, action.id, what, "Waits until it is confirmed")


def _commit(action: ActionRow, shown: Callable[[str], str] = str) -> str:
    sha = action.ref[:7]
    return f"{shown(escape(action.ref_name, 255))} @ {sha}" if action.ref_name else shown(sha)


def _to(action: ActionRow) -> str:
    return escape(action.environment, 255)
