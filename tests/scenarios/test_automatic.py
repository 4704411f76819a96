"""Pushes are deployed by themselves, once their checks have succeeded."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sandbox.faults import Fault
from sandbox.github.model import Deployment, Push, Repository
from sandbox.github.server import EVENTS, PERMISSIONS, GitHub
from sandbox.github.webhooks import ARRIVES, Transit
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.world import World, live, until
from webhook.__main__ import main

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    with: {run: ["true"]}
    auto_deploy_on: ^refs/heads/main$
    required_contexts: [ci/lint, build]
    wait_limit: 2h
  - name: releases
    handler: command
    with: {run: ["true"]}
    auto_deploy_on: ^refs/tags/v
"""
BY_ITS_OWN = """
slack: {channel: "#deploys"}
envs:
  - {name: staging, handler: command, with: {run: ["true"]}, repository_file: tighten}
"""
ITS_OWN = """
envs:
  - name: staging
    auto_deploy_on: ^refs/heads/topic$
    required_contexts: [unit]
    description: The shop
"""
COMMITS = ("push", "status", "check_run", "check_suite")
READ = dict.fromkeys(("checks", "statuses"), "read")
ROWS = "select * from automatic_deployments order by id"


@pytest.fixture
def deploy_yml() -> str:
    return DEPLOY_YML


@pytest.fixture
async def world(store_url: str, tmp_path: Path, deploy_yml: str) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox()) as world:
        yield world


def sandbox() -> Sandbox:
    github = GitHub(permissions={**PERMISSIONS, **READ}, events=[*EVENTS, *COMMITS])
    return Sandbox(github)


def site_of(world: World) -> Repository:
    site: Repository = world.github.repository(REPOSITORY)
    return site


def succeed(world: World, sha: str) -> None:
    """Both of its checks."""
    world.github.report_status(REPOSITORY, sha, "ci/lint", "success")
    world.github.report_check(REPOSITORY, sha, "build", conclusion="success")


async def row_of(world: World, sha: str, state: str, reason: str = "") -> dict[str, Any]:
    """As soon as it is so."""

    def found() -> dict[str, Any] | None:
        rows = [row for row in world.rows(ROWS) if row["sha"] == sha and row["state"] == state]
        return next((row for row in rows if reason in row["reason"]), None)

    row: dict[str, Any] = await until(found)
    return row


def created(world: World, sha: str) -> list[Deployment]:
    return [one for one in world.github.deployments.values() if one.sha == sha]


async def until_messages(world: World, count: int) -> None:
    await until(lambda: len(world.messages()) >= count or None)


async def pushed(world: World, message: str) -> str:
    """A commit that waits for its checks."""
    sha = site_of(world).push(message)
    await row_of(world, sha, "waiting", "has not been reported")
    return sha


async def listed(world: World, *command: str) -> str:
    environ = {**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}
    command = command or ("automatic",)
    result = await asyncio.to_thread(CliRunner().invoke, main, [*command], env=environ)
    assert result.exit_code == 0, result.output
    return result.output


async def test_a_push_is_deployed_once_its_named_checks_have_succeeded(world: World) -> None:
    site, github = site_of(world), world.github
    sha = site.push("One", "hubot")
    await row_of(world, sha, "waiting", "ci/lint, build has not been reported")
    github.report_check(REPOSITORY, sha, "build", status="in_progress")
    github.report_status(REPOSITORY, sha, "ci/lint", "success")
    github.report_status(REPOSITORY, sha, "ci/other", "failure")  # which GitHub is not to count
    await row_of(world, sha, "waiting", "build has not ended")
    assert "build has not ended" in await listed(world)
    explained = await listed(world, "explain", REPOSITORY, "production")
    assert f"main @ {sha[:7]}" in explained
    assert "build has not ended" in explained
    github.report_check(REPOSITORY, sha, "build", conclusion="success")
    await row_of(world, sha, "created")
    [deployment] = created(world, sha)
    await github.wait_for(deployment.id, "success")
    assert (deployment.ref, deployment.environment) == (sha, "production")
    assert str(deployment.description).startswith("Deployed automatically for a push by hubot")
    # Nothing of this is deployed, or deployed again.
    [push] = [one for one in github.deliveries if one.event == "push"]
    await github.redeliver(push.guid)
    github.report_status(REPOSITORY, sha, "ci/lint", "success")
    site.push("Elsewhere", ref="topic")
    site.delete_branch("topic")
    skipped = site.push("Only words [Skip Deploy]")
    succeed(world, skipped)
    await world.idle()
    assert len(github.deployments) == 1
    assert [row["state"] for row in world.rows(ROWS)] == ["created", "skipped"]
    assert "its message says [Skip Deploy]" in await listed(world)
    reasons = world.delivery_outcomes()["ignored"]
    assert "refs/heads/topic was deleted" in reasons
    assert "no environment is deployed for a push to refs/heads/topic" in reasons

    [message] = world.messages()
    assert "deployed automatically for a push by hubot" in str(message.blocks)
    page = await world.page(deployment.id)
    assert "<dt>Cause</dt><dd>deployed automatically for a push by hubot</dd>" in page
    assert "Requested by" not in page
    [act] = world.rows("select * from audit")
    assert (act["actor"], act["source"], act["action"]) == ("hubot", "relay", "auto_deploy")
    assert act["details"]["sha"] == sha


