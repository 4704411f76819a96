"""`python -m webhook check` calls the tools in deploy.yml: each result that it prints."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any, get_type_hints

import aiohttp
import psycopg
import pytest
from pydantic import BaseModel

from handlers import HANDLERS
from handlers.contract import VerifiesAccess
from handlers.http import Http
from sandbox.drone import Drone
from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.spinnaker.server import Spinnaker
from sandbox.woodpecker import Woodpecker
from tests.check.test_check import checked
from tests.handlers.runs import a_context
from tests.handlers.tools import FakeTool
from webhook.check.tools import check_tools
from webhook.config import load as config

# The text for tools that are not called.
NOT_CALLED = "not called; its first deployment shows whether address and credentials work"
SECRETS = {"DRONE_TOKEN": "the-token-of-drone", "GATE_TOKEN": "the-token-of-gate"}
OF_ACME = "https://github.com/organizations/acme"
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "check.md").read_text()

Check = Callable[..., Any]


@pytest.fixture
async def drone() -> AsyncIterator[Drone]:
    async with Drone(token=SECRETS["DRONE_TOKEN"]) as server:
        yield server


@pytest.fixture
async def spinnaker() -> AsyncIterator[Spinnaker]:
    async with Spinnaker(token=SECRETS["GATE_TOKEN"]) as server:
        server.add_pipeline({"application": "shop", "name": "Deploy", "stages": []})
        yield server


@pytest.fixture
async def check(store_url: str, tmp_path: Path) -> AsyncIterator[Check]:
    """Of `envs` (name -> handler and options): whether it passed, and its lines about tools."""
    async with Sandbox() as sandbox:

        async def run(envs: dict[str, tuple[str, str]], **more: str) -> tuple[bool, list[str]]:
            file = tmp_path / "deploy.yml"
            file.write_text(deploy_yml(envs))
            environ = sandbox.environ(tmp_path / "data", file, 8080) | SECRETS | more
            passed, text = await checked(environ | {"GITPLOY_STORE_SOURCE": store_url})
            assert not [secret for secret in [*SECRETS.values(), *more.values()] if secret in text]
            return passed, [line for line in text.splitlines() if line[6:].startswith("tool ")]

        yield run


def deploy_yml(envs: dict[str, tuple[str, str]]) -> str:
    items = (
        f"  - {{name: '{name}', handler: {handler}, with: {{{options}}}}}\n"
        for name, (handler, options) in envs.items()
    )
    return f"envs:\n{''.join(items)}"


def a_drone(url: str, more: str = "") -> tuple[str, str]:
    return "drone", f"url: '{url}', token: '${{DRONE_TOKEN}}'{more}"


def a_spinnaker(url: str, more: str = "") -> tuple[str, str]:
    return "spinnaker", f"url: '{url}', token: '${{GATE_TOKEN}}', source: github{more}"


async def test_tools_that_accept_the_credentials_are_ok(
    check: Check, drone: Drone, spinnaker: Spinnaker
) -> None:
    envs = {
        "production": a_drone(drone.url),
        "eu": a_spinnaker(spinnaker.url, ", application: shop"),
        "us": a_spinnaker(spinnaker.url),
    }
    assert await check(envs) == (
        True,
        [
            "ok    tool production (drone): signed in as relay",
            "ok    tool eu (spinnaker): responds, and has the application 'shop'",
            "ok    tool us (spinnaker): responds",
        ],
    )
    assert {call.method for tool in (drone, spinnaker) for call in tool.calls} == {"GET"}


async def test_tools_that_cannot_be_checked_are_named(check: Check) -> None:
    async with Woodpecker() as tool:
        envs = {
            "edge": ("endpoint", f"url: '{tool.url}', secret: '${{DRONE_TOKEN}}'"),
            "ci": ("woodpecker", f"url: '{tool.url}', token: '${{DRONE_TOKEN}}'"),
        }
        passed, lines = await check(envs)
        assert tool.calls == []
    assert passed
    assert lines == [
        f"note  tool edge (endpoint): {NOT_CALLED}",
        f"note  tool ci (woodpecker): {NOT_CALLED}",
    ]


async def test_commands_and_workflows_have_no_line(check: Check) -> None:
    envs = {"a": ("command", "run: ['true']"), "b": ("github-actions", "")}
    assert await check(envs) == (True, [])


async def test_a_wrong_token_is_an_error(check: Check, drone: Drone, spinnaker: Spinnaker) -> None:
    drone.token = spinnaker.token = "another"
    envs = {"production": a_drone(drone.url), "eu": a_spinnaker(spinnaker.url)}
    passed, lines = await check(envs)
    assert not passed
    of_drone, of_spinnaker = lines
    assert re.match("error tool production .drone.: Drone at .* 401: .* token", of_drone)
    assert re.match("error tool eu .spinnaker.: Spinnaker at .* 401: .* credentials", of_spinnaker)


async def test_a_closed_port_is_an_error(check: Check) -> None:
    passed, [line] = await check({"production": a_drone("http://127.0.0.1:9")})
    assert not passed
    assert re.match("error tool production .drone.: Drone at .*127.0.0.1:9 cannot be", line)


async def test_https_to_a_plain_port_is_an_error(check: Check, drone: Drone) -> None:
    passed, [line] = await check({"production": a_drone(drone.url.replace("http:", "https:"))})
    assert not passed
    assert re.match("error tool production .drone.: no safe connection to Drone .* scheme", line)


async def test_a_page_for_people_is_an_error(check: Check) -> None:
    async with FakeTool() as other:
        other.shows_a_page()
        envs = {
            "production": a_drone(other.url),
            "eu": a_spinnaker(other.url, ", application: shop"),
        }
        passed, lines = await check(envs)
    assert not passed
    of_drone, of_spinnaker = lines
    message = ".* returned 200 with .* address in deploy.yml"
    assert re.match(f"error tool production .drone.: Drone at{message}", of_drone)
    assert re.match(f"error tool eu .spinnaker.: Spinnaker at{message}", of_spinnaker)


async def test_a_misspelled_application_is_an_error(check: Check, spinnaker: Spinnaker) -> None:
    passed, [line] = await check({"eu": a_spinnaker(spinnaker.url, ", application: shpo")})
    assert not passed
    assert re.match("error tool eu .spinnaker.: Spinnaker at .* has no application 'shpo';", line)


async def test_environments_that_share_a_tool_share_the_request_and_the_line(
    check: Check, drone: Drone
) -> None:
    envs = {"production": a_drone(drone.url), "staging": a_drone(drone.url)}
    envs["qa"] = a_drone(drone.url, ", target: quality")
    _, lines = await check(envs)
    assert lines == ["ok    tool production, staging, qa (drone): signed in as relay"]
    assert len(drone.called("GET", "/user")) == 2  # qa has other options


async def test_a_tools_message_cannot_control_the_terminal_or_show_a_secret(
    check: Check, drone: Drone
) -> None:
    drone.login = f"relay\x1b[2J\nok    all: fine {SECRETS['GATE_TOKEN']}"
    _, lines = await check({"production": a_drone(drone.url, ", target: '${GATE_TOKEN}'")})
    assert lines == ["ok    tool production (drone): signed in as relay [2J ok    all: fine ***"]


async def test_many_environments_of_one_tool_are_not_too_many_at_once(
    check: Check, drone: Drone
) -> None:
    drone.faults.add("GET /user", Fault.hang(0.1), times=30)
    envs = {f"e{n}": a_drone(drone.url, f", target: t{n}") for n in range(30)}
    passed, [line] = await check(envs)
    assert passed
    assert line.endswith("e28, e29 (drone): signed in as relay")


async def test_tools_that_hang_are_waited_for_at_the_same_time(drone: Drone) -> None:
    drone.faults.add("GET /user", Fault.hang(20), times=30)
    envs = {f"e{n}": a_drone(drone.url, f", target: t{n}") for n in range(30)}
    options: dict[str, type[BaseModel]] = {name: each.Options for name, each in HANDLERS.items()}
    loaded = config.load(
        deploy_yml(envs), source="deploy.yml", environ=SECRETS, handler_options=options
    )
    async with aiohttp.ClientSession() as session:
        context = a_context(Path("/nowhere"), http=Http(session, timeout=1))
        began = monotonic()
        findings = await check_tools(loaded.envs, context, within=1.6)
    assert monotonic() - began < 10
    assert {finding.level for finding in findings} == {"error"}
    in_time, cut_off = (finding.message for finding in findings)
    assert in_time.endswith("did not respond in time")
    assert cut_off == "no response within 1.6 s"


def sample(number: int) -> list[str]:
    """What the page shows of a check."""
    samples = re.findall(r"^```console\n\$ .*\n((?:.+\n)+)```$", PAGE, re.M)
    return str(samples[number]).splitlines()


def shown_lines(text: str) -> list[str]:
    """All that is not about the store and the worker, which are others in a test."""
    elsewhere = ("ok    store", "ok    worker", "note  worker")
    return [line for line in text.splitlines() if not line.startswith(elsewhere)]


def compared(store_url: str) -> None:
    """As by a worker, at the time of the page's samples."""
    with psycopg.connect(store_url) as connection:
        connection.execute(
            "insert into delivery_scan (id, compared_at) values (1, '2026-11-28 02:10:04+00')"
            " on conflict (id) do update set compared_at = excluded.compared_at"
        )


