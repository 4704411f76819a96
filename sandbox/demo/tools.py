"""The stand-ins of all tools, set up to deploy the sandbox's repository."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from sandbox.drone import Drone
from sandbox.github.model import Deployment
from sandbox.github_actions.model import Job
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.server import Server
from sandbox.spinnaker.server import Spinnaker
from sandbox.tooling import Tooling
from sandbox.woodpecker import Repo, Woodpecker

# The file that operators copy into Orca; a wheel has no docs, but a copy next to this module.
IN_A_WHEEL = Path(__file__).with_name("orca-local.yml")
IN_THE_DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "spinnaker" / "orca-local.yml"
ORCA_LOCAL = IN_A_WHEEL if IN_A_WHEEL.is_file() else IN_THE_DOCS
SOURCE = "github-deployment"
SECRETS = {
    "DRONE_TOKEN": "drone-token-of-the-sandbox",
    "GATE_TOKEN": "gate-token-of-the-sandbox",
    "TOOLING_SECRET": "tooling-secret-of-the-sandbox",
    "WOODPECKER_TOKEN": "woodpecker-token-of-the-sandbox",
}


class Tools:
    """Start it with `async with`. `environments`: name -> handler; a tool deploys only to the first
    of its environments. A deployment takes about `takes` seconds."""

    def __init__(
        self, sandbox: Sandbox, environments: Mapping[str, str], *, takes: float = 0.3
    ) -> None:
        self.environments = environments
        self.actions = sandbox.github.actions
        self.drone = Drone(token=SECRETS["DRONE_TOKEN"], takes=takes)
        self.spinnaker = Spinnaker(
            token=SECRETS["GATE_TOKEN"], orca_local=ORCA_LOCAL, stage_takes=takes / 2
        )
        self.tooling = Tooling(secret=SECRETS["TOOLING_SECRET"], takes=takes)
        self.woodpecker = Woodpecker(token=SECRETS["WOODPECKER_TOKEN"], takes=takes / 2)
        self._sandbox = sandbox
        self._takes = takes
        self._stack = AsyncExitStack()
        self._prepare()

    def addresses(self) -> str:
        """As the demo prints them."""
        found = {
            "Drone": self.drone,
            "Spinnaker": self.spinnaker,
            "tooling": self.tooling,
            "Woodpecker": self.woodpecker,
        }
        return "".join(f"\n{name:10} {server.url}" for name, server in found.items())

    @property
    def servers(self) -> dict[str, Server]:
        """Handler -> its stand-in, which for GitHub Actions is GitHub's."""
        return {
            "drone": self.drone,
            "endpoint": self.tooling,
            "github-actions": self._sandbox.github,
            "spinnaker": self.spinnaker,
            "woodpecker": self.woodpecker,
        }

    def _prepare(self) -> None:
        self.actions.runs.delay = self._takes / 2
        names = {handler: name for name, handler in reversed([*self.environments.items()])}
        self.actions.add_workflow(
            REPOSITORY,
            run_name="Deploy ${{ github.event.deployment.environment }} "
            "#${{ github.event.deployment.id }}",
            jobs=[Job(only=names["github-actions"], states=("in_progress", "success"))],
        )
        self.drone.add_repo(REPOSITORY, targets=[names["drone"]])
        self.spinnaker.add_pipeline(_pipeline(names["spinnaker"]))
        self.woodpecker_repo: Repo = self.woodpecker.add_repo(REPOSITORY)

    def build(self, ref: str) -> None:
        """As after a push of that ref: a successful build in each CI."""
        sha = self._sandbox.github.world.repository(REPOSITORY).sha(ref)
        self.drone.add_build(REPOSITORY, sha)
        self.woodpecker_repo.add(sha)

    def deploy_yml(self, timeout: str = "30m") -> str:
        """The items of `envs` in deploy.yml. They may run several deployments at once."""
        envs = [
            {
                "name": name,
                "handler": handler,
                "with": self._options(handler),
                "timeout": timeout,
                "serialization": False,
            }
            for name, handler in self.environments.items()
        ]
        return "\n".join(f"  - {json.dumps(env)}" for env in envs)

    def _options(self, handler: str) -> dict[str, Any]:
        return {
            "drone": {"url": self.drone.url, "token": "${DRONE_TOKEN}"},
            "endpoint": {
                "url": f"{self.tooling.url}/deploy",
                "secret": "${TOOLING_SECRET}",
                "restart": "safe",
            },
            "github-actions": {"status_within": "2s"},
            "spinnaker": {
                "url": self.spinnaker.url,
                "token": "${GATE_TOKEN}",
                "source": SOURCE,
                "application": "site",
                "deck": self.spinnaker.url,
            },
            "woodpecker": {"url": self.woodpecker.url, "token": "${WOODPECKER_TOKEN}"},
        }[handler]

    def started(self, handler: str) -> int:
        """How many runs the tool has started."""
        return {
            "drone": lambda: len(self.drone.builds(REPOSITORY, "promote")),
            "endpoint": lambda: len(self.tooling.jobs),
            "github-actions": lambda: len(self.actions.runs.by_id),
            "spinnaker": lambda: len(self.spinnaker.executions),
            "woodpecker": lambda: len(self.woodpecker_repo.deployments),
        }[handler]()

    def result(self, deployment: Deployment) -> str:
        """The state of the run in the tool, as the demo prints it."""
        return {
            "drone": self._promotion,
            "endpoint": self._tooling_job,
            "github-actions": self._workflow_run,
            "spinnaker": self._execution,
            "woodpecker": self._pipeline,
        }[self.environments[deployment.environment]](deployment)

    def _promotion(self, deployment: Deployment) -> str:
        build = self.drone.builds(REPOSITORY, "promote")[-1]
        if str(deployment.id) not in build.params.values():
            return "Drone: no pipeline for that target"
        return f"Drone: build #{build.number}, a promotion: {build.status}"

    def _workflow_run(self, deployment: Deployment) -> str:
        run = self.actions.runs_of(deployment)[-1]
        return f"GitHub Actions: run {run.id} of {run.workflow.path}: {run.conclusion}"

    def _execution(self, _: Deployment) -> str:
        execution = self.spinnaker.executions[-1]
        return f"Spinnaker: '{execution.pipeline.name}': {execution.status}"

    def _tooling_job(self, deployment: Deployment) -> str:
        return f"Internal tooling: job {self.tooling.job(deployment.id).state}"

    def _pipeline(self, _: Deployment) -> str:
        pipeline = self.woodpecker_repo.deployments[-1]
        return f"Woodpecker: pipeline #{pipeline.number}: {pipeline.status}"

    async def __aenter__(self) -> Self:
        for server in (self.drone, self.spinnaker, self.tooling, self.woodpecker):
            await self._stack.enter_async_context(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self._stack.aclose())


def _pipeline(environment: str) -> dict[str, Any]:
    def report(number: int, state: str, description: str, url: str) -> dict[str, Any]:
        return {
            "refId": str(number),
            "requisiteStageRefIds": [str(number - 1)] if number > 1 else [],
            "type": "githubDeploymentStatus",
            "name": f"Report {state} to GitHub",
            "parameterValues": {
                "state": state,
                "description": description,
                "environmentUrl": url,
            },
            # A report that fails does not fail the deployment.
            "failPipeline": False,
            "continuePipeline": True,
        }

    return {
        "application": "site",
        "name": f"Deploy to {environment}",
        "triggers": [
            {
                "type": "webhook",
                "enabled": True,
                "source": SOURCE,
                "payloadConstraints": {
                    "deployment.environment": f"^{environment}$",
                    "repository.full_name": f"^{REPOSITORY}$",
                },
            }
        ],
        "stages": [
            report(1, "in_progress", "Deploying with Spinnaker", ""),
            {"refId": "2", "requisiteStageRefIds": ["1"], "type": "wait", "name": "Deploy"},
            report(3, "success", "Deployed with Spinnaker", "https://site.example.com"),
        ],
    }
