"""The handler `github-actions` in a repository of the sandbox's GitHub, through the relay's API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from handlers.contract import Deployment, Run
from handlers.github_actions import GitHubActions, GitHubActionsOptions
from sandbox.github_actions.model import Job, Workflow, WorkflowRun
from sandbox.github_actions.server import Actions
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.handlers.runs import a_context, a_deployment
from webhook.github.client import GitHub, ToolsGitHub
from webhook.settings import Settings

RUN_NAME = "Deploy ${{ github.event.deployment.environment }} #${{ github.event.deployment.id }}"
DISPATCH_NAME = "Deploy #${{ inputs.deployment_id }}"


@dataclass(frozen=True, slots=True)
class OnGitHub:
    sandbox: Sandbox
    api: ToolsGitHub

    @property
    def actions(self) -> Actions:
        return self.sandbox.github.actions

    def handler(self, **options: Any) -> GitHubActions:
        """`status_within: 0s` by default, so that tests need not wait."""
        if options.get("mode") != "dispatch":
            options = {"status_within": "0s", **options}
        given = GitHubActionsOptions.model_validate(options)
        return GitHubActions(given, a_context(Path("/none"), github=self.api))

    def workflow(self, file: str = "deploy.yml", *jobs: Job, **more: Any) -> Workflow:
        """One `on: deployment` whose title has the deployment's id, unless `more` changes that."""
        every = {"run_name": RUN_NAME, "jobs": jobs or (Job(),), **more}
        return self.actions.add_workflow(REPOSITORY, file, **every)

    def dispatched(self, *jobs: Job, **more: Any) -> Workflow:
        inputs = {"deployment_id": True, "environment": False}
        every = {"on": ["workflow_dispatch"], "inputs": inputs, "run_name": DISPATCH_NAME, **more}
        return self.workflow("deploy.yml", *jobs, **every)

    async def deployment(
        self, environment: str = "production", ref: str = "main", *, lasting: float = 60
    ) -> Deployment:
        """As the relay hands it over."""
        created = await self.sandbox.github.create_deployment(
            REPOSITORY, ref, environment=environment, required_contexts=[]
        )
        return a_deployment(
            lasting=lasting,
            id=created.id,
            repo=REPOSITORY,
            repo_id=created.repository.id,
            installation_id=self.sandbox.installation.id,
            environment=created.environment,
            ref=created.ref,
            sha=created.sha,
            creator=created.creator.login,
            created_at=created.created_at.replace(microsecond=0),
        )

    def runs_of(self, deployment: Deployment) -> Sequence[WorkflowRun]:
        return self.actions.runs_of(self.sandbox.github.deployments[deployment.id])

    def calls(self, method: str, ending: str) -> int:
        return len(self.sandbox.github.called(method, ending))


@asynccontextmanager
async def opened(
    tmp_path: Path, *, timeout: float = 10, api_url: str = ""
) -> AsyncIterator[OnGitHub]:
    """`timeout` is that of one call to GitHub, in seconds; `api_url` leads to another GitHub."""
    patience = aiohttp.ClientTimeout(total=timeout)
    async with Sandbox() as sandbox, aiohttp.ClientSession(timeout=patience) as session:
        sandbox.github.actions.runs.delay = 0.02
        environ = sandbox.environ(tmp_path, tmp_path / "deploy.yml", 8080)
        sandbox.github.webhook_url = ""
        environ["GITPLOY_GITHUB_BASE_URL"] = api_url or sandbox.github.api_url
        yield OnGitHub(sandbox, ToolsGitHub(GitHub(Settings.from_environ(environ), session)))


async def ended(handler: GitHubActions, deployment: Deployment, within: float = 10) -> Run:
    """Found or started, and followed to the end."""
    run = await handler.find(deployment) or await handler.start(deployment)
    return await followed(handler, deployment, run, within)


async def followed(
    handler: GitHubActions, deployment: Deployment, run: Run, within: float = 10
) -> Run:
    deadline = monotonic() + within
    while not run.state.final:
        assert monotonic() < deadline, f"the run did not end: {run}"
        await asyncio.sleep(0.02)
        run = await handler.check(deployment, run)
    assert len(run.description) <= 140
    return run


def earlier(deployment: Deployment, seconds: float) -> Deployment:
    """The same, first started so long ago."""
    return replace(deployment, deadline=deployment.deadline - timedelta(seconds=seconds))
