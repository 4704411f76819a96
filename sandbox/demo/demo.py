"""`python -m webhook demo`: the main job, from GitHub's API to the page of the site deployed.

GitHub and Slack are the sandbox's; the relay is the real one, started as its users start it.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.demo.running import get, relay, site
from sandbox.demo.screen import render
from sandbox.demo.story import Story
from sandbox.demo.tools import SECRETS, Tools
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.model import Message, User

DEPLOY = Path(__file__).with_name("site") / "deploy"
# Seconds.
END_WITHIN = 15
ENDED = ("succeeded", "failed", "could not run")

DEPLOY_YML = """\
slack: {{channel: "#deploys"}}
slack_users: {{octocat: {octocat}}}
envs:
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


# With --all: every other tool, each with an environment of its own.
TOOLS = {
    "review": "github-actions",
    "qa": "drone",
    "load-test": "drone",
    "canary": "spinnaker",
    "edge": "endpoint",
    "docs": "woodpecker",
}


@dataclass(frozen=True, slots=True)
class Act:
    """A deployment of the demo, and the state in which it must end."""

    environment: str
    ref: str
    ends: str
    tool: str = "command"


ACTS = (
    Act("staging", "v1.0", "success"),
    Act("production", "v1.0", "success"),
    Act("production", "v1.1-broken", "failure"),
)
# What octocat does in Slack about the last of them.
ROLL_BACK = Act("production", "v1.0", "success")
# No pipeline of Drone is for the environment load-test.
TOOL_ACTS = tuple(
    Act(name, "v1.2", "error" if name == "load-test" else "success", tool)
    for name, tool in TOOLS.items()
)


COMMITS = {
    "v1.0": ["The first page"],
    "v1.1-broken": ["Show prices with tax", "Mend the total of an empty cart"],
    "v1.2": ["Show prices again"],
}


