"""Deployments and commands for the tests of the command handler."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar, cast

from handlers.command import Command, CommandOptions
from handlers.contract import Deployment, GitHubApi, HandlerContext, ReportCredentials, Run
from handlers.http import Http
from handlers.supervision import rundir

T = TypeVar("T")


class Impatient(Command):
    grace = timedelta(seconds=0.5)


def a_deployment(*, lasting: float = 60, **facts: Any) -> Deployment:
    timeout = timedelta(seconds=lasting)
    deployment = Deployment(
        id=1234567890,
        repo="acme/shop",
        repo_id=777,
        installation_id=888,
        environment="production",
        ref="main",
        sha="f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
        task="deploy",
        creator="octocat",
        payload=None,
        created_at=datetime.now(UTC) - timedelta(seconds=1),
        timeout=timeout,
        deadline=datetime.now(UTC) + timeout,
        report=ReportCredentials(
            url="https://relay.example/api/v3/repos/acme/shop/deployments/1234567890/statuses",
            api="https://relay.example/api/v3",
            token="grt_a-token-for-one-deployment",
        ),
    )
    return replace(deployment, **facts)


def a_context(
    data_dir: Path,
    environ: Mapping[str, str] | None = None,
    secrets: frozenset[str] = frozenset(),
    *,
    http: Http | None = None,
    github: GitHubApi | None = None,
) -> HandlerContext:
    """What the relay lends to a handler; calls to the outside only where the test gives them."""
    return HandlerContext(
        data_dir=data_dir,
        environ=environ or {},
        secrets=secrets,
        http=cast("Http", http),
        github=cast("GitHubApi", github),
    )


def a_command(data_dir: Path, run: list[str] | str, **more: Any) -> Impatient:
    """A handler for an argv, or for a script of the shell."""
    environ = more.pop("environ", os.environ)
    context = a_context(data_dir, environ, frozenset(more.pop("secrets", ())))
    argv = ["sh", "-c", run, "sh"] if isinstance(run, str) else run
    options = CommandOptions.model_validate({"run": argv, **more}, context={"environ": environ})
    return Impatient(options, context)


async def eventually(condition: Callable[[], T], within: float = 15) -> T:
    """The first thing the condition gives that is true."""
    deadline = monotonic() + within
    while not (result := condition()):
        assert monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)
    return result


async def ended(handler: Command, deployment: Deployment, within: float = 15) -> Run:
    deadline = monotonic() + within
    run = await handler.find(deployment)
    while run and not run.state.final:
        assert monotonic() < deadline, "the run did not end"
        await asyncio.sleep(0.01)
        run = await handler.check(deployment, run)
    assert run
    return run


async def done(handler: Command, deployment: Deployment | None = None) -> Run:
    """Start and follow to the end."""
    deployment = deployment or a_deployment()
    await handler.start(deployment)
    return await ended(handler, deployment)


async def output_of(handler: Command, deployment: Deployment | None = None) -> bytes:
    deployment = deployment or a_deployment()
    output = b""
    while more := await handler.read_output(deployment, len(output)):
        output += more
    return output


def run_directory(data_dir: Path) -> Path:
    return data_dir / "runs" / str(a_deployment().id)


def pid_of(data_dir: Path, who: str) -> int:
    """`supervisor` or `command`."""
    pid = (rundir.read(run_directory(data_dir), who) or {})["pid"]
    assert isinstance(pid, int)
    return pid


def alive(pid: int) -> bool:
    """Zombies are not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def a_count(data_dir: Path, then: str = "") -> Impatient:
    """A command that leaves a line in a file each time it is run."""
    data_dir.mkdir(exist_ok=True)
    return a_command(data_dir, f"echo ran >> {data_dir}/count; {then}")


def count(data_dir: Path) -> int:
    file = data_dir / "count"
    return len(file.read_text().splitlines()) if file.exists() else 0
