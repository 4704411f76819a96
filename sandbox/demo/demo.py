"""`python -m webhook demo`: deployments of a small site, from GitHub's API to its page.

GitHub, Slack and the tools are stand-ins; the relay is the real one, started as its users start it.
Units: seconds.
"""

import asyncio
import io
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.demo.failure import DemoError, expected, explanation
from sandbox.demo.output import FINAL_TEXTS, Output, newest_log_url
from sandbox.demo.playground import PEOPLE_TO_BE, SETTINGS, Playground
from sandbox.demo.processes import LOG, get, relay, site
from sandbox.demo.tools import SECRETS, Tools
from sandbox.github.request import API_VERSION
from sandbox.github.server import GitHub
from sandbox.sandbox import PEOPLE, REPOSITORY, Sandbox, free_ports
from sandbox.server import HOST
from sandbox.slack.model import Message, User
from sandbox.slack.screen import render

DEPLOY = Path(__file__).with_name("site") / "deploy"
TIMEOUT = 30
# The exit code of a demo that was stopped.
STOPPED = 130

DEPLOY_YML = """\
slack: {{channel: "#deploys"}}
slack_users: {{{people}}}
envs:
{more}\
  - name: staging
    handler: command
    with:
      run: [sh, {deploy}, {site}/staging, {url}/staging/]
  - name: production
    handler: command
    with:
      run: [sh, {deploy}, {site}/production, {url}/production/]
    timeout: 5m
    slack: {{failures: "#oncall"}}
"""


# With --pull.
PULL = {"GITPLOY_DELIVERIES": "pull", "GITPLOY_WEBHOOK_SECRET": ""}
# With --all: environment -> handler, for every other tool.
TOOLS = {
    "review": "github-actions",
    "qa": "drone",
    "load-test": "drone",
    "canary": "spinnaker",
    "edge": "endpoint",
    "docs": "woodpecker",
}


@dataclass(frozen=True, slots=True)
class PlannedDeployment:
    """A deployment of the demo, and the state in which it has to end."""

    environment: str
    ref: str
    ends: str
    tool: str = "command"


DEPLOYMENTS = (
    PlannedDeployment("staging", "v1.0", "success"),
    PlannedDeployment("production", "v1.0", "success"),
    PlannedDeployment("production", "v1.1-broken", "failure"),
)
# The user octocat presses this button in Slack after the last of them.
ROLLBACK = PlannedDeployment("production", "v1.0", "success")
# Production is locked then, until octocat unlocks it.
LOCKED = PlannedDeployment("production", "v1.2", "success")
LOCK, UNLOCK = (
    f"lock {REPOSITORY} production for 2h the cart is being mended",
    f"unlock {REPOSITORY} production",
)
# Drone has no pipeline for the environment load-test.
TOOL_DEPLOYMENTS = tuple(
    PlannedDeployment(name, "v1.2", "error" if name == "load-test" else "success", tool)
    for name, tool in TOOLS.items()
)


COMMITS = {
    "v1.0": ["The first page"],
    "v1.1-broken": ["Show prices with tax", "Mend the total of an empty cart"],
    "v1.2": ["Show prices again"],
}


async def demo(*, keep: bool, as_json: bool, every_tool: bool, pull: bool, again: str) -> int:
    """Returns the exit code: 0 if all deployments ended as expected. `pull`: GitHub cannot reach
    the relay. `again`: the command that does the same and keeps everything running."""
    folder = Path(tempfile.mkdtemp(prefix="gitploy-relay-demo-"))
    task = asyncio.current_task()
    if task is not None:  # SIGTERM stops the relay and the stand-ins too
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        hint = "" if keep else f"To open the pages: {again}"
        await _demo(folder, keep=keep, as_json=as_json, every_tool=every_tool, pull=pull, hint=hint)
    except asyncio.CancelledError:
        return STOPPED
    except (DemoError, aiohttp.ClientError, LookupError, OSError) as error:
        sys.stderr.write(explanation(error, folder / LOG) + "\n")
        return 1
    else:
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def an_app(*, every_tool: bool) -> GitHub:
    """An App that may do what the demo's deploy.yml uses."""
    permissions = {"deployments": "write", "metadata": "read", "contents": "read"}
    events = ["deployment", "deployment_status"]
    if every_tool:
        permissions["actions"] = "read"
        events += ["workflow_run", "workflow_job"]
    return GitHub(permissions=permissions, events=events)


