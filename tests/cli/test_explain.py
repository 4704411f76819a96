"""`explain`: what holds for an environment, where that comes from, and what a deployment meets."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.github.server import PERMISSIONS, GitHub
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.cli.test_locks import done, refused
from tests.world import World, live

RELAY_YML = """
envs:
  - name: production
    handler: command
    wait_limit: 2h
    required_contexts: [build, lint]
    repository_file: tighten
    review: {enabled: true, reviewers: [mona, hubot]}
    with: {run: ["true", "${API_TOKEN}"]}
    frozen_windows: [{start: "0 0 1 1 *", duration: 1h, reason: "As ${API_TOKEN} is frozen"}]
  - {name: staging, handler: command, with: {run: ["true"]}}
  - {name: jobs, handler: github-actions, protection_rule: true}
"""
OWN_YML = """
envs:
  - name: production
    deployable_ref: ^main$
    serialization: false
    reqired_contexts: [test]
    description: The shop
"""
GRANTED = {**PERMISSIONS, "checks": "read", "statuses": "read"}


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    sandbox = Sandbox(GitHub(permissions=GRANTED))
    environ = {"API_TOKEN": "a-secret-of-the-tool"}
    async with live(store_url, tmp_path, RELAY_YML, sandbox=sandbox, environ=environ) as world:
        yield world


def rows(output: str) -> dict[str, list[dict[str, Any]]]:
    """Of the JSON, by the section."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in output.splitlines():
        row = json.loads(line)
        found.setdefault(row.pop("section"), []).append(row)
    return found


async def test_an_environment_is_explained_as_a_deployment_would_meet_it(world: World) -> None:
    site = world.github.repository(REPOSITORY)
    sha = site.push("One", files={"deploy.yml": OWN_YML})
    site.set_check(sha, "build", "success")
    await done(world, "lock", REPOSITORY, "production", "--reason", "On fire", "--for", "1h")
    await world.idle()
    before = len(world.github.deployments)

    text = await done(world, "explain", REPOSITORY, "Production", "--as", "mona")
    assert text.startswith(f"acme/site to production: what holds, and what main ({sha[:7]})")
    [limit] = [line.split() for line in text.splitlines() if line.startswith("wait_limit ")]
    assert " ".join(limit) == "wait_limit the operator's deploy.yml, line 5 2h"
    assert "Note: Nobody is named" not in text
    assert "a-secret-of-the-tool" not in text

    found = rows(await done(world, "explain", REPOSITORY, "production", "--json", "--ref", sha))
    policy = {one["key"]: (one["value"], one["from"]) for one in found["policy"]}
    assert policy["review"] == ("1 of mona, hubot", "the operator's deploy.yml, line 8")
    assert policy["deployable_ref"] == ("^main$", "the repository's deploy.yml, line 4")
    assert policy["timeout"] == ("30m", "the default")
    assert policy["description"] == ("The shop", "the repository's deploy.yml, line 7")
    assert policy["frozen_windows"][0].startswith("As *** is frozen (")
    assert "ignored: the repository's deploy.yml, line 5 says false" in policy["serialization"][0]
    assert not policy.keys() & {"with", "options", "slack"}
    [read, misspelled] = found["file"]
    assert (read["kind"], read["at"], misspelled["line"]) == ("ok", "default branch", "6")
    assert "did you mean 'required_contexts'?" in misspelled["message"]
    gates = {one["gate"]: one for one in found["gates"]}
    assert (gates["freeze"]["verdict"], gates["lock"]["verdict"]) == ("allows", "waits")
    assert gates["deployable_ref"]["reason"].startswith(f"{sha} may not be deployed here")
    assert gates["deployable_ref"]["verdict"] == "refuses"
    assert "On fire. " in gates["lock"]["reason"]
    assert gates["lock"]["until"].endswith("UTC")
    assert "one more, as nobody knows who asked" in gates["approval"]["reason"]
    states = {one["context"]: one["state"] for one in found["contexts"]}
    assert states == {"build": "success", "lint": "not reported"}

    jobs = rows(await done(world, "explain", REPOSITORY, "jobs", "--json"))
    assert {one["key"]: one["value"] for one in jobs["policy"]}["protection_rule"] == "true"
    asked = "Its gates hold only the jobs that the App's protection rule asks about"
    assert {"caveat": asked} in jobs["caveats"]

    await world.stop_workers()
    staging = rows(await done(world, "explain", REPOSITORY, "staging", "--json"))
    assert staging.keys() == {"policy", "gates", "caveats"}
    assert {one["verdict"] for one in staging["gates"]} == {"allows"}
    caveats = [one["caveat"] for one in staging["caveats"]]
    assert "No worker runs, so that nothing would start until one does" in caveats
    assert len(world.github.deployments) == before


async def test_what_cannot_be_explained_says_why(world: World) -> None:
    sha = world.github.repository(REPOSITORY).push("One")
    known = "No route for environment 'stage' in this relay; known here: production, staging, jobs"
    assert await refused(world, "explain", REPOSITORY, "stage") == f"{known}\n"
    assert "is a pattern" in await refused(world, "explain", REPOSITORY, "stag*")
    missing = await refused(world, "explain", REPOSITORY, "staging", "--ref", "gone")
    assert missing == "acme/site has no branch, tag or commit 'gone'\n"
    unknown = await refused(world, "explain", "acme/sight", "staging")
    assert unknown.startswith("GitHub shows the App no repository acme/sight; check its name")
    assert "is not a repository" in await refused(world, "explain", "site", "staging")

    del world.sandbox.installation.permissions["contents"]
    found = rows(await done(world, "explain", REPOSITORY, "production", "--json", "--as", "mona"))
    [own] = [one for one in found["gates"] if one["gate"] == "repository_file"]
    assert "the App lacks contents: read. Give it that" in own["reason"]
    assert found["caveats"][0]["caveat"].startswith(
        "The commit of main is not known: the App lacks"
    )
    assert sha


async def test_what_has_succeeded_before_is_explained_as_a_rollback(
    store_url: str, tmp_path: Path
) -> None:
    relay_yml = """
    repository_file: tighten
    envs: [{name: production, handler: command, with: {run: ["true"]}}]
    """
    own = "envs: [{name: production, deployable_ref: ^main$, task: 'a${GITPLOY_ROLLBACK_TASK}'}]"
    async with live(store_url, tmp_path, relay_yml) as world:
        sha = world.github.repository(REPOSITORY).push("One", files={"deploy.yml": own})
        asked = ("explain", REPOSITORY, "production", "--ref", sha, "--json")
        before = rows(await done(world, *asked))
        await world.deployed()
        after = rows(await done(world, *asked))
    found = []
    for one in (before, after):
        [task] = [row["value"] for row in one["policy"] if row["key"] == "task"]
        [ref] = [row["verdict"] for row in one["gates"] if row["gate"] == "deployable_ref"]
        found.append((task, ref, any("as a rollback" in row["caveat"] for row in one["caveats"])))
    assert found == [("a", "refuses", False), ("arollback", "allows", True)]
