"""Roll back: the commit that ran in the environment before."""

from dataclasses import replace

from webhook.config.locks import lock_error
from webhook.deployments.actions import Snapshot
from webhook.deployments.notice import Button, Confirmation, DeploymentNotice
from webhook.engine.creation import Plan
from webhook.slack.actions.contract import environment_of
from webhook.slack.actions.create import (
    CreateDeployment,
    name_of,
    plan_like,
    require_newest,
)
from webhook.slack.actions.locks import LockAfterRollback
from webhook.slack.actions.permissions import Authorized, Declined
from webhook.slack.actions.policy import tightened
from webhook.slack.actions.services import ActionServices
from webhook.slack.blocks.mrkdwn import BlockMessage, plain
from webhook.slack.response_url import question
from webhook.store import deployment_order
from webhook.store.actions import ActionRow
from webhook.text import one_line

TASK = "deploy:rollback"


class Rollback(CreateDeployment):
    name = "rollback"
    label = "Roll back"
    noun = "a rollback"
    style = "danger"
    exclusive_group = "replacement"
    origin = "rollback"

    def offered(self, deployment: Snapshot) -> bool:
        ended = deployment.ended and deployment.newest and not deployment.watched
        return ended and deployment.rollback_target

    def button(self, notice: DeploymentNotice) -> Button:
        return replace(super().button(notice), target=notice.rollback_id)

    def confirmation(self, notice: DeploymentNotice) -> Confirmation:
        ref, at, sha = notice.rollback_to.rpartition(" @ ")
        target = plain(ref, 50) + at + plain(sha, 50) or "its last success"
        return Confirmation(
            title="Roll back?",
            text=f"Roll back {environment_of(notice)} of {plain(notice.repo, 100)} to {target}?",
            confirm="Roll back",
            deny="No",
            style="danger",
        )

    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        row = by.pressed_on
        await require_newest(services, action, row)
        if not row.phase.final:
            message = f"Deployment {row.id} is still running; cancel it first"
            raise Declined("not_possible", message)
        async with services.pool.connection() as connection:
            # What was confirmed, though another may have succeeded since.
            old = await deployment_order.success_of_another_commit(connection, row, action.target)
        if old is None:
            message = f"There is nothing to roll back to: {row.environment} has no earlier success"
            raise Declined("not_possible", f"{message} of another commit")
        name = name_of(old)
        target = f"{one_line(name, 50)} @ {old.sha[:7]}" if name else old.sha[:7]
        description = f"Roll back deployment {row.id} to {target} by {by.login}"
        environment = await tightened(services, by.repository, row.environment, rollback=True)
        task = environment.task or TASK
        request = plan_like(row, old, action, task=task, description=description)
        return Plan(by.repository, request, f"Rollback to {target}, requested {action.where}", name)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        """With a button that keeps others from deploying the same again."""
        message = await super().reply(services, action)
        if message is None or action.outcome != "done" or action.deployment_id is None:
            return message
        if lock_error(services.config, action.repo, action.environment):
            return message
        label = f"Lock {action.environment}"
        return question(
            message.text, action.deployment_id, action=LockAfterRollback.name, button=label
        )
