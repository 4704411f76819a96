"""A relay with every tool, for several test files."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sandbox.demo.tools import SECRETS, Tools
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.world import QUICK, World, live
from webhook.timing import Timing

ENVIRONMENTS = {
    "github-actions": "staging",
    "spinnaker": "production",
    "drone": "qa",
    "endpoint": "edge",
    "woodpecker": "docs",
}
# Of github-actions as well, with a workflow that the relay starts.
DISPATCHED = "release"
DEPLOY_YML = """
slack: {{channel: "#deploys"}}
slack_users: {{octocat: {octocat}}}
envs:
{tools}
  - name: {dispatched}
    handler: github-actions
    with: {{mode: dispatch, workflow: release.yml}}
    timeout: {timeout}
  - name: "preview/*"
    handler: command
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_REF; sleep 0.5"]}}
    timeout: {timeout}
"""


@contextlib.asynccontextmanager
async def relay_with_tools(
    store_url: str,
    folder: Path,
    *,
    takes: float = 0.3,
    timeout: str = "30m",
    workers: int = 1,
    secrets: dict[str, str] | None = None,
    interactive: bool = False,
    timing: Timing = QUICK,
) -> AsyncIterator[tuple[World, Tools]]:
    """`takes`: seconds of a deployment in each tool; `timeout` as in deploy.yml, of each.
    `interactive`: octocat can request actions in Slack, as its first user."""
    sandbox = Sandbox(interactive=interactive)
    octocat = sandbox.slack.add_user("octocat")
    tools = Tools(sandbox, {n: handler for handler, n in ENVIRONMENTS.items()}, takes=takes)
    async with tools:
        tools.actions.add_workflow(
            REPOSITORY,
            "release.yml",
            on=["workflow_dispatch"],
            inputs={"deployment_id": True},
            run_name="Release ${{ inputs.deployment_id }}",
        )
        deploy_yml = DEPLOY_YML.format(
            tools=tools.deploy_yml(timeout),
            dispatched=DISPATCHED,
            timeout=timeout,
            octocat=octocat.id,
        )
        environ = SECRETS | (secrets or {})
        async with live(
            store_url,
            folder,
            deploy_yml,
            sandbox=sandbox,
            environ=environ,
            workers=workers,
            timing=timing,
        ) as world:
            yield world, tools
