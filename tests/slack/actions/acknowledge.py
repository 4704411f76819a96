"""The example of docs/how-to/add-a-slack-action.md: a person acknowledges a failure."""

from webhook.deployments.actions import Snapshot
from webhook.deployments.notice import Confirmation, DeploymentNotice
from webhook.engine.services import Services
from webhook.slack.actions.contract import StoreAction, target_of
from webhook.slack.actions.permissions import Authorized, Declined
from webhook.store.actions import ActionRow
from webhook.store.database import Async


class Acknowledge(StoreAction):
    name = "acknowledge"
    label = "Acknowledge"
    noun = "an acknowledgement"
    style = "primary"
    permission = "read"
    exclusive_group = "acknowledge"

    def offered(self, deployment: Snapshot) -> bool:
        return deployment.phase == "failure" and deployment.newest

    def confirmation(self, notice: DeploymentNotice) -> Confirmation:
        return Confirmation(
            title="Look into it?",
            text=f"Everybody sees that you look into {target_of(notice)}.",
            confirm="I do",
            deny="No",
            style="primary",
        )

    async def perform(
        self, services: Services, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        if by.pressed_on.phase != "failure":
            raise Declined("not_possible", f"Deployment {by.pressed_on.id} has not failed")
        return f"{by.login} looks into it"

    def done(self, action: ActionRow) -> str:
        return "Everybody sees that you look into it"
