"""What has happened in the relay of these tests: enough for each page to show something."""

import json
from dataclasses import dataclass
from pathlib import Path

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from tests.world import World
from webhook.web import paths

OPERATOR, WRITER, REVIEWER = "octoadmin", "octocat", "octowriter"
READER, VISITOR = "octoreader", "octovisitor"
_LOG = "for step in fetch build upload; do echo $step $DEPLOYMENT_REF; done"
_SLOW = 'echo begun; while ! test -e "$1"; do sleep 0.05; done'
DEPLOY_YML = f"""
slack: {{channel: "#deploys"}}
envs:
  - name: staging
    handler: command
    with: {{run: ["sh", "-c", {json.dumps(_LOG)}]}}
  - name: production
    after: staging
    handler: command
    with: {{run: ["sh", "-c", {json.dumps(_LOG)}]}}
    review: {{enabled: true, reviewers: [{WRITER}, {REVIEWER}]}}
  - {{name: locked, handler: command, with: {{run: ["true"]}}}}
  - {{name: steady, handler: command, with: {{run: ["true"]}}}}
  - name: broken
    handler: command
    with: {{run: ["sh", "-c", "echo the disk is full; exit 3"]}}
  - name: "slow*"
    handler: command
    with: {{run: ["sh", "-c", {json.dumps(_SLOW)}, sh, "{{payload.gate}}"]}}
"""


@dataclass
class Story:
    """`shas`: of the default branch, the oldest first. `waiting`: for approval."""

    world: World
    folder: Path
    shas: list[str]
    ended: Deployment
    failed: Deployment
    waiting: Deployment

    def push(self, title: str) -> str:
        sha = self.world.github.world.repository(REPOSITORY).push(title)
        self.shas.append(sha)
        return str(sha)

    async def succeeded(self, environment: str, title: str) -> Deployment:
        """Of a new commit."""
        deployment = await self.world.deploy(environment, ref=self.push(title))
        await self.world.phase(deployment.id, "success")
        return deployment

    async def held_back(self, title: str) -> Deployment:
        """In production, until somebody approves it."""
        staged = await self.succeeded("staging", title)
        deployment = await self.world.deploy("production", ref=staged.sha)
        await self.world.phase(deployment.id, "queued")
        return deployment

    def page_of(self, deployment: Deployment) -> str:
        return paths.deployment(REPOSITORY, deployment.id)

    def link_of(self, deployment: Deployment) -> str:
        """With its key, as GitHub and Slack show it."""
        urls: list[str] = [one.log_url for one in self.world.github.statuses(deployment.id)]
        return next(url for url in urls if "key=" in url).removeprefix(self.world.url)

    def guid(self, event: str) -> str:
        query = "select guid from deliveries where event = %s order by id limit 1"
        return str(self.world.rows(query, event)[0]["guid"])


def environment(name: str) -> str:
    return paths.environment(REPOSITORY, name)


async def prepare(world: World, folder: Path) -> Story:
    world.github.add_collaborator(REPOSITORY, VISITOR, "read")
    repository = world.github.world.repository(REPOSITORY)
    shas = [repository.push(title) for title in ("Count visitors", "Greet them by name")]
    ended = await world.deployed("staging", ref=shas[0])
    await world.deployed("staging", ref=shas[1])
    failed = await world.deployed("broken", ref=shas[1])
    waiting = await world.deploy("production", ref=shas[1])
    await world.phase(waiting.id, "queued")
    await world.idle()
    return Story(world, folder, shas, ended, failed, waiting)
