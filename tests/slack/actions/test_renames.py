"""History belongs to a repository, whatever its name is, and to no other that takes the name."""

import json
from typing import Any

import aiohttp
import pytest

from sandbox.github.model import Deployment, Repository
from sandbox.slack.model import Message
from tests.slack.actions.action_world import ActionWorld, relay

__all__ = ["relay"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def added(relay: ActionWorld, name: str) -> Repository:
    """A repository in which octocat may write."""
    [repository] = relay.github.add_installation("acme", [name]).repositories
    relay.github.add_collaborator(name, "octocat", "write")
    assert isinstance(repository, Repository)
    return repository


async def deployed(relay: ActionWorld, repo: str, environment: str, **fields: Any) -> Deployment:
    fields = {"required_contexts": [], **fields}
    deployment: Deployment = await relay.github.create_deployment(
        repo, environment=environment, **fields
    )
    await relay.github.wait_for(deployment.id, "success", "failure", "error", within=20)
    await relay.world.idle()
    return deployment


def message_of(relay: ActionWorld, deployment: Deployment) -> Message:
    found = (m for m in relay.world.messages() if f"/{deployment.id}?" in json.dumps(m.blocks))
    return next(found)


async def page_status(relay: ActionWorld, url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


async def test_history_outlives_a_rename(relay: ActionWorld) -> None:
    repository = added(relay, "acme/before")
    first = repository.push("First")
    old = await deployed(relay, "acme/before", "stage/kept")
    link = relay.github.statuses(old.id)[0].log_url.partition("#")[0]
    # To GitHub upper and lower case are alike, too.
    relay.past_deployment("Broken/Kept", "success", repo="acme/before", sha=first)
    broken = repository.push("Broken")
    failed = relay.past_deployment("broken/kept", repo="acme/before", sha=broken)
    relay.github.rename_repository("acme/before", "acme/after")
    assert "/deployments/acme/after/" in await relay.press("retry", failed, relay.ada)
    second = repository.push("Second")
    newer = await deployed(relay, "acme/after", "broken/kept")
    assert (newer.sha, await page_status(relay, link)) == (second, 200)
    assert await page_status(relay, link.replace("acme/before", "acme/after")) == 200
    assert await page_status(relay, link.replace("acme/before", "acme/site")) == 404
    message = message_of(relay, newer)
    assert "Second" in json.dumps(message.blocks)
    button = relay.slack.button(message, "rollback")
    assert f"of acme/after to main @ {first[:7]}?" in button["confirm"]["text"]["text"]
    again = relay.past_deployment("broken/kept", repo="acme/after", repo_url="x")
    assert f"was requested after {newer.id}" in await relay.press("rollback", newer.id, relay.ada)
    assert "was requested" in await relay.press("rollback", again, relay.ada)
    assert relay.created("broken/kept")[-1].sha == first
    status = await relay.typed("status acme/before", relay.ada)
    lines = status.text.splitlines()
    assert lines[0] == "acme/before is now acme/after:"
    assert [line.partition("*")[2].partition("*")[0] for line in lines[1:]] == [
        "broken/kept",
        "stage/kept",
    ]


async def test_a_repository_that_takes_the_name_shares_nothing(relay: ActionWorld) -> None:
    old = added(relay, "acme/name")
    sha = old.push("Old")
    for environment in ("broken/name", "stage/name"):
        relay.past_deployment(environment, "success", repo="acme/name", sha=sha)
    relay.github.rename_repository("acme/name", "acme/elsewhere")
    new = added(relay, "acme/name")
    assert new.id != old.id
    new.push("New")
    newest = await deployed(relay, "acme/name", "broken/name")
    message = message_of(relay, newest)
    with pytest.raises(LookupError):
        relay.slack.button(message, "rollback")
    assert "Old" not in json.dumps(message.blocks)
    text = await relay.press("rollback", newest.id, relay.ada)
    assert "no earlier success" in text
    assert "stage/name" not in (await relay.typed("status acme/name", relay.ada)).text
    # Neither does the new one's deployment stand before the old one's.
    earlier = relay.past_deployment("stage/name", "failure", repo="acme/elsewhere", repo_url="x")
    assert "was requested" in await relay.press("retry", earlier, relay.ada)
    assert relay.created("stage/name")[-1].repository is old


async def test_a_command_finds_the_renamed_repository(relay: ActionWorld) -> None:
    added(relay, "acme/typed")
    repository = relay.github.rename_repository("acme/typed", "acme/renamed")
    reply = await relay.typed("acme/typed stage/typed-renamed v2", relay.ada)
    assert "Deploying v2 of acme/renamed to stage/typed-renamed" in reply.text
    [new] = relay.created("stage/typed-renamed")
    assert new.repository is repository
    sha = repository.push("One")
    question = await relay.typed("acme/typed production", relay.ada)
    assert question.text == f"Deploy *main* @ {sha[:7]} of acme/renamed to *production*?"
    # What was asked is done there, though another has both names by now.
    relay.github.rename_repository("acme/renamed", "acme/third")
    for name in ("acme/typed", "acme/renamed"):
        added(relay, name)
    last = relay.action()["id"]
    await relay.slack.press(question, "deploy", relay.ada)
    done = await relay.until_action(lambda row: row["id"] > last and row["reply"] is None)
    created = relay.github.deployments[done["created_deployment_id"]]
    assert (created.repository, created.sha) == (repository, sha)