async def _demo(
    folder: Path, *, keep: bool, as_json: bool, every_tool: bool, pull: bool, hint: str
) -> None:
    github = an_app(every_tool=every_tool)
    async with Sandbox(github, interactive=True) as sandbox, site(folder / "site") as site_url:
        sandbox.github.strict = False  # people call it too, with curl
        playground = Playground(sandbox) if keep else None
        tools = Tools(sandbox, TOOLS) if every_tool else None
        async with tools or nullcontext():
            people = [sandbox.slack.add_user(login) for login in PEOPLE]
            config = deploy_yml(folder / "site", site_url, people, playground)
            config += tools.deploy_yml() if tools else ""
            output = Output(sandbox, io.StringIO() if as_json else None)
            output.print_starting()
            variables = SECRETS | (PULL if pull else {}) | (SETTINGS if keep else {})
            async with relay(sandbox, folder, config, variables) as relay_url:
                if pull:  # an address at which nobody answers
                    github.webhook_url = f"http://{HOST}:{free_ports(1)[0]}/"
                running = Demo(sandbox, tools, output, relay_url, site_url, people[0], playground)
                await running.run(as_json=as_json, hint=hint)


def deploy_yml(
    site_folder: Path, url: str, people: Sequence[User], playground: Playground | None
) -> str:
    return DEPLOY_YML.format(
        deploy=DEPLOY,
        site=site_folder,
        url=url,
        people=", ".join(f"{user.name}: {user.id}" for user in people),
        more=playground.environments(DEPLOY, site_folder, url) if playground else "",
    )


@dataclass(frozen=True, slots=True)
class Demo:
    sandbox: Sandbox
    tools: Tools | None
    output: Output
    relay_url: str
    site_url: str
    octocat: User
    playground: Playground | None

    async def run(self, *, as_json: bool, hint: str) -> None:
        """Errors: `DemoError` where something did not end as planned."""
        by_tools = TOOL_DEPLOYMENTS if self.tools else ()
        all_planned = (*DEPLOYMENTS, ROLLBACK, LOCKED, *by_tools)
        _push_commits(self.sandbox)
        self.output.print_start("GitHub, Slack and the tools" if self.tools else "GitHub and Slack")
        if self.tools:
            self.tools.build(TOOL_DEPLOYMENTS[0].ref)
        for planned in all_planned:
            await self._deploy(planned)
        self.output.print_summary(
            [planned.tool for planned in all_planned],
            ", ".join(
                f"{planned.ref} to {planned.environment}"
                for planned in all_planned
                if planned.ends != "success"
            ),
            hint,
        )
        if self.playground:
            self.output.print_act("More to see in the browser")
            await self.playground.fill()
        if as_json:
            sys.stdout.write(json.dumps(_result(self.sandbox), indent=2) + "\n")
        if self.playground:
            await self._keep_running()

    async def _deploy(self, planned: PlannedDeployment) -> None:
        title = f"{planned.ref} to {planned.environment}"
        if planned is ROLLBACK:
            deployment_id = await self._press_rollback()
        elif planned is LOCKED:
            deployment_id = await self._create_while_locked(planned, title)
        else:
            deployment_id = await self._create(planned)
        async with expected(f"the end of {title} on GitHub", TIMEOUT):
            status = await self.sandbox.github.wait_for(
                deployment_id, "success", "failure", "error", within=TIMEOUT
            )
        async with expected(f"the last message about {title} in Slack", TIMEOUT):
            await _slack_shows_the_end(self.sandbox, deployment_id, planned)
        if status.state != planned.ends:
            raise DemoError(f"{title} ended as {status.state}, {status.description}")
        if self.tools and planned in TOOL_DEPLOYMENTS:
            deployment = self.sandbox.github.deployments[deployment_id]
            self.output.print_tool(self.tools.result(deployment))
            return
        page = await get(f"{self.site_url}/{planned.environment}/")
        self.output.print_site(f"{self.site_url}/{planned.environment}/", page)
        if (str(deployment_id) in page) != (planned.ends == "success"):
            raise DemoError(f"the site does not show what {title} should have changed")

    async def _create(self, planned: PlannedDeployment) -> int:
        """Through GitHub's REST API, as a user or a workflow does it."""
        url = f"{self.sandbox.github.api_url}/repos/{REPOSITORY}/deployments"
        body = {"ref": planned.ref, "environment": planned.environment, "required_contexts": []}
        headers = {
            "Authorization": f"Bearer {self.sandbox.user.token}",
            "X-GitHub-Api-Version": API_VERSION,
        }
        self.output.print_deployment(
            f"{planned.ref} to {planned.environment} ({planned.tool})",
            brief=planned in TOOL_DEPLOYMENTS,
        )
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json=body) as response,
        ):
            response.raise_for_status()
            return int((await response.json())["id"])

    async def _create_while_locked(self, planned: PlannedDeployment, title: str) -> int:
        """It waits until somebody unlocks the environment, and goes on by itself then."""
        await self._type(LOCK)
        async with expected("the reply to the lock", TIMEOUT):
            while not any("ocked" in one.text for one in self.sandbox.slack.ephemeral_messages):
                await asyncio.sleep(0.05)
        deployment_id = await self._create(planned)
        async with expected(f"the wait of {title} in Slack", TIMEOUT):
            while not any(
                key.startswith(f"{deployment_id}:main") and "ocked by octocat" in render(message)
                for key, message in _slack_messages(self.sandbox, "#deploys")
            ):
                await asyncio.sleep(0.05)
        await self._type(UNLOCK)
        return deployment_id

    async def _type(self, text: str) -> None:
        self.output.print_act(f"{self.octocat.name} types in Slack: /deploy {text}")
        await self.sandbox.slack.command("/deploy", text, self.octocat)

    async def _press_rollback(self) -> int:
        """On the message of the newest deployment; the relay then creates another one."""
        known = set(self.sandbox.github.deployments)
        message = [m for m in self.sandbox.slack.messages("#deploys") if not m.is_reply][-1]
        self.output.print_act(f"{self.octocat.name} presses [Roll back] in Slack")
        await self.sandbox.slack.press(message, "rollback", self.octocat)
        async with expected("the deployment of the rollback", TIMEOUT):
            while not (new := set(self.sandbox.github.deployments) - known):
                await asyncio.sleep(0.05)
        return new.pop()

    async def _keep_running(self) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        sandbox = self.sandbox
        repository = f"{sandbox.github.api_url}/repos/{REPOSITORY}/deployments"
        deploys = sandbox.slack.channel("deploys").id
        servers = self.tools.servers if self.tools else {}
        self.output.print_addresses(
            {
                "the board": f"{self.relay_url}/",
                "the channel in Slack": f"{sandbox.slack.url}/archives/{deploys}",
                "GitHub's deployments": f"{sandbox.github.url}/{REPOSITORY}/deployments",
            },
            PEOPLE_TO_BE,
            {
                "the site": f"{self.site_url}/production/",
                "all messages": sandbox.slack.url,
                "GitHub's API": repository,
                "the relay": f"{self.relay_url}/workz",
                **{name: server.url for name, server in servers.items()},
            },
            f"curl -X POST -H 'Authorization: Bearer {sandbox.user.token}' {repository}"
            """ -d '{"ref": "v1.2", "environment": "staging", "required_contexts": []}'""",
        )
        await stopped.wait()


