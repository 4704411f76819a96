"""`deliveries simulate`: what would happen, with no effect, and what another deploy.yml changes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import ClientConnectionError
from click.testing import CliRunner, Result

from sandbox.github.model import Deployment
from sandbox.github.server import PERMISSIONS, GitHub
from sandbox.github_actions.model import Job
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.cli.test_slack import variables
from tests.world import World, live, until
from webhook.__main__ import main
from webhook.slack.actions import ACTIONS
from webhook.worker import open_simulation

SECRET = "a/secret[of]the-tool"
DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: endpoint
    slack: {channel: "#deploys", failures: "#oncall"}
    with:
      url: "http://127.0.0.1:1/deploy/{ref}?key=${TOOL_TOKEN}"
      headers: {X-Key: "${TOOL_TOKEN}"}
      body: {who: "{creator}", token: "{report_token}", key: "as ${TOOL_TOKEN}"}
  - {name: bots, handler: command, creators: [vercel], with: {run: ["true"]}}
  - {name: native, handler: github-actions}
  - name: qa
    handler: command
    with: {run: [deploy, --ref, "{ref}"], cwd: /nowhere/at/all, env: [TOOL_TOKEN]}
"""
NEW_YML = DEPLOY_YML.replace("name: qa", "name: test").replace("/deploy/{ref}", "/v2/{ref}")


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """Nobody works, and GitHub does not deliver by itself."""
    environ = {"TOOL_TOKEN": SECRET}
    async with live(store_url, tmp_path, DEPLOY_YML, environ=environ, workers=0) as world:
        world.github.webhook_url = ""
        yield world


async def run(world: World, *arguments: str) -> Result:
    command = ["deliveries", "simulate", *arguments]
    environ = {**variables(world), "TOOL_TOKEN": SECRET}
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=environ)


