"""Retry: the same commit once more."""

from webhook.deployments.actions import Snapshot
from webhook.deployments.notice import Confirmation, DeploymentNotice
from webhook.deployments.phases import Phase
from webhook.engine.creation import Plan
from webhook.slack.actions.contract import commit_of, target_of
from webhook.slack.actions.create import (
    CreateDeployment,
    name_of,
    plan_like,
    require_newest,
)
from webhook.slack.actions.permissions import Authorized, Declined
from webhook.slack.actions.services import ActionServices
from webhook.store.actions import ActionRow

FAILED = (Phase.FAILURE, Phase.ERROR)


class Retry(CreateDeployment):
    name = "retry"
    label = "Retry"
    noun = "a retry"
    exclusive_group = "replacement"
    origin = "retry of an earlier deployment"

    def offered(self, deployment: Snapshot) -> bool:
        last = deployment.newest or deployment.missed
        return deployment.ended and last and not deployment.watched and deployment.phase in FAILED

    def confirmation(self, notice: DeploymentNotice) -> Confirmation | None:
        if not (notice.production or notice.superseded_by):
            return None
        text = f"Deploy {commit_of(notice)} of {target_of(notice)} again?"
        if notice.superseded_by:
            text = f"Deployment {notice.superseded_by} was created after it. {text}"
        return Confirmation(
            title="Deploy it again?",
            text=text,
            confirm="Deploy again",
            deny="No",
            style="primary",
        )

    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        row = by.pressed_on
        await require_newest(services, action, row)
        if row.phase not in FAILED:
            message = f"There is nothing to retry: deployment {row.id} is '{row.phase}'"
            raise Declined("not_possible", message)
        description = f"Retry of deployment {row.id} by {by.login}"
        request = plan_like(row, row, action, task=row.task, description=description)
        return Plan(by.repository, request, f"Retry, requested {action.where}", name_of(row))
