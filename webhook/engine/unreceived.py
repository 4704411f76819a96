"""Deployments that GitHub has and nobody delivered: the hook was off, or pointed elsewhere.

They are listed, repository by repository. One that nobody has begun becomes a delivery like any
other, and webhook.engine.lateness decides what becomes of it. GitHub's list does not say which of
them a job of GitHub Actions has made and deploys itself; but that job writes a status at once.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from webhook.config.routing import matches_any, route
from webhook.deployments.models import GitHubDeployment
from webhook.engine.acceptance import is_left_alone
from webhook.engine.services import Services
from webhook.errors import BUSY, Rejected, RetryAt, UnknownOutcome
from webhook.github import listing
from webhook.github.listing import ListedDeployment, ListedRepository
from webhook.store import unreceived
from webhook.store.deliveries import compressed
from webhook.store.unreceived import ListedUntil

log = structlog.get_logger()

# Of one run: pages of a repository, and deployments of which GitHub is asked for their statuses.
MOST_PAGES = 10
MOST_ASKED = 200
_ACTIONS = "github-actions"


async def list_deployments(services: Services) -> None:
    """Look for deployments that GitHub has and nobody delivered; raises `RetryAt`."""
    begins = services.opened_at + services.timing.deployments_listed_after_start
    if services.clock() < begins:
        raise RetryAt("what GitHub's list of deliveries has comes first", begins)
    run = Listing(services, services.clock())
    await run.list_all()
    raise RetryAt("listed again later", run.again)


@dataclass(slots=True)
class Listing:
    """One run. `again`: when the next one is due. `asked`: so many deployments were asked about."""

    services: Services
    started: datetime
    again: datetime = field(init=False)
    asked: int = 0
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        timing = self.services.timing
        self.again = self.started + timing.deployments_listed_every
        lasts = timing.deployments_listed_for.total_seconds()
        self._until = asyncio.get_running_loop().time() + lasts

    async def list_all(self) -> None:
        """What fails does not stop the others."""
        try:
            installations = await self.services.github.installations()
        except (RetryAt, UnknownOutcome, Rejected) as error:
            self._try_later(error)
            return
        for installation in filter(listing.may_list, installations):
            try:
                await self._list_installation(installation.id)
            except (RetryAt, UnknownOutcome, Rejected) as error:
                log.warning(
                    "deployments not listed", installation=installation.id, error=str(error)
                )
                self._try_later(error)

    async def _list_installation(self, installation_id: int) -> None:
        """A limit of GitHub's holds for all of it."""
        repositories = await listing.repositories_of(self.services.github, installation_id)
        for repository, was in await self._due(repositories):
            if self._is_over:
                self._come_back(self.services.clock())
                return
            try:
                await self._list(repository, was)
            except RetryAt as error:
                if error.code != BUSY:
                    raise
                self._try_later(error)
            except (UnknownOutcome, Rejected) as error:
                log.warning("deployments not listed", repo=repository.full_name, error=str(error))
                self._try_later(error)

    @property
    def _is_over(self) -> bool:
        return self.asked >= MOST_ASKED or asyncio.get_running_loop().time() >= self._until

    async def _due(
        self, repositories: Sequence[ListedRepository]
    ) -> list[tuple[ListedRepository, ListedUntil | None]]:
        """Those that were listed longest ago first, of those that deploy.yml may route."""
        envs = self.services.config.envs
        used = [
            one
            for one in repositories
            if one.writable and any(matches_any(env.repos, one.full_name) for env in envs)
        ]
        async with self.services.pool.connection() as connection:
            known = await unreceived.read(connection, [one.id for one in used])
        found = [(one, known.get(one.id)) for one in used]
        due = [(one, was) for one, was in found if was is None or self._is_due(was)]
        never = datetime.min.replace(tzinfo=self.started.tzinfo)
        return sorted(due, key=lambda item: item[1].listed_at if item[1] else never)

    def _is_due(self, was: ListedUntil) -> bool:
        """Also at the start of a worker: the hook may have been away for as long."""
        every = self.services.timing.deployments_listed_every
        return was.listed_at < self.services.opened_at or was.listed_at + every <= self.started

    async def _list(self, repository: ListedRepository, was: ListedUntil | None) -> None:
        at = self.services.github.now().replace(microsecond=0)  # as GitHub's times are
        if was is None:
            was = await self._first(repository, at)
            if was.since == at:
                await self._keep(was)
                return
        begins = max(was.since, was.listed_until - self.services.timing.deployments_listed_overlap)
        found = await self._newer(repository, begins, was.etag)
        etag = was.etag
        if found is not None:
            deployments, etag = found
            if not await self._deliver_all(repository, deployments, at):
                etag = ""
        if self._is_over and not etag:
            return  # some may be left
        await self._keep(replace(was, listed_until=at, etag=etag, listed_at=self.started))

    async def _keep(self, listed: ListedUntil) -> None:
        async with self.services.pool.connection() as connection:
            await unreceived.keep(connection, listed)

    async def _first(self, repository: ListedRepository, at: datetime) -> ListedUntil:
        """What was deployed before the relay knew the repository is not its business."""
        async with self.services.pool.connection() as connection:
            known = await unreceived.has_deployments(connection, repository.id)
        since = at - self.services.timing.deployments_listed_back if known else at
        return ListedUntil(
            repo_id=repository.id, since=since, listed_until=since, etag="", listed_at=self.started
        )

    async def _newer(
        self, repository: ListedRepository, begins: datetime, etag: str
    ) -> tuple[list[ListedDeployment], str] | None:
        """Those since then, and the ETag of the first page; None: nothing has changed."""
        found: list[ListedDeployment] = []
        new_etag = ""
        for number in range(1, MOST_PAGES + 1):
            page = await listing.deployments_page(
                self.services.github, repository, number, etag if number == 1 else ""
            )
            if page is None:
                return None
            new_etag = new_etag or page.etag
            newer = [one for one in page.deployments if one.deployment.created_at >= begins]
            found += newer
            if page.last or len(newer) < len(page.deployments):
                break
        return found, new_etag

    async def _deliver_all(
        self, repository: ListedRepository, found: Sequence[ListedDeployment], at: datetime
    ) -> bool:
        """False: some are to be seen again."""
        async with self.services.pool.connection() as connection:
            known = await unreceived.known(connection, [one.deployment.id for one in found])
        missing = [
            one
            for one in found
            if one.deployment.id not in known and self._is_taken(repository, one.deployment)
        ]
        old = [one for one in missing if at - one.deployment.created_at > self._age(one.deployment)]
        for one in old:
            if self._is_over:
                return False
            self.asked += 1
            if not await listing.has_status(self.services.github, repository, one.deployment.id):
                await self._deliver(repository, one)
        return len(old) == len(missing)

    def _is_taken(self, repository: ListedRepository, deployment: GitHubDeployment) -> bool:
        environment = route(self.services.config, repository.full_name, deployment.environment)
        if environment is None:
            return False
        return not is_left_alone(self.services, deployment, environment)

    def _age(self, deployment: GitHubDeployment) -> timedelta:
        """Its event may be under way. To a job's first status, which GitHub writes at once, more
        time is given, as a mistake would deploy twice."""
        timing = self.services.timing
        login = deployment.creator.removesuffix("[bot]")
        slug = deployment.app.slug if deployment.app else ""
        by_job = _ACTIONS in (login, slug)
        return timing.deployments_listed_overlap if by_job else timing.late_after

    async def _deliver(self, repository: ListedRepository, one: ListedDeployment) -> None:
        """GitHub's event, as far as its list has it: not which job made the deployment."""
        body = {
            "action": "created",
            "deployment": one.document,
            "repository": {
                "id": repository.id,
                "full_name": repository.full_name,
                "html_url": repository.url,
            },
            "installation": {"id": repository.installation_id},
            "sender": one.document.get("creator"),
        }
        encoded = compressed(json.dumps(body).encode())
        async with self.services.pool.connection() as connection, connection.transaction():
            new = await unreceived.deliver(connection, one.deployment.id, encoded)
        if new:
            log.warning(
                "nobody delivered this deployment; is the App's webhook active?",
                deployment=one.deployment.id,
                repo=repository.full_name,
            )

    def _try_later(self, error: RetryAt | UnknownOutcome | Rejected) -> None:
        """What GitHub rejects, it will reject in an hour as well, perhaps."""
        if isinstance(error, RetryAt):
            self._come_back(error.at)
        elif isinstance(error, UnknownOutcome):
            self._come_back(self.services.clock())

    def _come_back(self, at: datetime) -> None:
        """Earlier than in an hour, and not at once."""
        soon = self.services.clock() + self.services.timing.deployments_listed_again_after
        self.again = min(self.again, max(at, soon))
