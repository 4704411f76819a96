"""What is to be asked of GitHub for a press: the deployment that is wanted, if it makes sense."""

from dataclasses import dataclass

from webhook.deployments.models import is_production
from webhook.deployments.phases import Phase
from webhook.engine.services import Services
from webhook.errors import Excluded
from webhook.github import repositories
from webhook.github.deployments import Wanted
from webhook.github.tokens import Scope
from webhook.slack.actions.permissions import NotDone, allowed, routed, row_of, scope_of
from webhook.store import actions, deployments
from webhook.store.actions import Action
from webhook.store.deployments import DeploymentRow

ROLLBACK = "deploy:rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`words` say in the thread what was asked for."""

    scope: Scope
    wanted: Wanted
    words: str


def marker(action: Action) -> str:
    """By which what it makes is found again; unique among all relays and their stores."""
    return f"(relay action {action.id}-{action.key[:8]})"


async def retry(services: Services, action: Action) -> Order:
    """The same once more."""
    row = await row_of(services, action)
    repository = await scope_of(services, action)
    login = await allowed(services, action, repository)
    await _require_current(services, action, row)
    if row.phase not in (Phase.FAILURE, Phase.ERROR):
        raise NotDone(f"There is nothing to retry: deployment {row.id} is '{row.phase}'")
    description = f"Retry of deployment {row.id} by {login}"
    wanted = _like(row, row, action, row.task, description)
    return Order(scope=repository, wanted=wanted, words="Retry, asked for in Slack")


async def rollback(services: Services, action: Action) -> Order:
    """What ran there before."""
    row = await row_of(services, action)
    repository = await scope_of(services, action)
    login = await allowed(services, action, repository)
    await _require_current(services, action, row)
    if not row.phase.final:
        raise NotDone(f"Deployment {row.id} still goes on; cancel it first")
    async with services.pool.connection() as connection:
        old = await deployments.success_of_another_commit(connection, row)
    if old is None:
        words = f"There is nothing to roll back to: {row.environment} has no earlier success"
        raise NotDone(f"{words} of another commit")
    description = f"Roll back deployment {row.id} to {old.sha[:7]} by {login}"
    wanted = _like(row, old, action, ROLLBACK, description)
    back_to = old.sha[:7] if old.ref == old.sha else f"{old.ref} @ {old.sha[:7]}"
    words = f"Rollback to {back_to}, asked for in Slack"
    return Order(scope=repository, wanted=wanted, words=words)


async def deploy(services: Services, action: Action) -> Order:
    """What was typed."""
    repository = await scope_of(services, action)
    login = await allowed(services, action, repository)
    environment = routed(services, action.repo, action.environment)
    wanted = Wanted(
        ref=await ref_of(services, action, repository),
        environment=action.environment,
        description=f"Asked for in Slack by {login}",
        production=is_production(action.environment, environment.production_environment),
        marker=marker(action),
    )
    return Order(scope=repository, wanted=wanted, words="")


async def ref_of(services: Services, action: Action, repository: Scope) -> str:
    """The default branch, where none was typed."""
    if action.ref:
        return action.ref
    return (await repositories.repository(services.github, repository)).default_branch


def _like(
    row: DeploymentRow, old: DeploymentRow, action: Action, task: str, description: str
) -> Wanted:
    """In the place of `row`, what `old` was."""
    return Wanted(
        ref=old.sha,
        environment=row.environment,
        task=task,
        payload=old.payload,
        description=description,
        production=row.production_on_github,
        transient=row.transient,
        marker=marker(action),
    )


async def _require_current(services: Services, action: Action, row: DeploymentRow) -> None:
    """A button may be older than what happened since."""
    routed(services, row.repo, row.environment)
    if row.watched:
        words = f"A GitHub Actions workflow made deployment {row.id} and deploys it"
        raise NotDone(f"{words}; run the workflow again on GitHub")
    async with services.pool.connection() as connection:
        if await actions.same(connection, action):
            raise Excluded
        newest = await deployments.is_newest(connection, row)
    if not newest:
        words = f"Another deployment to {row.environment} was asked for after {row.id}"
        raise NotDone(f"{words}; use the buttons of the newest one")
