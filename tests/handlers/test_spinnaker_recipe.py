"""The recipe of docs/how-to/spinnaker.md, fed to the stand-in unchanged."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from handlers.contract import Deployment, State
from handlers.http import Http
from handlers.spinnaker.options import STANDARD_PARAMETERS, SpinnakerOptions
from handlers.spinnaker.states import STATUSES
from sandbox.server import Server
from sandbox.spinnaker.server import Spinnaker
from tests.handlers.runs import a_deployment
from tests.handlers.spinnaker_runs import World
from webhook.config.load import load

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (DOCS / "spinnaker.md").read_text()
ORCA_LOCAL = DOCS / "spinnaker" / "orca-local.yml"
PIPELINE = DOCS / "spinnaker" / "pipeline.json"
BEGINS, ENDS = "Report the start to GitHub", "Report the address to GitHub"


class Reports(Server):
    """Accepts statuses as GitHub does, with the token of one deployment."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.received: list[dict[str, Any]] = []
        self.content_types: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/repos/acme/shop/deployments/{id}/statuses", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return web.json_response({"message": "Bad credentials"}, status=401)
        self.content_types.add(request.headers["Content-Type"])
        self.received.append({"id": request.match_info["id"], **await request.json()})
        return web.json_response({}, status=201)


@pytest.fixture
async def reports() -> AsyncIterator[Reports]:
    async with Reports(a_deployment().report.token) as server:
        yield server


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Spinnaker(orca_local=ORCA_LOCAL) as server, aiohttp.ClientSession() as session:
        server.add_pipeline(PIPELINE)
        yield World(server, Http(session))


@pytest.fixture
def deployment(reports: Reports) -> Deployment:
    new = a_deployment()
    url = f"{reports.url}/repos/acme/shop/deployments/{new.id}/statuses"
    return replace(new, report=replace(new.report, url=url))


@pytest.mark.parametrize("way", [{}, {"application": "shop", "pipeline": "Deploy to production"}])
async def test_the_stage_reports_with_the_token_of_its_deployment(
    world: World, reports: Reports, deployment: Deployment, way: dict[str, Any]
) -> None:
    run = await world.deploy(deployment, **way)
    assert (run.state, run.description) == (State.SUCCESS, "")
    assert reports.received == [
        {
            "id": str(deployment.id),
            "state": "in_progress",
            "description": "Deploying with Spinnaker",
            "environment_url": "",
        },
        {
            "id": str(deployment.id),
            "state": "success",
            "description": "Deployed with Spinnaker",
            "environment_url": "https://shop.example.com",
        },
    ]
    assert reports.content_types == {"application/json"}


async def test_where_the_pipeline_is_started_by_hand_nothing_is_reported(
    world: World, reports: Reports
) -> None:
    execution = world.spinnaker.orca.start(world.spinnaker.pipelines[0], {})
    await world.until(lambda: execution.complete)
    assert execution.status == "SUCCEEDED"
    assert {execution.stage(name).status for name in (BEGINS, ENDS)} == {"SKIPPED"}
    assert reports.calls == []


async def test_a_rejected_report_does_not_stop_the_pipeline(
    world: World, reports: Reports, deployment: Deployment
) -> None:
    reports.token = "another deployment's"
    run = await world.deploy(deployment)
    assert run.state is State.SUCCESS
    assert run.description == f"succeeded, although stage '{BEGINS}' failed"
    assert reports.received == []


def test_the_stage_holds_no_token_and_no_address_of_githubs() -> None:
    text = ORCA_LOCAL.read_text()
    assert not re.search(r"gh[opsu]_|github_pat_|api\.github\.com", text)
    [stage] = yaml.safe_load(text)["webhook"]["preconfigured"]
    stated = [stage["url"], *stage["customHeaders"]["Authorization"]]
    assert all("${trigger['payload']" in text for text in stated)


def test_the_page_shows_the_file_itself() -> None:
    [shown] = [block for block in blocks("yaml") if "preconfigured" in block]
    written = ORCA_LOCAL.read_text()
    assert shown == written[written.index("webhook:") :]


def test_the_page_shows_the_pipelines_trigger_and_stage() -> None:
    pipeline = json.loads(PIPELINE.read_text())
    trigger, stage = blocks("json")
    assert json.loads(f"{{{trigger}}}")["triggers"] == pipeline["triggers"]
    own = {"refId", "requisiteStageRefIds"}
    last = pipeline["stages"][-1]
    assert json.loads(stage) == {key: last[key] for key in last if key not in own}


@pytest.mark.parametrize(
    "facts",
    [
        {"environment": "production-eu"},
        {"environment": "pre-production"},
        {"environment": "Production"},
        {"task": "deploy:migrate"},
        {"repo": "acme/shop-admin"},
    ],
)
async def test_the_constraints_fit_nothing_else(world: World, facts: dict[str, Any]) -> None:
    handler = world.handler()
    await handler.start(a_deployment(**facts))
    run, [execution] = await world.started(handler)  # the second event is the right one
    assert execution.id in (await handler.check(a_deployment(), run)).id
    assert len(world.spinnaker.executions) == 1


def test_the_examples_of_deploy_yml_load() -> None:
    [example] = [block for block in blocks("yaml") if block.startswith("envs:")]
    loaded = load(
        example,
        source="docs/how-to/spinnaker.md",
        environ={"SPINNAKER_PASSWORD": "secret", "SPINNAKER_TOKEN": "s3cret"},
        handler_options={"spinnaker": SpinnakerOptions},
    )
    assert [env.name for env in loaded.envs] == ["production", "staging"]


def test_the_table_has_every_key_and_no_other() -> None:
    table = PAGE.partition("| key of `with` |")[2].partition("\n\n")[0]
    keys = re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert sorted(keys) == sorted(SpinnakerOptions.model_fields)


def test_the_table_has_every_status_as_it_is_shown() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(\w+)` \| (.*?) ?\|$", PAGE, re.M)
    shown = {status: (state, message) for status, state, message in rows}
    assert shown == {
        status: (state.value, message) for status, (state, message) in STATUSES.items()
    }


def test_the_table_has_every_standard_parameter() -> None:
    table = PAGE.partition("| parameter | value |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert {*named} - {"parameters"} == set(STANDARD_PARAMETERS)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
