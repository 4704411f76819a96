"""`deliveries`: what arrived, and what became of it, for people and for programs."""

import asyncio
import json
import os
import pty
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY
from tests.world import World, live, until
from webhook.__main__ import main

UNREADABLE = ('{"repository": {"full_name": "acme/\\u001b[31msite"}}', "{", "[]", '{"a": 1}')


def variables(world: World) -> dict[str, str]:
    return {**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}


async def listed(world: World, *options: str) -> list[str]:
    runner = CliRunner(env={name: None for name in os.environ if name.startswith("GITPLOY_")})
    command = ["deliveries", *options]
    result = await asyncio.to_thread(runner.invoke, main, command, env=variables(world))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


async def test_each_line_has_the_deployments_state_and_why(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path) as world:
        good = await world.deployed()
        bad = await world.deployed("broken")
        await world.deployed("moon")
        headers, *lines = await listed(world)
        assert headers.split("  ")[0] == "RECEIVED (UTC)"
        names = [name.strip() for name in headers.split("  ") if name.strip()]
        assert names[1:] == [
            *("DELIVERY", "EVENT", "RESULT", "DEPLOYMENT", "REPOSITORY", "ENVIRONMENT", "REF"),
            *("STATE", "REASON"),
        ]
        [line] = [line for line in lines if f" {bad.id} " in line and " deployment " in line]
        assert f" deployment processed {bad.id} {REPOSITORY} broken main failure " in (
            " ".join(line.split())
        )
        assert line.endswith("the disk is full")
        [line] = [line for line in lines if "moon" in line and " deployment " in line]
        assert "error" in line
        assert "No route for environment 'moon'" in line

        rows: list[dict[str, Any]] = [json.loads(line) for line in await listed(world, "--json")]
        [row] = [r for r in rows if r["deployment"] == good.id and r["event"] == "deployment"]
        assert (row["result"], row["state"], row["reason"]) == ("processed", "success", "")
        assert (row["repository"], row["environment"]) == (REPOSITORY, "production")
        assert (row["ref"], row["sha"]) == ("main", good.sha)
        only = await listed(world, "--json", "--deployment", str(bad.id))
        assert {json.loads(line)["deployment"] for line in only} == {bad.id}


async def test_a_state_that_github_lacks_is_named(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path) as world:
        world.github.faults.add("POST /repos/*/deployments/*/statuses", Fault.status(403), 1000)
        deployment = await world.deploy()
        await world.phase(deployment.id, "success")
        errors = "select error from outbox where kind = 'status' and error <> ''"
        await until(lambda: world.rows(errors) or None)
        # The first status is rejected, and the newest waits behind it.
        assert "GitHub does not show this: " in json_of(world, deployment.id)
        world.github.faults.clear()
        await world.github.wait_for(deployment.id, "success")
        await until(lambda: "GitHub does not show" not in json_of(world, deployment.id) or None)


def json_of(world: World, deployment_id: int) -> str:
    options = ["deliveries", "--json", "--deployment", str(deployment_id)]
    return CliRunner().invoke(main, options, env=variables(world)).stdout