async def _slack_shows_the_end(
    sandbox: Sandbox, deployment_id: int, planned: PlannedDeployment
) -> None:
    """In the channel, in the thread, and a failure in the channel for failures."""
    failed = planned.ends != "success"
    purposes = {"main", "reply", *(["alert"] if failed and planned in DEPLOYMENTS else [])}
    while not purposes <= {
        key.split(":")[1]
        for channel in ("#deploys", "#oncall")
        for key, message in _slack_messages(sandbox, channel)
        if key.startswith(f"{deployment_id}:") and any(text in message.text for text in FINAL_TEXTS)
    }:
        await asyncio.sleep(0.05)


def _push_commits(sandbox: Sandbox) -> None:
    """The commits that the refs of the demo deploy."""
    repository = sandbox.github.repository(REPOSITORY)
    for ref, titles in COMMITS.items():
        for title in titles:
            repository.refs[ref] = repository.push(title)


def _slack_messages(sandbox: Sandbox, channel: str) -> list[tuple[str, Message]]:
    """Each message with the relay's key in its metadata: deployment and purpose."""
    return [
        ((message.metadata or {})["event_payload"]["key"], message)
        for message in sandbox.slack.messages(channel)
    ]


def _result(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "deployments": [
            {
                "id": deployment.id,
                "environment": deployment.environment,
                "ref": deployment.ref,
                "states": sandbox.github.states(deployment.id),
                "log_url": newest_log_url(sandbox, deployment),
            }
            for deployment in sandbox.github.deployments.values()
            if sandbox.github.statuses(deployment.id)
        ],
        "slack": [
            {
                "deployment": int(key.partition(":")[0]),
                "channel": channel,
                "in_thread": message.is_reply,
                "edits": message.edits,
                "text": render(message),
            }
            for channel in ("#deploys", "#oncall")
            for key, message in _slack_messages(sandbox, channel)
        ],
    }
