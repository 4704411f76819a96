"""What follows in other environments once a deployment has changed: those that come after it."""

from datetime import datetime

from webhook.config.routing import route
from webhook.deployments.notice import Promotion
from webhook.deployments.phases import Phase
from webhook.engine import automatic
from webhook.engine.changelogs import other_changelog
from webhook.engine.offers import first_without, next_environments, promotion_to
from webhook.engine.services import Services
from webhook.gates.chains import PromotionKeys, comes_before, promoted_to
from webhook.gates.chains import promotion_of as promotion_keys
from webhook.gates.promotion import lacks, wait_for
from webhook.store import gates, promotions
from webhook.store.automatic import Proposal
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow


async def promote_next(services: Services, connection: Async, row: DeploymentRow) -> None:
    """A success goes on by itself where deploy.yml says so (`promote: auto`), once each environment
    before that one has it. Not one to which somebody has gone back: where that goes, people say."""
    wanted = [
        one
        for one in promoted_to(services.config, row.repo, row.environment)
        if promotion_keys(one).promote
    ]
    if row.phase is not Phase.SUCCESS or not wanted:
        return
    if await promotions.succeeded_before(connection, row):
        return
    login, login_id = await gates.asker_of(connection, row.id)
    for environment in wanted:
        due_at = await _due_at(services, connection, row, promotion_keys(environment))
        if due_at is None:
            continue
        proposal = Proposal(
            cause="promotion",
            repo=row.repo,
            repo_id=row.repo_id,
            installation_id=row.installation_id,
            environment=environment.name,
            sha=row.sha,
            ref="" if row.shown_ref == row.sha else row.shown_ref,
            login=login,
            login_id=login_id,
            from_deployment_id=row.id,
            due_at=due_at,
        )
        await automatic.propose(services, connection, proposal)


async def _due_at(
    services: Services, connection: Async, row: DeploymentRow, keys: PromotionKeys
) -> datetime | None:
    """None: an environment before that one does not have it yet; its success asks again."""
    newest, now = await promotions.newest_in(connection, row.repo_id, keys.after), services.clock()
    found = lacks(keys, newest, row.sha, now)
    return wait_for(found).until if found else now


def chained_in(services: Services, row: DeploymentRow) -> int:
    """Its repository, if others may wait there for what has become of it; else 0."""
    return row.repo_id if comes_before(services.config, row.repo, row.environment) else 0


async def promotion_of(services: Services, row: DeploymentRow) -> Promotion | None:
    """Of the newest deployment of its environment: the first environment after it that does not
    have its commit, and does not get it by itself."""
    behind = next_environments(services.config, row)
    if not behind:
        return None
    async with services.pool.connection() as connection:
        every = await promotions.next_in(connection, row.repo_id, list(behind), row.sha)
    there = first_without(row.sha, every)
    if there is None:
        return None
    changelog = await other_changelog(services, row, there.live_sha)
    return promotion_to(there, behind[there.environment], changelog.summary if changelog else "")


async def promoted_from(services: Services, connection: Async, row: DeploymentRow) -> list[int]:
    """The newest in the environments before this one, whose messages offer to promote them here."""
    environment = route(services.config, row.repo, row.environment)
    names = promotion_keys(environment).after if environment and services.actions_enabled else ()
    if not names:
        return []
    return [one.id for one in await promotions.newest_in(connection, row.repo_id, names)]