async def test_what_is_about_no_deployment_is_listed_with_all(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        for number, body in enumerate(UNREADABLE):
            world.execute(
                "insert into deliveries (hook_id, guid, event, body, outcome)"
                " values (1, %s, 'push', %s, 'ignored')",
                f"guid-{number}",
                body.encode(),
            )
        assert len(await listed(world)) == 1
        *_, line = await listed(world, "--all")
        assert "guid-0" in line
        assert "\x1b" not in line
        assert "acme/" in line
        assert len(await listed(world, "--all", "--json")) == len(UNREADABLE)


async def test_a_delivery_is_shown_with_what_became_of_it_and_why(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path) as world:
        [secret, *_] = world.setup.settings.webhook_secrets or ()
        payload = {"note": f"a\x9b31m\u202e {secret}"}
        deployment = await world.deployed("broken", payload=payload)
        [row] = [json.loads(one) for one in await listed(world, "--json", "--event", "deployment")]
        guid = row["delivery"]
        [line] = await listed(world, "show", guid[:8], "--json")
        assert secret not in line
        shown = json.loads(line)
        hook = shown["headers"]["X-GitHub-Hook-ID"]
        assert shown["headers"] == {
            "X-GitHub-Event": "deployment",
            "X-GitHub-Delivery": guid,
            "X-GitHub-Hook-ID": str(int(hook)),
        }
        assert (shown["result"], shown["way"], shown["arrivals"]) == ("processed", "webhook", 1)
        about = shown["deployment"]
        assert (about["id"], about["phase"]) == (str(deployment.id), "failure")
        assert [(one["state"], one["on_github"]) for one in about["timeline"]] == [
            ("queued", "written"),
            ("in_progress", "written"),
            ("failure", "written"),
        ]
        assert {one["where"] for one in about["messages"]} == {"Slack #deploys", "Slack #oncall"}
        assert shown["body"]["deployment"]["id"] == deployment.id
        assert shown["body"]["deployment"]["payload"]["note"] == "a\x9b31m\u202e ***"

        text = "\n".join(await listed(world, "show", guid))
        assert secret not in text
        assert "\x9b" not in text
        assert f"Deployment {deployment.id}: acme/site to broken, failure" in text
        assert "the disk is full" in text
        [raw] = await listed(world, "show", guid, "--body", "raw")
        assert raw.startswith('{"')
        assert json.loads(raw) == shown["body"]

        raw = '{"x" : 1,\n "y":"\\u00e9\u00e9"}'
        world.execute("update deliveries set body = %s, way = 'pulled'", raw.encode())
        assert "\n".join(await listed(world, "show", guid, "--body", "raw")) == raw
        text = "\n".join(await listed(world, "show", guid, "--body", "none"))
        assert "the relay fetched it from GitHub's list of deliveries" in text
        assert "Body" not in text


async def test_deliveries_are_chosen_by_what_they_are_and_how_old(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        for guid, event, outcome, way, hours, late in (
            ("cccccccc-1", "deployment", "done", "webhook", 50, 0),
            ("bbbbbbbb-1", "push", "ignored", "webhook", 1, 0),
            ("aaaaaaaa-1", "deployment", None, "webhook", 0, 0),
            ("aaaaaaaa-2", "deployment", "failed", "pulled", 0, 12),
        ):
            world.execute(
                "insert into deliveries (hook_id, guid, event, body, outcome, way, received_at,"
                " delivered_at) select 1, %s, %s, %s, %s, %s, at, at - %s * interval '1 minute'"
                " from (select now() - %s * interval '1 hour' as at) arrived",
                *(guid, event, b'{"repository": {"full_name": "Acme/site"}}', outcome, way, late),
                hours,
            )

        world.execute(
            "insert into schedule (subject, task) select id, 'receive' from deliveries"
            " where outcome is null"
        )

        async def guids(*options: str) -> list[str]:
            return [json.loads(one)["delivery"] for one in await listed(world, "--json", *options)]

        assert await guids() == ["aaaaaaaa-2", "aaaaaaaa-1", "cccccccc-1"]
        assert await guids("--since", "2h", "--all") == ["aaaaaaaa-2", "aaaaaaaa-1", "bbbbbbbb-1"]
        assert await guids("--event", "push", "--repo", "acme/*") == ["bbbbbbbb-1"]
        assert await guids("--repo", "acme/other", "--all") == []
        for outcome, guid in (
            ("waiting", "aaaaaaaa-1"),
            ("failed", "aaaaaaaa-2"),
            ("ignored", "bbbbbbbb-1"),
            ("processed", "cccccccc-1"),
        ):
            assert await guids("--outcome", outcome) == [guid]
        headers, line = await listed(world, "list", "--outcome", "failed")
        assert headers.split()[-3:] == ["WAY", "LATE", "REASON"]
        assert line.split()[-3:] == ["pulled", "12m", "-"]
        for typed in ("2026-11-28T02:04", "2 fortnights", "yesterday"):
            runner = CliRunner()
            result = runner.invoke(main, ["deliveries", "--since", typed], env=variables(world))
            assert result.exit_code == 2
            message = " ".join(result.stderr.split())
            assert f"'{typed}' is neither how long ago, as 2h or 3d, nor a moment with" in message


@pytest.mark.slow
async def test_a_terminal_gets_a_table(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path) as world:
        deployment = await world.deployed()
        shown = await in_terminal(world, columns=200)
        assert "environment" in shown
        assert "\x1b[32msuccess" in shown

        [row] = [json.loads(line) for line in await listed(world, "--json")]
        narrow = re.sub(r"\x1b\[\d*m", "", await in_terminal(world, columns=80)).splitlines()
        [line] = [line for line in narrow if row["delivery"] in line]
        received = datetime.fromisoformat(row["received"])
        assert line.startswith(f"{received.astimezone(UTC):%Y-%m-%d %H:%M:%S}")
        assert f"  processed  {deployment.id}  {REPOSITORY}  production  main  success" in narrow
        assert max(map(len, narrow)) <= 80


async def in_terminal(world: World, columns: int) -> str:
    terminal, of_command = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "deliveries"),
        env={**variables(world), "COLUMNS": str(columns), "TERM": "xterm-256color"},
        stdout=of_command,
    )
    assert await process.wait() == 0
    os.close(of_command)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    return shown
