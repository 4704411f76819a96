"""`python -m webhook demo`: the main job, from GitHub's API to the page of the site deployed.

GitHub and Slack are the sandbox's; the relay is the real one, started as its users start it.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from webhook.sandbox.running import get, relay, site
from webhook.sandbox.sandbox import REPOSITORY, Sandbox
from webhook.sandbox.screen import render
from webhook.sandbox.slack_model import Message
from webhook.sandbox.story import Story

DEPLOY = Path(__file__).with_name("site") / "deploy"
# Seconds.
END_WITHIN = 15
ENDED = ("succeeded", "failed", "could not run")

DEPLOY_YML = """\
slack: {{channel: "#deploys"}}
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
    slack: {{channel: "#deploys", failures: "#oncall"}}
"""


@dataclass(frozen=True, slots=True)
class Act:
    """A deployment of the demo, and the state in which it must end."""

    environment: str
    ref: str
    ends: str


ACTS = (
    Act("staging", "v1.0", "success"),
    Act("production", "v1.0", "success"),
    Act("production", "v1.1-broken", "failure"),
)


async def demo(*, keep: bool, as_json: bool) -> int:
    """The exit code: 0 where all went as it should."""
    folder = Path(tempfile.mkdtemp(prefix="gitploy-relay-demo-"))
    this = asyncio.current_task()
    if this is not None:  # nothing is left running, however it is stopped
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with Sandbox() as sandbox, site(folder / "site") as site_url:
            story = Story(sandbox, silent=as_json)
            deploy_yml = DEPLOY_YML.format(deploy=DEPLOY, site=folder / "site", url=site_url)
            async with relay(sandbox, folder, deploy_yml) as relay_url:
                went_well = await _play(sandbox, story, relay_url, site_url)
                if as_json:
                    sys.stdout.write(json.dumps(_report(sandbox), indent=2) + "\n")
                else:
                    story.table(went_well)
                if keep:
                    await _stay(story, sandbox, relay_url, site_url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if went_well else 1


async def _play(sandbox: Sandbox, story: Story, relay_url: str, site_url: str) -> bool:
    story.begin(relay_url, sandbox.github.url, sandbox.slack.url)
    went_well = True
    for act in ACTS:
        deployment_id = await _ask(sandbox, story, act)
        status = await sandbox.github.wait_for(
            deployment_id, "success", "failure", "error", within=END_WITHIN
        )
        await _slack_says_so(sandbox, deployment_id, failed=act.ends == "failure")
        page = await get(f"{site_url}/{act.environment}/")
        story.site(f"{site_url}/{act.environment}/", page)
        shown = str(deployment_id) in page
        went_well &= status.state == act.ends and shown == (act.ends == "success")
    return went_well


async def _ask(sandbox: Sandbox, story: Story, act: Act) -> int:
    """Through GitHub's REST API, as a person or a workflow does it."""
    url = f"{sandbox.github.api_url}/repos/{REPOSITORY}/deployments"
    body = {"ref": act.ref, "environment": act.environment, "required_contexts": []}
    headers = {"Authorization": f"Bearer {sandbox.person.token}"}
    story.ask(act.environment, act.ref, url)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as response,
    ):
        response.raise_for_status()
        return int((await response.json())["id"])


async def _slack_says_so(sandbox: Sandbox, deployment_id: int, *, failed: bool) -> None:
    """Wait until #deploys tells of the end and, if it failed, its thread and #oncall do too."""
    purposes = ("message", "reply", "failures") if failed else ("message",)
    async with asyncio.timeout(END_WITHIN):
        while not {f"{deployment_id}:{purpose}" for purpose in purposes} <= {
            key
            for channel in ("#deploys", "#oncall")
            for key, message in _slack_messages(sandbox, channel)
            if any(word in message.text for word in ENDED)
        }:
            await asyncio.sleep(0.05)


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


async def _stay(story: Story, sandbox: Sandbox, relay_url: str, site_url: str) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    repository = f"{sandbox.github.api_url}/repos/{REPOSITORY}/deployments"
    story.addresses(
        {
            "relay": f"{relay_url}/readyz",
            "site": f"{site_url}/staging/ and {site_url}/production/",
            "Slack": sandbox.slack.url,
            "GitHub's API": repository,
        },
        f"curl -X POST -H 'Authorization: Bearer {sandbox.person.token}' {repository}"
        """ -d '{"ref": "v1.2", "environment": "staging", "required_contexts": []}'""",
    )
    await stopped.wait()
