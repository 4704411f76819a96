"""The audit: each act once, whatever its outcome, and for good."""

import asyncio
import json
import os
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from sandbox.sandbox import REPOSITORY
from tests.slack.actions.action_world import ActionWorld, relay
from webhook.__main__ import main

__all__ = ["relay"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run(relay: ActionWorld, *options: str) -> Result:
    runner = CliRunner(env={name: None for name in os.environ if name.startswith("GITPLOY_")})
    variables = {**relay.world.setup.environ, "GITPLOY_STORE_SOURCE": relay.world.store_url}
    return await asyncio.to_thread(runner.invoke, main, ["audit", *options], env=variables)


async def acts(relay: ActionWorld, *options: str) -> list[dict[str, Any]]:
    """The newest first."""
    result = await run(relay, "--json", *options)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


async def test_each_act_is_there_once_with_its_person_place_and_reason(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/acts")
    await relay.press("retry", failed, relay.eve)
    await relay.press("retry", failed, relay.bob)
    await relay.press("retry", failed, relay.ada)
    await relay.typed("status acme/site", relay.ada)
    relay.github.repository(REPOSITORY).missing_refs.add("gone")
    await relay.typed(f"{REPOSITORY} stage/acts gone", relay.ada)

    not_found, late, retried, unknown = await acts(relay)
    [created] = relay.created("broken/acts")
    assert (unknown["actor"], unknown["outcome"]) == ("eve", "refused")
    assert "does not know who you are" in unknown["reason"]
    assert (retried["actor"], retried["source"], retried["action"]) == ("hubot", "slack", "retry")
    assert (retried["outcome"], retried["reason"], retried["deployment"]) == ("done", "", failed)
    assert (retried["repository"], retried["environment"]) == (REPOSITORY, "broken/acts")
    assert retried["details"]["created"] == created.id
    assert retried["details"]["sha"] == created.sha
    assert (late["actor"], late["outcome"]) == ("octocat", "refused")
    assert late["reason"] == "hubot has requested that already"
    assert (not_found["action"], not_found["outcome"]) == ("deploy", "failed")
    assert "No ref found" in not_found["reason"]
    assert not_found["details"]["ref"] == "gone"


async def test_it_outlives_its_deployment_and_refuses_every_change(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/gone")
    await relay.press("retry", failed, relay.ada)
    await relay.until_none_waits(failed)
    await relay.world.idle()
    await asyncio.to_thread(relay.world.execute, "delete from deployments where id = %s", failed)
    assert (await acts(relay, "--limit", "1"))[0]["deployment"] == failed
    for statement in ("update audit set actor = 'mona'", "delete from audit", "truncate audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="takes new rows only"):
            await asyncio.to_thread(relay.world.execute, statement)


async def test_the_list_begins_when_it_is_asked_to(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/list")
    await relay.press("retry", failed, relay.ada)
    for since in ("7d", "1h", "1d12h", "2026-01-01", "2026-01-01T10:00+02:00"):
        assert (await acts(relay, "--since", since))[0]["deployment"] == failed, since
    assert await acts(relay, "--since", "2999-01-01") == []
    shown = (await run(relay, "--since", "1h", "--limit", "1")).stdout
    headers, line = shown.splitlines()
    assert headers.split()[:5] == ["AT", "(UTC)", "WHO", "FROM", "ACTION"]
    assert f"octocat slack retry done {REPOSITORY} broken/list {failed}" in " ".join(line.split())
    for odd in ("yesterday", "3 fortnights", "2026-13-01", "99999d99", "1d2"):
        refused = await run(relay, "--since", odd)
        assert refused.exit_code == 2
        assert f"'{odd}' is neither how long ago, as 7d or 12h, nor a date" in refused.stderr
