"""What `--keep` adds, so that there is something to do in the browser: a second repository, which
other people see, a deployment that waits for approval, and a staging that is ahead of production.

Units: seconds.
"""

import asyncio
from pathlib import Path

from sandbox.demo.failure import expected
from sandbox.sandbox import PEOPLE, REPOSITORY, Sandbox
from sandbox.slack.model import Message
from sandbox.slack.screen import render

SHOP = "acme/shop"
# Who may do what in it: octoguest sees this one alone, octoreader only the other.
ROLES = {
    "octocat": "write",
    "octoadmin": "admin",
    "octowriter": "write",
    "octoreader": "none",
    "octoguest": "read",
}
# Sees everything, and the deliveries too.
OPERATOR = "octoadmin"
SETTINGS = {"GITPLOY_ADMIN_USERS": OPERATOR}
PEOPLE_TO_BE = {
    "octocat": "asked for all deployments, and writes in both repositories",
    "octowriter": "has a deployment of acme/shop to approve",
    "octoadmin": "administers both, and runs the relay: deliveries, health, audit",
    "octoreader": "may read acme/site, and knows nothing of acme/shop",
    "octoguest": "may read acme/shop, and knows nothing of acme/site",
}
COMMITS = {
    REPOSITORY: ("Remember the cart", "Show the prices of shipping", "Mend the footer"),
    SHOP: ("Sell things", "Take money for them"),
}
# They take a while, so that it can be seen how they go on.
ENVIRONMENTS = """\
  - name: staging
    repos: [acme/shop]
    handler: command
    with:
      run: [sh, {deploy}, {site}/shop-staging, {url}/shop-staging/, "6"]
  - name: production
    repos: [acme/shop]
    handler: command
    with:
      run: [sh, {deploy}, {site}/shop-production, {url}/shop-production/, "6"]
    review: {{enabled: true, reviewers: [octowriter, octoadmin]}}
"""
ENDS_WITHIN = 30


class Playground:
    """To be made before the relay starts."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        github = sandbox.github
        sandbox.installation.repositories.append(github.add_repository(SHOP))
        for login, role in ROLES.items():
            github.add_collaborator(SHOP, login, role)

    def environments(self, deploy: Path, site: Path, url: str) -> str:
        """For deploy.yml, before those of every repository."""
        return ENVIRONMENTS.format(deploy=deploy, site=site, url=url)

    async def fill(self) -> None:
        """Errors: `DemoError` where a deployment does not end."""
        github = self.sandbox.github
        for name, titles in COMMITS.items():
            repository = github.repository(name)
            for number, title in enumerate(titles):
                author = list(PEOPLE)[number]
                repository.refs["v1.3"] = repository.push(title, author)
        created = await self._deploy(REPOSITORY, "staging")
        async with expected("the end of v1.3 to staging", ENDS_WITHIN):
            await github.wait_for(created, "success", "failure", "error", within=ENDS_WITHIN)
        for name in COMMITS:  # people mistype
            github.repository(name).only_pushed = True
        await self._deploy(SHOP, "staging")
        await self._deploy(SHOP, "production")
        async with expected("the request for approval in Slack", ENDS_WITHIN):
            while not any("approval" in render(one) for one in self._messages()):
                await asyncio.sleep(0.05)

    def _messages(self) -> list[Message]:
        return self.sandbox.slack.messages("#deploys")

    async def _deploy(self, repository: str, environment: str) -> int:
        created = await self.sandbox.github.create_deployment(
            repository,
            "v1.3",
            by=self.sandbox.user,
            environment=environment,
            required_contexts=[],
        )
        return created.id