async def test_a_tag_is_deployed_at_once_by_the_commit_that_it_is_of(world: World) -> None:
    site = site_of(world)
    first = site.push("One")
    tag = site.tag("v1", annotated=True)
    row = await row_of(world, first, "waiting", "has not been reported")
    await until(lambda: created(world, first) or None)
    assert tag != first
    [deployment] = created(world, first)
    assert (deployment.environment, deployment.ref) == ("releases", first)
    await row_of(world, first, "created")
    await world.github.wait_for(deployment.id, "success")
    await until(lambda: world.messages() or None)
    assert "|v1> @" in str(world.messages()[0].blocks)
    assert row["environment"] == "production"


async def test_a_check_that_failed_is_said_and_may_be_run_again(world: World) -> None:
    site, github = site_of(world), world.github
    sha = site.push("One")
    github.report_status(REPOSITORY, sha, "ci/lint", "success")
    github.report_check(REPOSITORY, sha, "build", conclusion="skipped")
    await row_of(world, sha, "failed", "build did not succeed")
    [said] = await until(lambda: world.messages() or None)
    assert "acme/site, production: main @" in said.text
    assert "pushed by octocat, was not deployed: build did not succeed" in said.text
    assert not github.deployments
    github.report_check(REPOSITORY, sha, "build", conclusion="neutral")
    await row_of(world, sha, "created")
    assert len(created(world, sha)) == 1

    # So does what GitHub refuses.
    create = "POST /repos/acme/site/deployments"
    github.faults.add(create, Fault.status(409, {"message": "Conflict"}))
    refused = await pushed(world, "Refused")
    succeed(world, refused)
    await row_of(world, refused, "failed", "GitHub refused it")
    await until(lambda: [m for m in world.messages() if "GitHub refused it" in m.text] or None)
    assert not created(world, refused)
    acts = world.rows("select outcome, action from audit order by id")
    assert [one["outcome"] for one in acts] == ["done", "failed"]


async def test_the_newest_that_is_ready_wins(world: World) -> None:
    site, github = site_of(world), world.github
    first, second, third = [await pushed(world, f"Number {number}") for number in range(3)]
    # A newer push alone does not end an older one: a busy branch is deployed, too.
    succeed(world, second)
    await row_of(world, second, "created")
    await row_of(world, first, "superseded", "was ready first")
    await row_of(world, third, "waiting")
    succeed(world, first)
    succeed(world, third)
    await row_of(world, third, "created")
    assert [one.sha for one in github.deployments.values()] == [second, third]

    fourth = await pushed(world, "Taken back")
    await github.settled()
    github.webhook_url, address = "", github.webhook_url
    fifth = site.push("Instead", onto=third)
    github.webhook_url = address
    succeed(world, fourth)
    await row_of(world, fourth, "superseded", f"main is at {fifth[:7]} now")
    site.delete_branch("main")
    assert len(github.deployments) == 2


@pytest.mark.parametrize(
    "deploy_yml", [DEPLOY_YML.replace("wait_limit: 2h", "wait_limit: 2h\n    recover_within: 20m")]
)
async def test_missed_pushes_keep_their_order_and_are_not_deployed_too_late(world: World) -> None:
    site, github = site_of(world), world.github
    github.webhooks.transit = lambda _: Transit(fate="swallowed")
    first, _, second, _ = site.push("One"), site.tag("v1"), site.push("Two"), site.tag("v2")
    await github.settled()
    pushes = [one for one in github.deliveries if one.event == "push"]
    for one, ago in zip(pushes, (2900, 20, 2890, 10), strict=True):
        one.delivered_at -= timedelta(seconds=ago)
    world.bring_forward("task = 'recover'")
    missed = "was not deployed"
    [message] = await until(lambda: [m for m in world.messages() if missed in m.text] or None)
    why = "the relay learned of its push after 48m; older than 20m: deploy it by hand"
    assert f"production: main @ {second[:7]}, pushed by octocat, was not deployed: {why}" in (
        message.text
    )
    await world.idle()
    # The newest comes first, and what is older is not deployed after it.
    assert [one.sha for one in github.deployments.values()][-1] == second
    ends = {(row["environment"], row["sha"]): row["state"] for row in world.rows(ROWS)}
    assert ends["releases", second] == "created"
    assert (ends["production", first], ends["production", second]) == ("superseded", "failed")
    # Whoever has it pushed once more wants it.
    github.webhooks.transit = lambda _: ARRIVES
    branch = "refs/heads/main"
    site.on_push(Push(site, branch, first, second, site.git.commits[second], "octocat"))
    await row_of(world, second, "waiting", "has not been reported")


