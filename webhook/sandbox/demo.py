"""`python -m webhook demo`: the main job, from GitHub's API to the page of the site deployed.

GitHub and Slack are the sandbox's; the relay is the real one, started as its users start it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from webhook.sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from webhook.sandbox.screen import render
from webhook.sandbox.server import HOST
from webhook.sandbox.slack_model import Message
from webhook.sandbox.story import Story

DEPLOY = Path(__file__).with_name("site") / "deploy"
# Seconds.
READY_WITHIN = 20
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
        async with Sandbox() as sandbox, _site(folder / "site") as site_url:
            story = Story(sandbox, silent=as_json)
            async with _relay(sandbox, folder, site_url) as relay_url:
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
        page = await _get(f"{site_url}/{act.environment}/")
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


@asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[str]:
    """Serves what is deployed: /staging/ and /production/."""

    async def page(request: web.Request) -> web.StreamResponse:
        path = folder / request.match_info["environment"] / "current" / "index.html"
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get("/{environment}/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    yield f"http://{HOST}:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def _relay(sandbox: Sandbox, folder: Path, site_url: str) -> AsyncIterator[str]:
    """`python -m webhook up` with an embedded PostgreSQL, ready; stopped at the end."""
    [port] = free_ports(1)
    config = folder / "deploy.yml"
    config.write_text(DEPLOY_YML.format(deploy=DEPLOY, site=folder / "site", url=site_url))
    # Neither the settings of a real relay nor a proxy between it and the stand-ins.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GITPLOY_")
        and not name.lower().endswith("_proxy")
        and name != "DATABASE_URL"
    }
    log = folder / "relay.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "webhook",
            "up",
            env=inherited | sandbox.environ(folder / "data", config, port),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await _ready(f"http://{HOST}:{port}/readyz", process, log)
        yield f"http://{HOST}:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _ready(url: str, process: Process, log: Path) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN):
            while process.returncode is None and not await _get(url):
                await asyncio.sleep(0.1)
    except TimeoutError:
        process.kill()
    if process.returncode is not None:
        sys.stderr.write(await asyncio.to_thread(log.read_text))
        raise RuntimeError("the relay did not become ready")


async def _get(url: str) -> str:
    """The body of a 200; empty otherwise."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text() if response.status == 200 else ""
    except aiohttp.ClientError:
        return ""
