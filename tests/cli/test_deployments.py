"""`deployments`: what is deployed, what it waits for, Cancel and Retry, also without Slack."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sandbox.faults import Fault
from tests.cli.test_slack import variables
from tests.world import World, live, until
from webhook.__main__ import main

DEPLOY_YML = """
envs:
  - {name: production, handler: command, with: {run: ["sh", "-c", "echo no; exit 3"]}}
  - name: slow
    handler: command
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
"""
NO_SLACK = {"GITPLOY_SLACK_BOT_TOKEN": "", "GITPLOY_SLACK_SIGNING_SECRET": ""}


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML, environ=NO_SLACK) as world:
        assert not world.setup.settings.slack.used
        yield world


async def run(world: World, *arguments: str) -> Result:
    command = ["deployments", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=variables(world))


async def rows(world: World, *arguments: str) -> list[dict[str, Any]]:
    result = await run(world, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


async def test_deployments_are_listed_shown_and_cancelled(world: World, tmp_path: Path) -> None:
    failed = await world.deployed()
    running = await world.begin_slow(tmp_path / "gate")
    waiting = await world.deploy("slow", payload={"gate": str(tmp_path / "gate")}, ref="v1")
    held = (
        "select 1 from deployments join outbox on deployment_id = deployments.id"
        " where waiting and deployments.id = %s and kind = 'status' and state = 'sent'"
    )
    await until(lambda: world.rows(held, waiting.id) or None)

    listed = await rows(world)
    assert [one["deployment"] for one in listed] == [waiting.id, running.id, failed.id]
    [reason] = [one["reason"] for one in listed if one["deployment"] == waiting.id]
    assert f"deployment {running.id}" in reason.lower()
    for options, expected in (
        (("--repo", "ACME/site", "--environment", "prod*"), [failed.id]),
        (("--repo", "acme/*", "--open"), [waiting.id, running.id]),
        (("--phase", "failure", "--since", "1h"), [failed.id]),
        (("list", "--limit", "1"), [waiting.id]),
        (("--repo", "acme/other"), []),
    ):
        assert [one["deployment"] for one in await rows(world, *options)] == expected, options

    [shown] = await rows(world, "show", str(waiting.id))
    [blocker] = shown["blockers"]
    assert (shown["id"], blocker["gate"], blocker["verdict"]) == (
        str(waiting.id),
        "serialization",
        "waits",
    )
    assert "written" in {one["on_github"] for one in shown["timeline"]}
    assert shown["deliveries"][-1]["event"] == "deployment"
    text = (await run(world, "show", str(waiting.id))).stdout
    assert f"Deployment {waiting.id}: acme/site to slow, queued" in text
    assert "Why it waits" in text

    [cancelled] = await rows(world, "cancel", str(running.id))
    assert cancelled["message"].startswith(f"Deployment {running.id} has ended: it is 'error'")
    actor = world.rows("select actor from audit")[0]["actor"]
    assert "@" in actor
    await world.github.wait_for(running.id, "error")
    assert world.github.statuses(running.id)[-1].description == f"Cancelled by {actor}"
    [act] = (await rows(world, "show", str(running.id)))[0]["actions"]
    assert (act["action"], act["by"], act["outcome"]) == ("cancel", actor, "done")
    again = await run(world, "cancel", str(running.id))
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == f"Deployment {running.id} has ended: it is 'error'.\n"
    (tmp_path / "gate").touch()
    await world.github.wait_for(waiting.id, "success")


async def test_what_failed_is_deployed_again_once_and_as_slack_refuses_the_rest_is_refused(
    world: World,
) -> None:
    failed = await world.deployed()
    # The response is lost, and still it is created once.
    world.github.faults.add("POST /repos/*/deployments", Fault.drop_after())
    [done] = await rows(world, "retry", str(failed.id), "--within", "20s")
    created = int(done["created"])
    assert (done["outcome"], done["message"]) == ("done", f"Deployment {created} was requested")
    await world.github.wait_for(created, "failure")
    assert world.github.deployments[created].sha == failed.sha
    assert len(world.github.deployments) == 2
    [act] = world.rows("select actor, source, action, outcome, deployment_id from audit")
    assert (act["source"], act["action"], act["outcome"], act["deployment_id"]) == (
        "command line",
        "retry",
        "done",
        failed.id,
    )
    [entry] = world.rows("select actor, description from timeline where state = 'requested'")
    assert entry == {"actor": act["actor"], "description": "Retry, requested at the command line"}
    shown = (await run(world, "show", str(created))).stdout
    assert f"by {act['actor']}" in shown

    [refused] = [json.loads((await run(world, "retry", str(failed.id), "--json")).stdout)]
    assert (refused["outcome"], refused["code"]) == ("refused", "excluded")
    assert refused["message"] == "You have requested that already"
    for arguments, code, message in (
        (("cancel", "7"), 1, "The relay knows no deployment 7; old ones are deleted 365 days"),
        (("retry", "x"), 2, "'x' is not a valid integer"),
        (("--phase", "done"), 2, "'done' is not one of"),
    ):
        result = await run(world, *arguments)
        assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    await world.stop_workers()
    late = await run(world, "retry", str(created), "--within", "0s")
    assert (late.exit_code, "No worker has done it within 0s" in late.stderr) == (1, True)
    unwaited = await run(world, "retry", str(created), "--no-wait")
    assert (unwaited.exit_code, unwaited.stdout) == (0, "Requested; a worker does it.\n")