async def simulated(world: World, *arguments: str) -> dict[str, Any]:
    found = await run(world, *arguments, "--json")
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def everything(world: World) -> dict[str, Any]:
    """What the store has, and what the stand-ins have received."""
    tables = world.rows(
        "select relname as name from pg_class where relkind = 'r'"
        " and relnamespace = 'public'::regnamespace"
    )
    newest = "select count(*) as rows, max(xmin::text::bigint) as changed from"
    found: dict[str, Any] = {one["name"]: world.rows(f'{newest} "{one["name"]}"') for one in tables}
    return {**found, "github": len(world.github.calls), "slack": len(world.slack.calls)}


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Its replies begin with the time."""
    written: dict[str, Any] = json.loads(re.sub(r"\d\d:\d\d:\d\d UTC", "", json.dumps(found)))
    return written


def payload_file(world: World, folder: Path, deployment: Deployment) -> str:
    """As GitHub shows it under Recent Deliveries."""
    path = folder / f"{deployment.id}.json"
    path.write_text(json.dumps(world.github.events.deployment(deployment)))
    return str(path)


async def test_what_would_happen_is_what_happens_then(world: World, tmp_path: Path) -> None:
    deployment = await world.deploy()
    file = payload_file(world, tmp_path, deployment)
    before = everything(world)
    free = await simulated(world, file)
    text = (await run(world, file)).stdout
    assert everything(world) == before

    assert (free["outcome"], free["phase"], free["deployment"]) == ("done", "queued", deployment.id)
    assert (free["route"]["environment"], free["route"]["line"]) == ("production", 4)
    assert {gate["verdict"] for gate in free["gates"]} == {"allows"}
    [call] = free["calls"]
    assert (call["method"], call["url"]) == ("POST", "http://127.0.0.1:1/deploy/main?key=***")
    assert call["body"] == {"who": "octocat", "token": "***", "key": "as ***"}
    assert "X-Key" in call["hidden"]
    assert call["headers"]["Idempotency-Key"] == str(deployment.id)
    assert [one["state"] for one in free["statuses"]] == [
        "queued",
        "in_progress",
        "success, failure or error",
    ]
    [message, reply, alert] = free["messages"]
    assert (message["destination"], message["purpose"]) == ("slack:#deploys", "main")
    assert "acme/site to production queued" in message["text"]
    assert reply["purpose"] == "reply"
    assert (alert["destination"], alert["when"], alert["text"]) == (
        "slack:#oncall",
        "if it fails",
        "",
    )
    assert any("No worker runs" in one for one in free["unknown"])
    assert f"production ({world.setup.config.source}, line 4), deployed by endpoint" in text
    assert "X-Key: (hidden)" in text
    assert not any(spelled in f"{free}{text}" for spelled in (SECRET, "secret%5Bof"))

    lock = ["lock", REPOSITORY, "production", "--reason", "On fire", "--for", "1h"]
    locked = await asyncio.to_thread(CliRunner().invoke, main, lock, env=variables(world))
    assert locked.exit_code == 0, locked.output
    held = await simulated(world, file)
    [gate] = [one for one in held["gates"] if one["verdict"] != "allows"]
    assert (gate["gate"], gate["verdict"]) == ("lock", "waits")
    assert "On fire" in gate["reason"]
    assert "/deploy unlock" in gate["way_out"]

    world.start_worker()
    world.github.webhook_url = f"{world.url}/webhook"
    await world.github.deliver("deployment", world.github.events.deployment(deployment))
    await world.idle()
    written = [(one.state, one.description) for one in world.github.statuses(deployment.id)]
    said = [(one["state"], one["description"]) for one in held["statuses"] if not one["when"]]
    assert written == said
    [posted] = world.messages()
    assert (
        held["messages"][0]["text"].splitlines()[0].startswith("⏸️ acme/site to production on hold")
    )
    assert posted.text.startswith("⏸️ acme/site to production on hold")

    [guid] = [
        one["guid"] for one in world.rows("select guid from deliveries where event = 'deployment'")
    ]
    show = ["deliveries", "show", guid, "--json"]
    stored = await asyncio.to_thread(CliRunner().invoke, main, show, env=variables(world))
    (tmp_path / "shown.json").write_text(stored.stdout)
    shown = await simulated(world, str(tmp_path / "shown.json"))
    again = await simulated(world, guid[:8])
    assert {**timeless(shown), "delivery": guid} == timeless(again)
    assert again["delivery"] == guid
    assert again["gates"] == held["gates"]
    assert f"has deployment {deployment.id} already: it is queued: Locked by" in again["known"]


async def test_another_file_is_compared_over_what_arrived(world: World, tmp_path: Path) -> None:
    async def stored(environment: str) -> str:
        deployment = await world.deploy(environment, payload={})
        body = json.dumps(world.github.events.deployment(deployment)).encode()
        guid = f"guid-of-{deployment.id}"
        world.execute(
            "insert into deliveries (hook_id, guid, event, body) values (1, %s, 'deployment', %s)",
            guid,
            body,
        )
        return guid

    guids = [await stored(name) for name in ("production", "qa", "qa", "native", "moon")]
    new = tmp_path / "new.yml"
    new.write_text(NEW_YML)
    since = ("--since", "7d", "--config")
    before = everything(world)
    found = await run(world, *since, str(new), "--json")
    assert everything(world) == before
    assert found.exit_code == 1, found.output
    *groups, total = map(json.loads, found.stdout.splitlines())
    assert total == {"compared": 5, "same": {"processed": 2}, "limited": False, "differences": 2}
    by_environment = {one["environment"]: one for one in groups}
    qa = by_environment["qa"]
    assert sorted(qa["deliveries"]) == sorted(guids[1:3])
    aspects = {one["aspect"]: (one["before"], one["after"]) for one in qa["changes"]}
    assert aspects["environment"] == ("qa", "none")
    assert aspects["handler"] == ("command", "none")
    assert aspects["channels"] == (
        "slack:#deploys (main, now), slack:#deploys (reply, now)",
        "none",
    )
    assert aspects["outcome"][1].startswith("done: error")
    assert aspects["request"] == ("deploy", "none")
    [url] = by_environment["production"]["changes"]
    assert url == {
        "aspect": "request: url",
        "before": "http://127.0.0.1:1/deploy/main?key=***",
        "after": "http://127.0.0.1:1/v2/main?key=***",
    }
    text = (await run(world, *since, str(new))).stdout
    assert "5 deliveries, by" in text
    assert "2 the same (2 processed), 3 differ." in text
    assert "2 x deployment of acme/site to qa" in text

    same = await run(world, *since, world.setup.environ["GITPLOY_CONFIG"])
    assert (same.exit_code, same.stdout.splitlines()[1]) == (
        0,
        "5 the same (5 processed), 0 differ.",
    )
    only = await run(world, *since, str(new), "--limit", "2", "--json")
    assert json.loads(only.stdout.splitlines()[-1])["limited"]

    by_new = await simulated(world, guids[1], "--config", str(new))
    assert by_new["route"]["environment"] == ""
    assert by_new["route"]["known"] == ["production", "bots", "native", "test"]


async def test_what_is_not_done_says_why(world: World, tmp_path: Path) -> None:
    file = payload_file(world, tmp_path, await world.deploy("bots"))
    found = await simulated(world, file)
    assert found["outcome"] == "ignored"
    for reason in (f"it says {SECRET}", "nothing"):
        world.execute(
            "insert into deliveries (hook_id, guid, event, body, outcome, reason)"
            " values (1, %s, 'push', '{}', 'failed', %s)",
            f"guid-of-{reason}",
            reason,
        )
    lists = ["deliveries", "--outcome", "failed", "--json"]
    environ = {**variables(world), "TOOL_TOKEN": SECRET}
    listed = await asyncio.to_thread(CliRunner().invoke, main, lists, env=environ)
    assert [json.loads(line)["reason"] for line in listed.stdout.splitlines()] == [
        "nothing",
        "it says ***",
    ]
    assert "whose deployments are left alone" in found["reason"]
    unrouted = await simulated(world, payload_file(world, tmp_path, await world.deploy("moon")))
    assert unrouted["statuses"] == [
        {
            "state": "error",
            "description": unrouted["statuses"][0]["description"],
            "when": "",
            "to": "status",
        }
    ]
    assert "known here: production, bots, native, qa" in unrouted["statuses"][0]["description"]
    native = await simulated(world, payload_file(world, tmp_path, await world.deploy("native")))
    assert not native["calls"]
    assert native["notes"][0].startswith("Nothing is sent: GitHub starts its workflows")
    missing = await simulated(world, payload_file(world, tmp_path, await world.deploy("qa")))
    [command] = missing["calls"]
    assert command["argv"] == ["deploy", "--ref", "main"]
    assert "TOOL_TOKEN" in command["variables"]
    assert "is not there on this machine" in missing["notes"][0]
    dashed = world.github.events.deployment(await world.deploy("qa"))
    dashed["deployment"]["ref"] = "--force"
    (tmp_path / "dashed.json").write_text(json.dumps(dashed))
    refused = await simulated(world, str(tmp_path / "dashed.json"))
    assert (refused["calls"], [one["state"] for one in refused["statuses"]]) == (
        [],
        ["queued", "error"],
    )
    assert "would be read as an option" in refused["statuses"][1]["description"]

    dashed["deployment"] |= {"ref": SECRET, "environment": f"moon-{SECRET}"}
    (tmp_path / "dashed.json").write_text(json.dumps(dashed))
    assert SECRET not in (await run(world, str(tmp_path / "dashed.json"))).stdout
    marked = tmp_path / "marked.json"
    marked.write_bytes(b"\xef\xbb\xbf" + Path(file).read_bytes())
    assert (await simulated(world, str(marked)))["reason"] == found["reason"]
    guessed = await run(world, file)
    assert "Note: Taken for a 'deployment' event, by its keys" in guessed.stderr
    wrong = await run(world, file, "--event", "push")
    assert "failed: not a 'push' event: ref is missing" in " ".join(wrong.stdout.split())
    assert "--event deployment reads it as that" in wrong.stderr
    other = await simulated(world, file, "--event", "issues")
    assert other["reason"] == "the relay does not act on 'issues' events"
    shown = tmp_path / "shown.json"
    headers = {"X-GitHub-Event": "deployment"}
    shown.write_text(json.dumps({"headers": headers, "body": json.loads(Path(file).read_text())}))
    assert (await simulated(world, str(shown)))["reason"] == found["reason"]


@pytest.mark.parametrize(
    ("content", "arguments", "says"),
    [
        ("{", (), "is not JSON (line 1, column 2); copy the whole Payload"),
        ("[]", (), "is JSON, but no object"),
        ('{"a": 1}', (), "add --event, with what GitHub shows as X-GitHub-Event"),
        ("{}", ("--since", "1d"), "is not chosen by --since"),
        ("{}", ("--config", "missing.yml"), "missing.yml cannot be read"),
    ],
)
async def test_what_cannot_be_simulated(
    content: str, arguments: tuple[str, ...], says: str, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "payload.json"
    file.write_text(content)
    found = await run(world, str(file), *arguments)
    assert found.exit_code == 2
    assert says in found.stderr


async def test_a_slip_would_be_an_error(world: World) -> None:
    assert (await run(world, "--since", "7d")).exit_code == 2
    assert (await run(world, "no-such-guid")).exit_code == 2
    async with open_simulation(world.setup, world.store_url, actions=ACTIONS) as services:
        async with services.pool.connection() as connection:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await connection.execute("delete from deliveries")
        with pytest.raises(ClientConnectionError):
            await services.notifier_context.http.get(world.github.url)


OTHERS_YML = """
envs:
  - {name: live, handler: command, auto_deploy_on: ^refs/heads/main$, with: {run: ["true"]}}
  - name: tight
    handler: command
    repository_file: tighten
    with: {run: ["true"]}
  - name: jobs
    handler: github-actions
    protection_rule: true
    frozen_windows: [{from: 2020-01-01, to: 2120-01-01, reason: closed}]