async def demo(*, keep: bool, as_json: bool, every_tool: bool) -> int:
    """The exit code: 0 where all went as it should."""
    folder = Path(tempfile.mkdtemp(prefix="gitploy-relay-demo-"))
    this = asyncio.current_task()
    if this is not None:  # nothing is left running, however it is stopped
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with Sandbox(answers=True) as sandbox, site(folder / "site") as site_url:
            tools = Tools(sandbox, TOOLS) if every_tool else None
            async with tools or nullcontext():
                octocat = sandbox.slack.add_user("octocat")
                deploy_yml = DEPLOY_YML.format(
                    deploy=DEPLOY, site=folder / "site", url=site_url, octocat=octocat.id
                )
                deploy_yml += tools.deploy_yml() if tools else ""
                async with relay(sandbox, folder, deploy_yml, SECRETS) as relay_url:
                    story = Story(sandbox, silent=as_json)
                    shown = Demo(sandbox, tools, story, relay_url, site_url, octocat)
                    return await shown.play(keep=keep, as_json=as_json)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Demo:
    sandbox: Sandbox
    tools: Tools | None
    story: Story
    relay_url: str
    site_url: str
    octocat: User

    async def play(self, *, keep: bool, as_json: bool) -> int:
        acts = (*ACTS, ROLL_BACK, *(TOOL_ACTS if self.tools else ()))
        _commit(self.sandbox)
        github, slack = self.sandbox.github.url, self.sandbox.slack.url
        stand_ins = f"{'GitHub':10} {github}\n{'Slack':10} {slack}"
        stand_ins += self.tools.addresses() if self.tools else ""
        self.story.begin(self.relay_url, stand_ins)
        if self.tools:
            self.tools.build(TOOL_ACTS[0].ref)
        went_well = all([await self._deploy(act) for act in acts])
        if as_json:
            sys.stdout.write(json.dumps(_report(self.sandbox), indent=2) + "\n")
        else:
            meant = ", ".join(
                f"{act.ref} to {act.environment}" for act in acts if act.ends != "success"
            )
            self.story.table([act.tool for act in acts], went_well, meant)
        if keep:
            await self._stay()
        return 0 if went_well else 1

    async def _deploy(self, act: Act) -> bool:
        """Whether it ended as it should."""
        deployment_id = await (self._press() if act is ROLL_BACK else self._ask(act))
        status = await self.sandbox.github.wait_for(
            deployment_id, "success", "failure", "error", within=END_WITHIN
        )
        await _slack_says_so(self.sandbox, deployment_id, act)
        if self.tools and act in TOOL_ACTS:
            deployment = self.sandbox.github.deployments[deployment_id]
            self.story.tool(self.tools.shown(deployment))
            return status.state == act.ends
        page = await get(f"{self.site_url}/{act.environment}/")
        self.story.site(f"{self.site_url}/{act.environment}/", page)
        shown = str(deployment_id) in page
        return status.state == act.ends and shown == (act.ends == "success")

    async def _ask(self, act: Act) -> int:
        """Through GitHub's REST API, as a person or a workflow does it."""
        url = f"{self.sandbox.github.api_url}/repos/{REPOSITORY}/deployments"
        body = {"ref": act.ref, "environment": act.environment, "required_contexts": []}
        headers = {"Authorization": f"Bearer {self.sandbox.person.token}"}
        self.story.ask(f"{act.ref} to {act.environment} ({act.tool})", url)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json=body) as response,
        ):
            response.raise_for_status()
            return int((await response.json())["id"])

    async def _press(self) -> int:
        """The button on the message of the newest deployment; the relay asks for another one."""
        known = set(self.sandbox.github.deployments)
        message = [m for m in self.sandbox.slack.messages("#deploys") if not m.is_reply][-1]
        self.story.press("Roll back", self.octocat.name)
        await self.sandbox.slack.press(message, "rollback", self.octocat)
        async with asyncio.timeout(END_WITHIN):
            while not (new := set(self.sandbox.github.deployments) - known):
                await asyncio.sleep(0.05)
        return new.pop()

    async def _stay(self) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        sandbox = self.sandbox
        repository = f"{sandbox.github.api_url}/repos/{REPOSITORY}/deployments"
        self.story.addresses(
            {
                "relay": f"{self.relay_url}/readyz",
                "site": f"{self.site_url}/staging/ and {self.site_url}/production/",
                "Slack": sandbox.slack.url,
                "GitHub's API": repository,
            },
            f"curl -X POST -H 'Authorization: Bearer {sandbox.person.token}' {repository}"
            """ -d '{"ref": "v1.2", "environment": "staging", "required_contexts": []}'""",
        )
        await stopped.wait()


async def _slack_says_so(sandbox: Sandbox, deployment_id: int, act: Act) -> None:
    """Wait until Slack tells of the end, in all the places where it should."""
    failed = act.ends != "success"
    purposes = {"main", "reply", *(["alert"] if failed and act in ACTS else [])}
    async with asyncio.timeout(END_WITHIN):
        while not purposes <= {
            key.split(":")[1]
            for channel in ("#deploys", "#oncall")
            for key, message in _slack_messages(sandbox, channel)
            if key.startswith(f"{deployment_id}:") and any(word in message.text for word in ENDED)
        }:
            await asyncio.sleep(0.05)


def _commit(sandbox: Sandbox) -> None:
    """So that there is something to ship."""
    repository = sandbox.github.repository(REPOSITORY)
    for ref, titles in COMMITS.items():
        for title in titles:
            repository.refs[ref] = repository.push(title)


def _slack_messages(sandbox: Sandbox, channel: str) -> list[tuple[str, Message]]:
    """Each with the key that the relay gave it: deployment and purpose."""
    return [
        ((message.metadata or {})["event_payload"]["key"], message)
        for message in sandbox.slack.messages(channel)
    ]


def _report(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "deployments": [
            {
                "id": deployment.id,
                "environment": deployment.environment,
                "ref": deployment.ref,
                "states": sandbox.github.states(deployment.id),
                "log_url": sandbox.github.statuses(deployment.id)[-1].log_url,
            }
            for deployment in sandbox.github.deployments.values()
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
