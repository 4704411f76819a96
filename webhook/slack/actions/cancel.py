"""Cancel: recorded on the deployment's row, by which its job ends the run."""

from webhook.deployments.actions import Snapshot
from webhook.deployments.notice import Confirmation, DeploymentNotice
from webhook.slack.actions.contract import StoreAction, commit_of, target_of
from webhook.slack.actions.permissions import Authorized, Declined
from webhook.slack.actions.services import ActionServices
from webhook.store import deployments, schedule
from webhook.store.actions import ActionRow
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow


class Cancel(StoreAction):
    name = "cancel"
    label = "Cancel"
    style = "danger"
    exclusive_group = "cancel"

    def offered(self, deployment: Snapshot) -> bool:
        return not (deployment.ended or deployment.watched or deployment.cancel_requested)

    def confirmation(self, notice: DeploymentNotice) -> Confirmation:
        return Confirmation(
            title="Cancel this deployment?",
            text=f"Stop deploying {commit_of(notice)} of {target_of(notice)}?"
            " What is done by then stays done.",
            confirm="Stop it",
            deny="Let it run",
            style="danger",
        )

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        row = await deployments.read(connection, by.pressed_on.id, lock=True)
        assert row is not None
        _require_running(row, by.login)
        await deployments.change(connection, row, cancel_requested_by=by.login)
        await schedule.request(connection, [schedule.Key("advance", row.id)])
        return f"Cancel, requested {action.where}"

    def done(self, action: ActionRow) -> str:
        return "It is being cancelled"


def _require_running(row: DeploymentRow, login: str) -> None:
    if row.watched and not row.waits_for_rule:
        message = f"A GitHub Actions workflow deploys deployment {row.id}"
        raise Declined("not_possible", f"{message}; cancel its run on GitHub")
    if row.phase.final or row.ended_at is not None:
        raise Declined("not_possible", f"Deployment {row.id} has ended: it is '{row.phase}'")
    if row.requested_at is None:
        raise Declined("not_possible", f"The relay does not run deployment {row.id}")
    if row.cancel_requested_by:
        who = "You have" if row.cancel_requested_by == login else f"{row.cancel_requested_by} has"
        raise Declined("not_possible", f"{who} requested that already")
