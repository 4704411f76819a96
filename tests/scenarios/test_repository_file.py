"""A repository's own deploy.yml counts where it is stricter, as GitHub shows it before a start."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.git import Symlink
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from tests.world import QUICK, World, live, until

DEPLOY_YML = """
repository_file: tighten
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    serialization: false
    with: {run: ["true"]}
  - name: sandbox
    handler: command
    repository_file: ignore
    with: {run: ["true"]}
"""
OPEN = "envs: [{name: production}]\n"
FROZEN = """envs:
  - name: production
    frozen_windows: [{start: "0 0 * * *", duration: 25h}]
"""
CONTENTS = "GET /repos/*/contents/*"
TIMING = replace(QUICK, gates_asked_again_after=timedelta(seconds=0.2))


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML, timing=TIMING, workers=2) as world:
        world.github.repository(REPOSITORY).push("Begin", files={"README.md": "x"})
        yield world


def push(world: World, text: Any, **options: Any) -> str:
    sha: str = world.github.repository(REPOSITORY).push(
        "Change", files={"deploy.yml": text}, **options
    )
    return sha


async def said(world: World, deployment: Deployment, start: str) -> str:
    """The status of it that begins so, as soon as there is one."""

    def found() -> str | None:
        texts = [one.description for one in world.github.statuses(deployment.id)]
        return next((text for text in texts if text.startswith(start)), None)

    text: str = await until(found)
    return text


async def test_what_github_does_not_show_now_is_waited_for(world: World) -> None:
    push(world, OPEN)
    world.github.faults.add(CONTENTS, Fault.status(502), 1000)
    held = await world.deploy()
    # Another environment leaves the file alone.
    await world.github.wait_for((await world.deploy("sandbox")).id, "success")
    text = await said(world, held, "Cannot read the repository's deploy.yml: GitHub does not")
    assert text.endswith(" answer (no known end). It goes on by itself once it does")
    await world.stop_workers()
    world.start_worker()
    world.github.faults.clear()
    await world.github.wait_for(held.id, "success")
    assert world.github.states(held.id).count("queued") == 2

    world.sandbox.installation.permissions.pop("contents")
    world.github.world.tokens.clear()
    held = await world.deploy()
    text = await said(world, held, "Cannot read the repository's deploy.yml: the App lacks")
    remedy = "Give it that, and accept it where it is installed"
    assert text.endswith(f"contents: read (no known end). {remedy}")
    world.sandbox.installation.permissions["contents"] = "read"
    await world.github.wait_for(held.id, "success")


async def test_a_file_that_is_none_lets_nothing_start(world: World) -> None:
    assert world.github.states((await world.deployed()).id)[-1] == "success"
    for file, why in (
        (Symlink("/etc/passwd"), "is a link to something that is no file of this repository"),
        (b"x" * (2**20 + 1), "is larger than 1 MB"),
    ):
        push(world, file)
        deployment = await world.deploy()
        status = await world.github.wait_for(deployment.id, "error")
        expected = f"The repository's deploy.yml {why}. Commit a plain file there, or remove it"
        assert status.description == expected
    world.github.faults.add(CONTENTS, Fault.status(404, {"message": "Not Found"}))
    deployment = await world.deploy()  # a single 404 does not mean that it is gone
    assert (await world.github.wait_for(deployment.id, "error")).description == expected
    assert await said(world, deployment, "The repository's deploy.yml seems to be gone (until ")
    push(world, None)
    deployment = await world.deploy()
    await world.github.wait_for(deployment.id, "success")
    assert await said(world, deployment, "The repository's deploy.yml seems to be gone (until ")
    world.github.repository(REPOSITORY).push("In a folder", files={"deploy.yml/x": "y"})
    deployment = await world.deploy()
    status = await world.github.wait_for(deployment.id, "error")
    assert "deploy.yml is a directory" in status.description