"""


async def test_each_event_is_simulated(store_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox(GitHub(permissions={**PERMISSIONS, "checks": "read", "statuses": "read"}))
    async with live(store_url, tmp_path, OTHERS_YML, sandbox=sandbox, workers=0) as world:
        world.github.app.events += ["deployment_protection_rule", "push"]
        site, actions = world.github.repository(REPOSITORY), world.github.actions
        file = "envs: [{name: tight, deployable_ref: ^v, serialization: true}]"
        sha = site.push("Tight", files={"deploy.yml": file})
        explain = [
            "explain",
            REPOSITORY,
            "tight",
        ]  # which reads the repository's file, and keeps it
        explained = await asyncio.to_thread(CliRunner().invoke, main, explain, env=variables(world))
        assert explained.exit_code == 0, explained.output
        deployment = await world.deploy("tight")
        await world.github.create_status(deployment.id, "success", description="by hand")
        actions.environments.enable_rule(REPOSITORY, "jobs")
        jobs = [Job("deploy", environment="jobs")]
        workflow = actions.add_workflow(REPOSITORY, "jobs.yml", on=["push"], jobs=jobs)
        actions.start(workflow, ref="main", by=world.github.world.user("octocat").account)
        asked = "select guid from deliveries where event = 'deployment_protection_rule'"
        await until(lambda: world.rows(asked) or None)
        await world.github.settled()

        before = everything(world)
        found: dict[str, list[dict[str, Any]]] = {}
        for row in world.rows("select guid, event from deliveries order by id"):
            several = found.setdefault(row["event"], [])
            if len(several) < 2:
                several.append(await simulated(world, row["guid"]))
        assert everything(world) == before

    [push] = found["push"]
    assert push["reason"] == (
        f"{sha[:7]} is deployed to live, tight (if its repository's file says so) once it may be"
    )
    [rule] = found["deployment_protection_rule"]
    assert [gate["gate"] for gate in rule["gates"] if gate["verdict"] == "waits"] == ["freeze"]
    [answer] = rule["statuses"]
    assert (answer["state"], answer["to"]) == ("comment", "answer to the protection rule")
    assert "closed" in answer["description"]
    tight, job = found["deployment"]
    assert tight["phase"] == "error"
    [refused] = [gate for gate in tight["gates"] if gate["verdict"] == "refuses"]
    assert (refused["gate"], tight["calls"]) == ("deployable_ref", [])
    assert [one["state"] for one in tight["statuses"]] == ["queued", "error"]
    assert any("own deploy.yml counts as it was at" in one for one in tight["unknown"])
    assert (job["reason"], job["statuses"]) == ("watched: a GitHub Actions workflow deploys it", [])
    assert found["deployment_status"][0]["phase"] == "success"
