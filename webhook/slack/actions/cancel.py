"""A press on Cancel: kept on the deployment's row; whoever looks after it ends its run."""

from webhook.engine.services import Services, scope
from webhook.slack.actions.outcome import tell_there
from webhook.slack.actions.permissions import NotDone, allowed, require_in_time, row_of
from webhook.store import actions, deployments
from webhook.store.actions import Action
from webhook.store.deployments import DeploymentRow

WORDS = "Cancel, asked for in Slack"


async def cancel(services: Services, action: Action) -> None:
    require_in_time(services, action)
    row = await row_of(services, action)
    login = await allowed(services, action, scope(row))
    async with services.pool.connection() as connection, connection.transaction():
        now_known = await deployments.read(connection, row.id, lock=True)
        assert now_known is not None
        _require_going_on(now_known, login)
        if not await actions.end(connection, action.id, "done", WORDS):
            return  # somebody else did it meanwhile
        row = await deployments.change(connection, now_known, cancel_requested_by=login)
        await tell_there(services, connection, action, WORDS, None)
        await services.queue.nudge(connection, row.id)


def _require_going_on(row: DeploymentRow, login: str) -> None:
    if row.watched:
        words = f"A GitHub Actions workflow deploys deployment {row.id}"
        raise NotDone(f"{words}; cancel its run on GitHub")
    if row.phase.final or row.ended_at is not None:
        raise NotDone(f"Deployment {row.id} is over already: it is '{row.phase}'")
    if row.requested_at is None:
        raise NotDone(f"The relay does not run deployment {row.id}")
    if row.cancel_requested_by:
        who = "You have" if row.cancel_requested_by == login else f"{row.cancel_requested_by} has"
        raise NotDone(f"{who} asked for that already")
