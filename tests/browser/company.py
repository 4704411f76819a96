"""Some weeks in the life of a company with three repositories, for pictures of the pages.

What happens is real, and quick; afterwards it is moved into the past.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg

from sandbox.github.model import Deployment
from tests.web.people import Browser, browser
from tests.world import World, until
from webhook.timing import utc_now
from webhook.web import paths

OWNER = "monalisa"
PEOPLE = {OWNER: "admin", "hubot": "write", "octocat": "write"}
COMMITS = {
    "acme/docs": ("Explain gift cards", "Add a page on invoices", "Mend links"),
    "acme/shop": (
        "Show the price with tax",
        "Cache the catalogue for a minute",
        "Let people pay by invoice",
        "Fix rounding of discounts",
        "Sort search results by stock",
        "Add gift cards",
        "Retry payments once",
    ),
    "acme/api": (
        "Page through orders by key",
        "Reject negative amounts",
        "Add /v2/orders",
        "Speed up the inventory query",
        "Log slow requests",
    ),
}
FREEZE = f"{utc_now() + timedelta(days=9):%Y-%m-%d}", f"{utc_now() + timedelta(days=12):%Y-%m-%d}"
SCRIPT = r"""
green() { printf '\033[32m%s\033[0m %s\n' "$1" "$2"; }
printf '\033[1mDeploying %s to %s\033[0m\n' "$DEPLOYMENT_REF" "$DEPLOYMENT_ENVIRONMENT"
green ok 'fetched 214 files'
green ok 'built in 3.1 s'
if [ "$1" = break ]; then
  printf '\033[33mwarning\033[0m health check answered 503, trying again\n'
  printf '\033[31merror\033[0m smoke test failed: GET /orders took 12 s\n'
  exit 1
fi
while [ -n "$1" ] && [ ! -e "$1" ]; do sleep 0.1; done
green ok 'uploaded, 3 instances replaced'
green ok 'smoke test passed'
"""
DEPLOY_YML = f"""
slack: {{channel: "#deploys"}}
frozen_windows:
  - {{from: "{FREEZE[0]}", to: "{FREEZE[1]}", reason: "stocktaking", environments: [production]}}
envs:
  - name: staging
    handler: command
    with: {{run: ["sh", "SCRIPT", "{{payload.how}}"]}}
  - name: production
    repos: [acme/docs]
    handler: command
    with: {{run: ["sh", "SCRIPT", "{{payload.how}}"]}}
  - name: production
    after: staging
    handler: command
    with: {{run: ["sh", "SCRIPT", "{{payload.how}}"]}}
    review: {{enabled: true, reviewers: [{OWNER}, hubot]}}
"""
_LOCK = """
    insert into locks (repo_id, repo, environment, owner, reason, source, created_at, expires_at)
    select distinct repo_id, repo, 'production', 'hubot', 'the database moves', 'page',
        now() - interval '3 hours', now() + interval '21 hours'
    from deployments where repo = 'acme/api'
"""
_MOMENTS = """
    select table_name, column_name, exists (
        select from information_schema.columns other where other.table_schema = 'public'
            and other.table_name = one.table_name and other.column_name = 'deployment_id') as owned
    from information_schema.columns one
    where table_schema = 'public' and data_type = 'timestamp with time zone'
        and table_name in ('deployments', 'timeline', 'deployment_facts', 'approvals', 'actions')
"""


@dataclass
class Company:
    world: World
    failed: Deployment
    running: Deployment
    waiting: Deployment


def deploy_yml(folder: Path) -> str:
    script = folder / "deploy.sh"
    script.write_text(SCRIPT)
    return DEPLOY_YML.replace("SCRIPT", str(script))


def found(world: World) -> None:
    """Before anything happens."""
    for repo in COMMITS:
        added = world.github.add_repository(repo)
        world.sandbox.installation.repositories.append(added)
        for login, role in PEOPLE.items():
            world.github.add_collaborator(repo, login, role)


async def live_through(world: World, folder: Path) -> Company:
    found(world)
    async with browser(world, OWNER) as owner:
        releases = _Releases(world, owner)
        for repo, titles in COMMITS.items():
            for number, title in enumerate(titles):
                await releases.make(repo, title, timedelta(days=3 * (len(titles) - number)))
    failed = await releases.begin("acme/api", "staging", "Close unused connections", how="break")
    await world.phase(failed.id, "failure")
    _backdate(world, failed.id, timedelta(hours=5))
    staged = await releases.begin("acme/shop", "staging", "Greet people by name")
    await world.phase(staged.id, "success")
    _backdate(world, staged.id, timedelta(minutes=52))
    waiting = await releases.begin("acme/shop", "production", sha=staged.sha)
    await world.phase(waiting.id, "queued")
    never = str(folder / "never")
    running = await releases.begin("acme/docs", "staging", "Describe refunds", how=never)
    printed = "select 1 from output where deployment_id = %s"
    await until(lambda: world.rows(printed, running.id) or None)
    world.execute(_LOCK)
    return Company(world, failed, running, waiting)


@dataclass
class _Releases:
    """`owner`: who approves them."""

    world: World
    owner: Browser

    async def begin(
        self, repo: str, environment: str, title: str = "", *, sha: str = "", how: str = ""
    ) -> Deployment:
        github = self.world.github
        ref = sha or github.world.repository(repo).push(title)
        deployment: Deployment = await github.create_deployment(
            repo,
            ref,
            environment=environment,
            required_contexts=[],
            production_environment=environment == "production",
            payload={"how": how},
        )
        return deployment

    async def make(self, repo: str, title: str, ago: timedelta) -> None:
        """To staging, and then to production."""
        committed = utc_now() - ago - timedelta(hours=7)
        sha = self.world.github.world.repository(repo).push(title, at=committed)
        staged = await self.begin(repo, "staging", sha=sha)
        await self.world.phase(staged.id, "success")
        _backdate(self.world, staged.id, ago)
        how = "break" if title.startswith("Reject") else ""
        there = await self.begin(repo, "production", sha=sha, how=how)
        if repo != "acme/docs":
            await self._approve(there)
        await self.world.phase(there.id, "success", "failure")
        _backdate(self.world, there.id, ago - timedelta(minutes=47))

    async def _approve(self, deployment: Deployment) -> None:
        path = paths.deployment(deployment.repository.full_name, deployment.id)
        async with asyncio.timeout(20):
            while not (page := await self.owner.open(path)).offers(paths.act("approve")):
                await asyncio.sleep(0.05)
        await self.owner.press(page, paths.act("approve"))


def _backdate(world: World, deployment_id: int, by: timedelta) -> None:
    """And as if it had taken some minutes."""
    took = timedelta(seconds=95 + deployment_id * 37 % 140)
    with psycopg.connect(world.store_url) as connection:
        connection.execute("set session_replication_role = replica")
        for table, column, owned in connection.execute(_MOMENTS).fetchall():
            key = "deployment_id" if owned else "id"
            back = by + took if column in ("requested_at", "started_at", "created_at") else by
            connection.execute(
                f"update {table} set {column} = {column} - %s where {key} = %s",
                [back, deployment_id],
            )
