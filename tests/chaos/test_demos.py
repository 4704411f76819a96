"""The demos as a person starts them."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.test_processes import ROOT


async def one_that_fails_half_way_says_so_in_a_sentence(folder: Path) -> None:
    """The shell that the deployments run in does not work."""
    shell = folder / "sh"
    shell.write_text("#!/bin/false\n")
    shell.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "demo"),
        env={"PATH": path, "HOME": str(folder), "TMPDIR": str(folder)},
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 1
    sentence, *lines = errors.decode().splitlines()
    assert sentence.startswith("The demo failed: v1.0 to staging ended as failure, exit code 1. ")
    assert "  status written: exit code 1" in lines
    assert len(lines) <= 8
    assert list(folder.glob("gitploy-relay-demo-*")) == []


async def an_interrupted_one_leaves_nothing_behind(folder: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "demo"), env=variables, cwd=ROOT, stdout=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"GitHub" not in await process.stdout.readline():
            pass
        process.terminate()
        await process.communicate()
    left = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in str(p.info["cmdline"])]
    assert left == []
    assert list(folder.glob("gitploy-relay-demo-*")) == []


async def story_of(folder: Path, *options: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "demo", "--json", *options),
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        cwd=ROOT,
        stdout=PIPE,
    )
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(output)


async def they_write_their_stories_as_json(folder: Path) -> None:
    """That of all tools follows each to its end."""
    story, of_all_tools = await asyncio.gather(story_of(folder), story_of(folder, "--all"))
    deployments = story["deployments"]
    assert [(d["environment"], d["states"]) for d in deployments] == [
        ("staging", ["queued", "in_progress", "success"]),
        ("production", ["queued", "in_progress", "success"]),
        ("production", ["queued", "in_progress", "failure"]),
        ("production", ["queued", "in_progress", "success"]),  # rolled back in Slack
        ("production", ["queued", "queued", "in_progress", "success"]),  # waited for the unlock
    ]
    assert all("/deployments/acme/site/" in d["log_url"] for d in deployments)
    main_messages = [m for m in story["slack"] if m["channel"] == "#deploys" and not m["in_thread"]]
    assert len(main_messages) == 5
    assert "smoke test" in main_messages[2]["text"]
    assert "rollback" in main_messages[3]["text"]
    failed = [m for m in story["slack"] if m["deployment"] == deployments[2]["id"]]
    assert [m["channel"] for m in failed if not m["in_thread"]] == ["#deploys", "#oncall"]
    assert any("Rollback to v1.0" in m["text"] for m in failed if m["in_thread"])
    ends = {d["environment"]: d["states"][-1] for d in of_all_tools["deployments"]}
    ends.pop("staging")
    ends.pop("production")
    assert len(ends) > 5
    assert {name for name, state in ends.items() if state != "success"} == {"load-test"}


async def test_demos_end_as_they_should() -> None:
    """Each waits most of its time, so they are beside each other."""
    checks = (
        they_write_their_stories_as_json,
        one_that_fails_half_way_says_so_in_a_sentence,
        an_interrupted_one_leaves_nothing_behind,
    )
    with contextlib.ExitStack() as folders:
        await asyncio.gather(
            *(
                check(Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="relay-"))))
                for check in checks
            )
        )