def public(text: str) -> str:
    """With the address of the page's samples."""
    return text.replace("http://127.0.0.1:8080", "https://relay.example.com")


async def test_the_pages_samples_are_correct(
    store_url: str, tmp_path: Path, drone: Drone, spinnaker: Spinnaker
) -> None:
    channels = 'slack: {channel: "#deploys", failures: "#oncall"}\n'
    edge = ("endpoint", f"url: '{drone.url}', secret: '${{DRONE_TOKEN}}'")
    command = ("command", "run: ['true']")
    good = {"staging": command, "production": a_drone(drone.url), "edge": edge}
    wrong = "drone", f"url: '{drone.url}', token: wrong"
    bad = {"production": wrong, "staging": wrong}
    bad["eu"] = a_spinnaker(spinnaker.url, ", application: shpo")
    bad["us"] = ("github-actions", "mode: dispatch, workflow: deploy.yml")
    file = tmp_path / "deploy.yml"
    async with Sandbox() as sandbox:
        environ = sandbox.environ(tmp_path / "data", file, 8080) | SECRETS
        environ["GITPLOY_STORE_SOURCE"] = store_url
        compared(store_url)
        sandbox.installation.permissions["actions"] = "read"
        file.write_text(channels + deploy_yml(bad))
        _, second = await checked(environ)
        del sandbox.github.app.permissions["actions"], sandbox.github.app.permissions["contents"]
        file.write_text(channels + deploy_yml(good))
        _, first = await checked(environ)
        page = f"{sandbox.github.url}/settings/installations/{sandbox.installation.id}"
    second = second.replace(drone.url.removeprefix("http://"), "drone.example.com")
    second = second.replace(spinnaker.url.removeprefix("http://"), "gate.example.com")
    second = second.replace(page, f"{OF_ACME}/settings/installations/5550123")
    first = first.replace(sandbox.slack.workspace.id, "T0123ABCD")
    first = first.replace(sandbox.github.url, "https://github.com")
    assert shown_lines(public(first)) == shown_lines("\n".join(sample(0)))
    assert [line for line in second.splitlines() if line.startswith("error")] == sample(2)


