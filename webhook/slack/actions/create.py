"""An action whose whole effect is another deployment (webhook.engine.creation)."""

from abc import abstractmethod
from functools import partial

from webhook.engine.creation import DeploymentWrite, Plan, marker
from webhook.errors import Excluded, Rejected
from webhook.github.deployments import NewDeployment
from webhook.slack.actions.contract import Action
from webhook.slack.actions.permissions import (
    Authorized,
    Declined,
    authorize,
    rejected,
    routed,
    scope_of,
)
from webhook.slack.actions.services import ActionServices
from webhook.store import actions, deployment_order
from webhook.store.actions import ActionRow
from webhook.store.deployments import DeploymentRow


class CreateDeployment(Action):
    @abstractmethod
    async def plan(self, services: ActionServices, action: ActionRow, by: Authorized) -> Plan:
        """Raises `Declined` if it is no longer possible: a button may be old."""

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        write = DeploymentWrite(
            services,
            action,
            partial(self._authorized_plan, services, action),
            partial(scope_of, services, action),
        )
        try:
            await write.deliver()
        except Rejected as error:
            if write.sending is None:
                raise
            repo = action.repo or write.sending.scope.repo
            raise rejected(error, repo, "Nothing was deployed.") from error

    def done(self, action: ActionRow) -> str:
        created = action.created_deployment_id
        return f"Deployment {created} was requested" if created else super().done(action)

    async def _authorized_plan(self, services: ActionServices, action: ActionRow) -> Plan:
        by = await authorize(services, action, self.permission)
        return await self.plan(services, action, by)


def plan_like(
    row: DeploymentRow, old: DeploymentRow, action: ActionRow, *, task: str, description: str
) -> NewDeployment:
    """In the environment of `row`, what `old` was."""
    return NewDeployment(
        ref=old.sha,
        environment=row.environment,
        task=task,
        payload=old.payload,
        description=description,
        production=row.production_on_github,
        transient=row.transient,
        marker=marker(action),
    )


def name_of(row: DeploymentRow) -> str:
    """The branch or tag that its commit was deployed as; "" where nobody named one."""
    return "" if row.shown_ref == row.sha else row.shown_ref


async def require_newest(services: ActionServices, action: ActionRow, row: DeploymentRow) -> None:
    """A button may be older than what happened since."""
    routed(services, row.repo, row.environment)
    if row.watched:
        message = f"A GitHub Actions workflow made deployment {row.id} and deploys it"
        raise Declined("not_possible", f"{message}; run the workflow again on GitHub")
    async with services.pool.connection() as connection:
        if await actions.excluded_by(connection, action):
            raise Excluded
        newest = await deployment_order.is_newest(connection, row)
    if not newest:
        message = f"Another deployment to {row.environment} was requested after {row.id}"
        raise Declined("not_possible", f"{message}; use the buttons of the newest one")
