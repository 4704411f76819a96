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
from sandbox.github.server import EVENTS, GitHub
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.world import QUICK, World, live, until

DEPLOY_YML = """
repository_file: tighten
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    serialization: false
    with: {run: ["true"]}
  - name: guarded
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [hubot]}
  - name: slow
    handler: command
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
  - name: sandbox
    handler: command
    repository_file: ignore
    with: {run: ["true"]}
"""
OPEN = "envs: [{name: production}]\n"
FROZEN = """envs:
  - name: slow
    frozen_windows: [{start: "0 0 * * *", duration: 25h}]
  - name: production
    frozen_windows: [{start: "0 0 * * *", duration: 25h}]
"""
CHANGED_AT = "select changed_at from repository_files where ref = 'HEAD'"
CONTENTS = "GET /repos/*/contents/*"
SOON = timedelta(seconds=0.2)
TIMING = replace(QUICK, gates_asked_again_after=SOON, repository_file_trusted_for=SOON)
# By an old copy it may wait, but not start.
TRUSTING = replace(TIMING, repository_file_trusted_for=timedelta(hours=1))


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


def reads(world: World) -> list[int | None]:
    """What GitHub has returned of the file at the head."""
    calls = (one for one in world.github.calls if "/contents/" in one.path)
    return [one.status for one in calls if not one.query]


async def test_what_github_does_not_show_now_is_waited_for(world: World) -> None:
    push(world, OPEN)
    world.github.faults.add(CONTENTS, Fault.status(200, {"message": "not GitHub's"}))
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


async def test_what_holds_is_what_the_file_says_at_the_start(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path, DEPLOY_YML, timing=TRUSTING) as world:
        push(world, OPEN)
        running = await world.begin_slow(gate)
        held = await world.deploy("slow", payload={"gate": str(gate)}, ref="v2")
        await said(world, held, f"Waits for deployment {running.id}")
        push(world, FROZEN)
        gate.touch()
        await world.github.wait_for(running.id, "success")
        assert await said(world, held, "Frozen: ")
        assert not world.rows("select from deployments where id = %s and run is not null", held.id)


async def test_only_what_is_stricter_counts(world: World) -> None:
    """Where the operator asks nobody, where both ask different people, and where they ask less."""
    first = world.github.repository(REPOSITORY).sha("main")
    reviewed = "envs:\n  - {name: production, review: {enabled: true, reviewers: [mona]}}\n"
    push(world, reviewed + "  - {name: guarded, review: {enabled: true, reviewers: [mona]}}\n")
    # Of a file that is not known yet, too, a single 404 does not mean that there is none.
    world.github.faults.add(CONTENTS, Fault.status(404, {"message": "Not Found"}))
    held = await world.deploy(ref=first)
    text = await said(world, held, "Waits for approval: 0 of 1")
    assert text.endswith("Reviewers: mona")
    nobody = await world.deploy("guarded")
    status = await world.github.wait_for(nobody.id, "error")
    assert status.description.startswith("Needs 1 approval, and nobody may give one by both")
    assert "Name reviewers of the operator's file there" in status.description
    looser = "{name: guarded, review: {enabled: false}, serialization: false}"
    push(world, f"envs:\n  - {looser}\n  - name: production\n")
    await world.github.wait_for(held.id, "success")
    assert await said(world, await world.deploy("guarded"), "Waits for approval: 0 of 1")
    push(world, "envs:\n  - name: production\n    review: 7\n")
    status = await world.github.wait_for((await world.deploy()).id, "error")
    invalid = "The repository's deploy.yml is invalid, line 3, column 13"
    assert status.description.startswith(invalid)


async def test_what_was_wrong_long_ago_does_not_prevent_a_rollback(world: World) -> None:
    reviewed = "envs: [{{name: production, review: {{enabled: true, reviewers: [{}]}}}}]"
    old = push(world, reviewed.format("retired"), ref="old")
    wrong = push(world, "envs: [{name: production, review: 7}]", ref="wrong")
    push(world, reviewed.format("mona"))
    for sha in (old, wrong):
        back = await world.deploy(ref=sha)
        assert (await said(world, back, "Waits for approval: 0 of 1")).endswith("Reviewers: mona")


async def test_a_push_to_the_file_ends_a_wait_at_once(store_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox(github=GitHub(events=[*EVENTS, "push"]))
    rarely = replace(TRUSTING, gates_asked_again_after=QUICK.gates_asked_again_after)
    async with live(store_url, tmp_path, DEPLOY_YML, sandbox=sandbox, timing=rarely) as world:
        first = world.github.repository(REPOSITORY).push("Begin")
        push(world, FROZEN)
        held = await world.deploy(ref=first)
        assert await said(world, held, "Frozen: ")
        await world.idle()
        before = reads(world)
        world.bring_forward("task = 'advance'")
        await world.idle()
        assert reads(world) == before  # it is not read again while nothing changes
        push(world, OPEN)
        await world.github.wait_for(held.id, "success", within=5)
        # A commit may add gates to its own deployments, whatever the head says.
        frozen = push(world, FROZEN, ref="topic")
        await said(world, await world.deploy(ref=frozen), "Frozen: ")
        assert 200 in reads(world)[len(before) :]
        assert reads(world)[-1] == 304
        push(world, OPEN)
        await world.idle()
        site, [known] = world.github.repository(REPOSITORY), world.rows(CHANGED_AT)
        with world.environment_locked(site.id, "production") as somebody_waits:
            late = await world.deploy(ref=first)
            await until(lambda: somebody_waits() or None)
            # It was read already, and its start waits for its turn.
            push(world, FROZEN)
            await until(lambda: world.rows(CHANGED_AT) != [known] or None)
        assert await said(world, late, "Frozen: ")
        assert "in_progress" not in world.github.states(late.id)