async def test_the_pages_sample_of_a_file_with_errors_is_correct(
    store_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "deploy.yml"
    file.write_text(
        "envs:\n  - name: production\n    handler: comand\n    with: {run: ['true']}\n"
        "    timeout: 5 min\n    deployable_ref: true\n"
    )
    async with Sandbox() as sandbox:
        environ = sandbox.environ(tmp_path / "data", file, 8080)
        del environ["GITPLOY_SLACK_BOT_TOKEN"]
        environ["GITPLOY_STORE_SOURCE"] = store_url
        compared(store_url)
        sandbox.github.app.events.remove("deployment_status")
        for name in ("actions", "contents"):
            del sandbox.github.app.permissions[name]
        _, text = await checked(environ)
        text = text.replace(str(file), "deploy.yml")
        text = text.replace(sandbox.github.url, "https://github.com")
    assert shown_lines(public(text)) == shown_lines("\n".join(sample(1)))


@pytest.mark.parametrize("name", [n for n in HANDLERS if issubclass(HANDLERS[n], VerifiesAccess)])
def test_a_handler_is_checked_without_a_deployment(name: str) -> None:
    handler: Any = HANDLERS[name]
    assert asyncio.iscoroutinefunction(handler.verify_access)
    assert get_type_hints(handler.verify_access) == {"return": str}
