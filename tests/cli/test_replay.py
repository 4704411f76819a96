"""`deliveries replay`: what was not understood, or ignored, is processed once more."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner, Result

from sandbox.faults import Fault
from sandbox.github.webhooks import ARRIVES, Transit
from sandbox.sandbox import REPOSITORY
from tests.cli.test_slack import variables
from tests.world import QUICK, World, live, until
from webhook.__main__ import main

DEPLOY_YML = """
unrouted: ignore
envs:
  - {name: production, handler: command, with: {run: ["true"]}}
"""
WITH_MOON = f"{DEPLOY_YML}  - {{name: moon, handler: command, with: {{run: ['true']}}}}\n"
# An error that no job expects, until it is dropped, as by an upgrade.
BUG = (
    "create or replace function bug() returns trigger language plpgsql as"
    " $$ begin raise exception using message = 'a bug of ' || new.environment; end $$",
    "create trigger bug before insert on deployments for each row execute function bug()",
)
HASTY = replace(QUICK, job_retry_at_most=timedelta(milliseconds=10))


async def run(world: World, *arguments: str) -> Result:
    command = ["deliveries", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=variables(world))


async def done(world: World, *arguments: str) -> list[dict[str, Any]]:
    result = await run(world, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


async def test_what_was_ignored_is_deployed_after_a_change_and_what_ran_is_not_run_again(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        ran = await world.deployed()
        ignored = await world.deploy("moon")
        await world.idle()
        [before] = await done(world, "--event", "deployment", "--outcome", "ignored")
        assert (before["environment"], before["reason"][:8]) == ("moon", "No route")

        (tmp_path / "deploy.yml").write_text(WITH_MOON)
        await world.stop_workers()
        world.setup = replace(world.setup, config=_config(world))
        world.start_worker()
        dry = await run(world, "replay", "--since", "2h", "--dry-run")
        assert dry.stdout.startswith(
            "Would reprocess 5 of 5 deliveries.\n1 ask for a deployment to moon"
        )
        unasked = await run(world, "replay", "--since", "2h")
        assert (unasked.exit_code, "add --yes" in unasked.stderr) == (2, True)

        rows = await done(world, "replay", "--since", "2h", "--yes")
        assert {row["result"] for row in rows} <= {"processed", "ignored"}
        [moon] = [row for row in rows if row["deployment"] == ignored.id]
        assert (moon["before"], moon["result"]) == ("ignored", "processed")
        await world.github.wait_for(ignored.id, "success")
        [first] = [r for r in rows if r["deployment"] == ran.id and r["event"] == "deployment"]
        assert (first["result"], first["reason"]) == (
            "processed",
            "this deployment was requested before",
        )
        await world.idle()
        assert world.github.states(ran.id) == ["queued", "in_progress", "success"]
        [act] = world.rows("select actor, source, action, details from audit")
        assert (act["source"], act["action"], act["details"]["count"]) == (
            "command line",
            "replay",
            5,
        )
        assert "@" in act["actor"]


def _config(world: World) -> Any:
    from webhook.startup import read_config

    return read_config(world.setup.environ)


async def test_a_delivery_that_fails_again_and_again_becomes_a_dead_letter_that_can_be_replayed(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, timing=HASTY) as world:
        for statement in BUG:
            world.execute(statement)
        deployment = await world.deploy()
        await until(lambda: world.delivery_outcomes().get("failed"))
        [letter] = await done(world, "--outcome", "failed")
        assert letter["reason"].startswith(
            "the relay failed to process it: RaiseException: a bug of production (given up after 8"
        )
        assert "1 could not be processed" in (await _readyz(world))["dead_letters"]

        still = await run(world, "replay", letter["delivery"][:8], "--within", "10s")
        assert still.exit_code == 1
        assert "1 failed; the reasons stand beside them" in still.stderr

        world.execute("drop trigger bug on deployments")
        [row] = await done(world, "replay", "--since", "2h", "--failed", "--yes")
        assert (row["before"], row["result"]) == ("failed", "processed")
        await world.github.wait_for(deployment.id, "success")
        assert (await _readyz(world))["dead_letters"] == "ok"
        assert await done(world, "--outcome", "failed") == []


async def _readyz(world: World) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.url}/readyz?verbose") as response,
    ):
        return await response.json()


async def test_what_cannot_be_replayed_is_refused_with_the_reason(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        world.execute(
            "insert into deliveries (hook_id, guid, event, body, outcome, received_at) values"
            " (1, 'aaaaaaaa-old', 'push', '{}', 'done', now() - interval '400 days'),"
            " (1, 'aaaaaaaa-new', 'push', '{}', null, now()),"
            " (1, 'bbbbbbbb-new', 'push', '{', 'failed', now())"
        )
        for arguments, code, message in (
            (("aaaaaaaa",), 1, "the beginning of several deliveries: aaaaaaaa-old, aaaaaaaa-new"),
            (("aaaaaaa",), 1, "'aaaaaaa' is too short: write 8 characters of a GUID"),
            (("cccccccc",), 1, "those older than 30 days are deleted (GITPLOY_KEEP_DELIVERIES)"),
            (("aaaaaaaa-o",), 1, "older than 365 days (GITPLOY_KEEP_DEPLOYMENTS): what it did"),
            (("aaaaaaaa-new",), 1, "waits to be processed, or is being processed; nothing was"),
            ((), 2, "Write GUIDs, or --since"),
            (("aaaaaaaa", "--failed"), 2, "not both"),
            (("--since", "2h", "--failed", "--outcome", "done"), 2, "is not one of"),
            (("--since", "2026-11-28T02:04", "--failed"), 2, "a moment with its zone"),
        ):
            result = await run(world, "replay", *arguments)
            assert (result.exit_code, result.stdout) == (code, "")
            assert message in " ".join(result.stderr.split()), result.stderr
        planned = await run(world, "replay", "--since", "2h", "--dry-run")
        assert "1 push: one that never began may begin now" in planned.stdout
        checked = await asyncio.to_thread(CliRunner().invoke, main, ["check"], env=variables(world))
        assert "1 could not be processed; " in checked.stdout
        [left] = await done(world, "replay", "--since", "2h", "--yes", "--no-wait")
        assert (left["delivery"], left["result"]) == ("bbbbbbbb-new", "waiting")
        [urgent] = world.rows("select urgent from schedule where task = 'receive'")
        assert urgent == {"urgent": False}
        world.execute("update deliveries set outcome = 'failed' where guid = 'bbbbbbbb-new'")
        assert len(world.rows("select 1 from dead_letters")) == 1
        world.execute("delete from deliveries where guid = 'bbbbbbbb-new'")
        assert world.rows("select 1 from dead_letters") == []


async def test_github_sends_a_delivery_once_more(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        world.github.webhooks.large_ids = True
        world.github.webhooks.transit = lambda _: Transit(fate="swallowed")
        deployment = await world.deploy()
        await world.github.settled()
        guid = world.github.deliveries[0].guid
        lost = await run(world, "redeliver", guid[:8], "--within", "0s")
        assert (lost.exit_code, "It has not arrived within 0s" in lost.stderr) == (1, True)

        world.github.webhooks.transit = lambda _: ARRIVES
        world.start_worker()
        [sent] = await done(world, "redeliver", guid[:8])
        # The relay may have found it missing meanwhile, and fetched it, too.
        assert (sent["delivery"], sent["arrived"], sent["arrivals"] > 0) == (guid, True, True)
        assert (sent["result"], int(sent["github_id"]) > 2**53) == ("processed", True)
        await world.github.wait_for(deployment.id, "success")
        again = await run(world, "redeliver", guid)
        assert again.exit_code == 0
        assert again.stdout.startswith(
            "It has arrived. It was processed before, so that nothing was done; "
        )
        acts = world.rows("select action, details from audit order by id")
        assert [(act["action"], act["details"]["delivery"]) for act in acts] == [
            ("redeliver", guid)
        ] * 3

        world.execute(
            "insert into deliveries (hook_id, guid, event, body, outcome, received_at)"
            " values (1, 'aaaaaaaa-old', 'push', '{}', 'done', now() - interval '4 days')"
        )
        for given, message in (
            ("bbbbbbbb", "GitHub has no delivery bbbbbbbb of the last 7 days; check the GUID on"),
            ("aaaaaaaa", "GitHub keeps deliveries for 7 days, and does not have aaaaaaaa-old, of"),
        ):
            refused = await run(world, "redeliver", given)
            assert refused.exit_code == 1
            assert message in refused.stderr
        world.github.faults.add("GET /app/hook/deliveries", Fault.status(500), 100)
        away = await run(world, "redeliver", guid)
        assert away.exit_code == 1
        assert "GitHub does not say which deliveries it has" in away.stderr
        assert len(world.rows("select 1 from audit")) == 3


async def test_an_installation_that_was_replaced_since_does_not_count_again(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        deployment = await world.deployed()
        [row] = world.rows("select repo_id, installation_id from deployments")
        body = {
            "action": "created",
            "installation": {"id": 7, "account": {"login": "acme", "id": 1}},
            "repositories": [{"id": row["repo_id"], "full_name": REPOSITORY}],
        }
        world.execute(
            "insert into deliveries (hook_id, guid, event, body, outcome)"
            " values (1, 'aaaaaaaa-old', 'installation', %s, 'done')",
            json.dumps(body).encode(),
        )
        [again] = await done(world, "replay", "aaaaaaaa")
        assert (again["result"], again["reason"]) == ("processed", "it was acted on before")
        query = "select installation_id from deployments where id = %s"
        assert world.rows(query, deployment.id) == [{"installation_id": row["installation_id"]}]
