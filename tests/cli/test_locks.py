"""Locks at the command line: what waits for one goes on while the worker runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from tests.cli.test_slack import variables
from tests.world import World, live, until
from webhook.__main__ import main

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - {name: production, handler: command, with: {run: ["true"]}}
  - {name: "stage/*", repos: ["acme/*"], handler: command, with: {run: ["true"]}}
  - {name: native, handler: github-actions, with: {mode: watch}}
"""


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        yield world


async def run(world: World, *arguments: str) -> Result:
    """In a thread, as the commands have an event loop of their own."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env=variables(world))


async def done(world: World, *arguments: str) -> str:
    result = await run(world, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


async def refused(world: World, *arguments: str) -> str:
    result = await run(world, *arguments)
    assert result.exit_code in (1, 2), result.output
    return result.stderr


async def held(world: World, deployment: Deployment) -> str:
    """The description of its newest status, once it waits."""
    await until(lambda: len(world.github.statuses(deployment.id)) > 1 or None)
    assert world.github.states(deployment.id)[-1] == "queued"
    return str(world.github.statuses(deployment.id)[-1].description)


async def deploy(world: World, repo: str, environment: str, **fields: Any) -> Deployment:
    deployment: Deployment = await world.github.create_deployment(
        repo, environment=environment, required_contexts=[], **fields
    )
    return deployment


async def take_over(world: World, *command: str) -> None:
    """From octocat, who has locked all of a repository."""
    other = await refused(world, *command)
    assert "All of acme/renamed, locked by octocat since" in other
    assert "--take-over makes it yours, and notifies octocat" in other
    taken = await done(world, *command, "--take-over")
    assert "octocat is notified that you took it over" in taken


async def test_what_a_command_locks_waits_and_goes_on_at_once(world: World) -> None:
    # The relay has seen nothing of the repository yet, so GitHub is asked.
    locked = await done(
        world, "lock", REPOSITORY, "--reason", "migration", "--for", "never", "--as", "octocat"
    )
    assert locked.startswith("All of acme/site is locked (no known end): migration. What runs")
    assert locked.rstrip().endswith(
        f"unlock {REPOSITORY}. This does not hold native, whose tools start by themselves."
    )
    first = await world.deploy("Production", ref="v1")
    assert await held(world, first) == (
        "Locked by octocat: migration (no known end). octocat, or /deploy unlock acme/site *"
    )
    # Neither another name of the repository nor another spelling is another place.
    world.github.rename_repository(REPOSITORY, "acme/renamed")
    second = await deploy(world, "acme/renamed", "PRODUCTION", ref="v2")
    assert (await held(world, second)).endswith("/deploy unlock acme/renamed *")
    [shown] = map(json.loads, (await done(world, "locks", "--json")).splitlines())
    assert (shown["scope"], shown["owner"], shown["until"], shown["source"]) == (
        "all of acme/renamed",
        "octocat",
        "never",
        "command line",
    )

    await take_over(world, "lock", "acme/renamed", "--reason", "mine", "--as", "hubot")
    await until(lambda: "hubot" in world.github.statuses(second.id)[-1].description or None)

    unlocked = await done(world, "unlock", "acme/renamed")
    assert unlocked == (
        "All of acme/renamed is unlocked, and hubot is notified; what waited for that goes on.\n"
    )
    await world.github.wait_for(second.id, "success")
    assert (await world.github.wait_for(first.id, "inactive")).description.startswith("Superseded")
    assert await done(world, "locks", "--json") == ""
    ended = map(json.loads, (await done(world, "locks", "--json", "--ended")).splitlines())
    assert [(one["owner"], one["how"]) for one in ended] == [
        ("hubot", "unlocked"),
        ("octocat", "taken over"),
    ]
    texts = [m.text for m in world.messages() if "all of acme" in m.text]
    await until(lambda: len([m for m in world.messages() if "all of acme" in m.text]) == 2 or None)
    assert not [text for text in texts if "<@" in text]  # deploy.yml knows nobody in Slack
    acts = world.rows("select source, action, actor from audit order by id")
    assert [(act["source"], act["action"]) for act in acts] == [
        ("command line", "lock"),
        ("command line", "take over lock"),
        ("command line", "unlock"),
    ]
    assert "@" in acts[-1]["actor"]  # no GitHub login


async def test_everything_and_an_environment_of_all_repositories(world: World) -> None:
    await done(world, "lock", "*", "PROD*", "--reason", "black friday", "--as", "octocat")
    await done(world, "lock", "--all", "--reason", "outage", "--as", "hubot", "--lets", "owner")
    one = await world.deploy("production")
    text = await held(world, one)
    assert text.startswith("Locked by octocat: black friday, and by hubot: outage (until ")
    everything = await refused(world, "unlock", REPOSITORY)
    assert "All of acme/site has no lock of its own" in everything
    await done(world, "unlock", "--all")
    await until(lambda: "outage" not in world.github.statuses(one.id)[-1].description or None)
    assert world.github.statuses(one.id)[-1].description.endswith(
        "unlock '*' prod* at the relay's command line"
    )
    await done(world, "unlock", "*", "prod*")
    await world.github.wait_for(one.id, "success")


async def test_an_expired_lock_lets_go_and_leaves_its_scope_to_others(world: World) -> None:
    await done(world, "lock", REPOSITORY, "production", "--reason", "a", "--for", "2h")
    waiting = await world.deploy()
    assert "(until " in await held(world, waiting)
    with world.clock.moved(timedelta(hours=2, seconds=1)):
        world.bring_forward("subject = %s", waiting.id)
        await world.github.wait_for(waiting.id, "success")
    world.execute("update locks set expires_at = now() - interval '1 minute'")
    assert await done(world, "locks", "--json") == ""
    nothing = await refused(world, "unlock", REPOSITORY, "production")
    assert "production of acme/site has no lock of its own" in nothing
    locked = await done(world, "lock", REPOSITORY, "Production", "--reason", "b", "--as", "hubot")
    assert "notified" not in locked
    rows = world.rows("select reason, ended_how, ended_by from locks order by id")
    assert [tuple(row.values()) for row in rows] == [("a", "expired", ""), ("b", "", "")]
    for change in ("delete from locks", "update locks set reason = 'c' where reason = 'a'"):
        with pytest.raises(psycopg.errors.RaiseException, match="is history"):
            world.execute(change)


async def test_what_cannot_be_done_is_explained(world: World) -> None:
    why = ("--reason", "why")
    for arguments, message in (
        (("lock", REPOSITORY, "mars", *why), "'mars' is not in deploy.yml; known: production, s"),
        (("lock", REPOSITORY, "m*", *why), "No environment in deploy.yml matches 'm*'; known: pr"),
        (
            ("lock", REPOSITORY, "native", *why),
            "native of acme/site cannot be locked: its tools st",
        ),
        (("lock", REPOSITORY, "production"), "Missing option '--reason'"),
        (("lock", REPOSITORY, "--reason", "x" * 5000), "at most 500 characters, and this one has"),
        (("lock", REPOSITORY, *why, "--for", "3 fortnights"), "'3 fortnights' is not a duration"),
        (("lock", REPOSITORY, *why, "--lets", "owner"), "--lets owner needs --as LOGIN"),
        (("lock", REPOSITORY, *why, "--as", "@octocat"), "'@octocat' is not a GitHub login"),
        (("lock", "acme", *why), "'acme' is not a repository; write owner/repo"),
        (("lock", "*", "native", *why), "native of all repositories cannot be locked"),
        (("lock", "*", *why), "everything is --all"),
        (("lock", REPOSITORY, "--all", *why), "--all is everything"),
        (("lock", *why), "Name a repository, as acme/site, and an environment; or write --all"),
        (("lock", "acme/none", *why), "GitHub does not say which repository that is"),
        (("unlock", "--all"), "Everything has no lock of its own"),
    ):
        assert message in " ".join((await refused(world, *arguments)).split())
    assert world.rows("select 1 from locks") == []