async def test_what_waits_for_long_says_why_and_ends(world: World) -> None:
    site = site_of(world)
    sha = site.push("One [skip ci]")
    why = "has not been reported ([skip ci] in its message keeps workflows from running)"
    await row_of(world, sha, "waiting", why)
    assert not world.messages()
    for ahead, texts in ((31, ["waits"]), (40, ["waits"]), (7201, ["waits", "was not deployed"])):
        with world.clock.moved(timedelta(seconds=ahead)):
            world.bring_forward("task = 'deploy_automatically'")
            await until_messages(world, len(texts))
            shown = zip(world.messages(), texts, strict=True)
            assert all(f"{text}: ci/lint, build {why}" in one.text for one, text in shown)
    row = await row_of(world, sha, "failed")
    assert "it has waited for 2h" in row["reason"]
    succeed(world, sha)
    await world.github.settled()
    assert not world.github.deployments


async def test_after_a_person_has_gone_back_older_pushes_stay_away(world: World) -> None:
    site = site_of(world)

    async def deployed(message: str) -> str:
        sha = site.push(message)
        succeed(world, sha)
        await row_of(world, sha, "created")
        await world.idle()
        return sha

    good, bad = await deployed("Good"), await deployed("Bad")
    late = await pushed(world, "Late")
    await world.deploy("production", ref=good)
    [back] = await until(lambda: created(world, good)[1:] or None)
    await world.github.wait_for(back.id, "success")
    succeed(world, late)
    await row_of(world, late, "superseded", f"octocat has gone back to {good[:7]} since")
    assert f"(deployment {back.id})" in await listed(world)
    assert back.id > created(world, bad)[0].id
    said = f"was not deployed: octocat has gone back to {good[:7]} since"
    await until(lambda: [one for one in world.messages() if said in one.text] or None)
    # To deploy once more what is there is no rollback.
    newer = await pushed(world, "Newer")
    again = await world.deploy("production", ref=good)
    await world.github.wait_for(again.id, "success")
    succeed(world, newer)
    await row_of(world, newer, "created")
    await world.idle()
    # Nor does one count that came before the push, and of which the relay learned after it.
    newest = await pushed(world, "Newest")
    earlier = await world.deploy("production", ref=good)
    await world.github.wait_for(earlier.id, "success")
    aged = "update deployments set created_at = created_at - interval '1 hour' where id = %s"
    world.execute(aged, earlier.id)
    succeed(world, newest)
    await row_of(world, newest, "created")


async def test_the_repositorys_own_file_may_ask_for_it(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, BY_ITS_OWN, sandbox=sandbox()) as world:
        site, github = site_of(world), world.github
        site.push("With a file", files={"deploy.yml": ITS_OWN})
        sha = site.push("Two", ref="topic")
        await row_of(world, sha, "waiting", "unit has not been reported")
        github.report_check(REPOSITORY, sha, "unit", conclusion="success")
        await row_of(world, sha, "created")
        [deployment] = created(world, sha)
        assert deployment.environment == "staging"
        described = "The shop (deployed automatically for a push by octocat) (relay action "
        assert str(deployment.description).startswith(described)
        # Of the push that brought the file, which is not to be deployed, nothing is left.
        await until(lambda: len(world.rows(ROWS)) == 1 or None)


async def test_what_its_own_file_does_not_say_is_not_forgotten(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, BY_ITS_OWN, sandbox=sandbox()) as world:
        site, github = site_of(world), world.github
        read = "GET /repos/acme/site/contents/deploy.yml"
        github.faults.add(read, Fault.status(500, {}), times=50)
        github.webhook_url, address = "", github.webhook_url
        site.push("With a file", files={"deploy.yml": ITS_OWN})
        github.webhook_url = address
        sha = site.push("One", ref="topic")
        await row_of(world, sha, "waiting", "Cannot read the repository's deploy.yml")
        github.faults.clear()
        github.report_check(REPOSITORY, sha, "unit", conclusion="success")
        await row_of(world, sha, "created")

        async def forgotten(sha: str) -> None:
            await world.idle()
            assert sha not in [row["sha"] for row in world.rows(ROWS)]

        wrong = f"{ITS_OWN}    serialization: 7"
        await forgotten(site.push("Another key is wrong", files={"deploy.yml": wrong}))
        for number in range(2):
            sha = site.push(f"Number {number}", ref="topic")
            await row_of(world, sha, "failed", "The repository's deploy.yml is invalid, line 7")
        await forgotten(site.push("Elsewhere", ref="other"))
        site.push("No YAML", files={"deploy.yml": "envs: [auto_deploy_on"})
        sha = site.push("Perhaps", ref="other")
        await row_of(world, sha, "failed", "The repository's deploy.yml is invalid, line 1")
        await until_messages(world, 4)
        await world.idle()
        texts = [one.text for one in world.messages() if "acme/site, staging:" in one.text]
        assert ["pushed by octocat, was not deployed" in one for one in texts] == [
            True,
            True,
            False,
        ]
        assert " are to be deployed is not known, and they were not: The repo" in texts[2]
