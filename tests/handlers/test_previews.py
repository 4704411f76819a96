"""What a handler says that it would send is what its tool receives."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from handlers import HANDLERS
from handlers.contract import Previews
from handlers.drone import Drone
from handlers.drone.options import DroneOptions
from handlers.errors import NotReady, Rejected
from handlers.http import Http
from handlers.preview import CommandPreview, HttpPreview
from handlers.spinnaker import Spinnaker
from handlers.spinnaker.options import SpinnakerOptions
from handlers.woodpecker import Woodpecker, WoodpeckerOptions
from sandbox.drone import Drone as DroneServer
from sandbox.sandbox import REPOSITORY
from sandbox.server import Server
from sandbox.woodpecker import Woodpecker as WoodpeckerServer
from tests.handlers.endpoints import an_endpoint
from tests.handlers.github_actions_runs import opened
from tests.handlers.runs import a_command, a_context, a_deployment, done, output_of
from tests.handlers.tools import FakeTool, Received

NOWHERE = Path("/nonexistent")
SHA = a_deployment().sha
TOKEN = "the-token-of-the-tool"


class Between(Server):
    """Records the requests to a tool, which it passes on."""

    def __init__(self, target: str = "") -> None:
        super().__init__()
        self.target = URL(target)
        self.received: list[Received] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{rest:.*}", self._pass_on)]

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        received = Received(request.method, request.raw_path, dict(request.headers), body)
        self.received.append(received)
        url = URL(f"{self.target.origin()}{request.raw_path}", encoded=True)
        headers = {name: one for name, one in request.headers.items() if name != "Host"}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, headers=headers, data=body) as response,
        ):
            kept = {"Content-Type": response.headers.get("Content-Type", "text/plain")}
            return web.Response(status=response.status, body=await response.read(), headers=kept)

    @property
    def started(self) -> list[Received]:
        return [one for one in self.received if one.method != "GET"]


@asynccontextmanager
async def before(tool: Server) -> AsyncIterator[Between]:
    async with Between(tool.url) as between:
        yield between


def agrees(call: Any, received: Received, origin: str, **said: Any) -> None:
    """`said`: what the tool has said before, by the names that the preview has for it."""
    assert isinstance(call, HttpPreview)
    url = call.url.removeprefix(origin)
    for name, value in said.items():
        assert name in url
        url = url.replace(name, str(value))
    assert (call.method, url) == (received.method, received.target)
    assert (call.body or b"") == received.body
    for name, value in call.headers.items():
        assert received.headers[name] == value
    for name in call.hidden:
        assert name in received.headers
        assert name not in call.headers
    assert TOKEN not in repr(call)
    assert TOKEN.encode() not in (call.body or b"")


def test_every_handler_says_what_it_would_send() -> None:
    assert all(issubclass(handler, Previews) for handler in HANDLERS.values())


async def test_a_promotion_in_drone(session: aiohttp.ClientSession) -> None:
    async with DroneServer(takes=None) as drone, before(drone) as between:
        drone.add_repo("acme/shop")
        green = drone.add_build("acme/shop", SHA, status="success")
        options = {
            "url": between.url,
            "token": drone.token,
            "parameters": {"REGION": "{payload.region}"},
        }
        handler = Drone(DroneOptions.model_validate(options), context(session))
        deployment = a_deployment(payload={"region": "a&b"})
        preview = handler.preview(deployment)
        await handler.start(deployment)
        [sent], [call] = between.started, preview.calls
    agrees(call, sent, between.url, NUMBER=green.number)
    assert getattr(call, "hidden", ()) == ("Authorization",)
    assert "newest green push or tag build" in preview.notes[0]


async def test_a_build_that_drone_makes_before(session: aiohttp.ClientSession) -> None:
    async with DroneServer(takes=None) as drone, before(drone) as between:
        drone.add_repo("acme/shop")
        options = {"url": between.url, "token": drone.token, "build": "create", "branch": "{ref}"}
        handler = Drone(DroneOptions.model_validate(options), context(session))
        creation, _ = handler.preview(a_deployment()).calls
        with pytest.raises(NotReady):
            await handler.start(a_deployment())
        [sent] = between.started
    agrees(creation, sent, between.url)

    given = {"url": between.url, "token": drone.token, "mode": "native"}
    native = Drone(DroneOptions.model_validate(given), context(session))
    assert not native.preview(a_deployment()).calls


async def test_a_restart_in_woodpecker(session: aiohttp.ClientSession) -> None:
    async with WoodpeckerServer(token=TOKEN) as tool, before(tool) as between:
        tool.add_repo("acme/shop").add(SHA)
        options = {"url": between.url, "token": TOKEN, "parameters": {"BY": "{creator} & co"}}
        handler = Woodpecker(WoodpeckerOptions.model_validate(options), context(session))
        preview = handler.preview(a_deployment())
        await handler.start(a_deployment())
        [sent], [call] = between.started, preview.calls
    agrees(call, sent, between.url, REPO=1, NUMBER=1)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_request_to_internal_tooling(method: str, tool: FakeTool, http: Http) -> None:
    given: dict[str, Any] = {"method": method, "headers": {"X-Key": TOKEN}}
    if method == "POST":
        given["secret"] = TOKEN
    endpoint = an_endpoint(http, f"{tool.url}/{{environment}}/deploy?by={{creator}}", **given)
    deployment = a_deployment()
    [call] = endpoint.preview(deployment).calls
    await endpoint.start(deployment)
    [sent] = tool.received
    agrees(call, sent, tool.url)
    assert isinstance(call, HttpPreview)
    assert call.headers["Idempotency-Key"] == str(a_deployment().id)
    assert "X-Key" in call.hidden
    assert ("X-Hub-Signature-256" in call.hidden) == (method == "POST")


@pytest.mark.parametrize(
    "options", [{"source": "github"}, {"application": "shop", "pipeline": "Deploy it"}]
)
async def test_an_event_or_a_trigger_for_spinnaker(
    options: dict[str, str], tool: FakeTool, session: aiohttp.ClientSession
) -> None:
    started = {"eventProcessed": True, "eventId": "one", "ref": "/pipelines/one"}
    tool.responds(200, started)
    given = {"url": f"{tool.url}/gate", "token": TOKEN, **options}
    handler = Spinnaker(SpinnakerOptions.model_validate(given), context(session))
    deployment = a_deployment()
    [call] = handler.preview(deployment).calls
    await handler.start(deployment)
    [sent] = tool.received
    agrees(call, sent, tool.url)
    with pytest.raises(Rejected, match="would evaluate"):
        handler.preview(a_deployment(ref="${1}"))


async def test_a_dispatch_of_a_workflow(tmp_path: Path) -> None:
    async with (
        Between() as between,
        opened(tmp_path, api_url=f"{between.url}/api/v3") as github,
    ):
        between.target = URL(github.sandbox.github.url)
        github.dispatched(inputs={"deployment_id": True, "sha": True, "environment": False})
        inputs = {"sha": "{sha}", "environment": "{environment}"}
        options = {"mode": "dispatch", "workflow": "deploy.yml", "inputs": inputs}
        handler, deployment = github.handler(**options), await github.deployment()
        [call] = handler.preview(deployment).calls
        await handler.start(deployment)
        [sent] = [one for one in between.started if one.target.endswith("dispatches")]
        # The relay calls a repository by its number, which no rename changes.
        by_number = f"/repositories/{deployment.repo_id}/"
        named = sent.target.replace(by_number, f"/repos/{REPOSITORY}/").removeprefix("/api/v3")
        agrees(call, sent._replace(target=named), "")

        of_commit = replace(deployment, ref=deployment.sha)
        asked = handler.preview(of_commit)
        assert "DEFAULT_BRANCH is the repository's default branch" in asked.notes[0]
        [of_branch] = handler.preview(replace(of_commit, ref_name="v1")).calls
        assert isinstance(of_branch, HttpPreview)
        assert json.loads(of_branch.body or b"")["ref"] == "v1"

        watching = github.handler()
        assert "Nothing is sent" in watching.preview(deployment).notes[0]
        with pytest.raises(Rejected, match="starts no workflow"):
            watching.preview(replace(deployment, creator="github-actions[bot]"))


async def test_a_command_with_its_variables(data_dir: Path) -> None:
    script = 'pwd; printf "%s\\n" "$0" "$@"; env | cut -d= -f1 | sort'
    handler = a_command(
        data_dir,
        ["sh", "-c", script, "sh", "--ref", "{ref}"],
        cwd=str(data_dir),
        env=["TOOL_TOKEN"],
        environ={"PATH": os.environ["PATH"], "TOOL_TOKEN": TOKEN},
    )
    [call] = handler.preview(a_deployment()).calls
    assert isinstance(call, CommandPreview)
    assert call.argv[2:] == (script, "sh", "--ref", "main")
    assert not (data_dir / "runs").exists()
    await done(handler)
    cwd, *lines = (await output_of(handler)).decode().splitlines()
    assert (cwd, lines[:3]) == (call.cwd, list(call.argv[3:]))
    of_the_shell = {"PWD", "_", "OLDPWD", "SHLVL"}
    assert set(lines[3:]) - of_the_shell == set(call.variables)
    assert TOKEN not in repr(call)

    elsewhere = a_command(data_dir, ["true"], cwd="/nowhere/at/all")
    assert "is not there on this machine" in elsewhere.preview(a_deployment()).notes[0]
    with pytest.raises(Rejected, match="would be read as an option"):
        a_command(data_dir, ["true", "{ref}"]).preview(a_deployment(ref="-x"))


def context(session: aiohttp.ClientSession) -> Any:
    return a_context(NOWHERE, http=Http(session))
