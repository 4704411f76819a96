import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from handlers.contract import State
from handlers.errors import Rejected
from tests.handlers.runs import (
    a_command,
    a_deployment,
    alive,
    done,
    ended,
    eventually,
    output_of,
    pid_of,
    run_directory,
)


async def test_a_command_that_exits_0_is_a_success(data_dir: Path) -> None:
    handler = a_command(data_dir, "echo hello")
    run = await done(handler)
    assert (run.id, run.state, run.description) == ("1234567890", State.SUCCESS, "")
    assert await output_of(handler) == b"hello\n"


async def test_a_command_is_in_progress_until_it_ends(data_dir: Path) -> None:
    handler = a_command(data_dir, f"until [ -e {data_dir}/go ]; do sleep 0.02; done")
    assert await handler.find(a_deployment()) is None
    run = await handler.start(a_deployment())
    assert run.state is State.IN_PROGRESS
    (data_dir / "go").touch()
    assert (await ended(handler, a_deployment())).state is State.SUCCESS


async def test_a_failure_shows_its_code_and_the_last_line(data_dir: Path) -> None:
    run = await done(a_command(data_dir, "echo starting; echo no such host >&2; echo; exit 3"))
    assert (run.state, run.description) == (State.FAILURE, "exit code 3: no such host")


async def test_a_silent_failure_shows_its_code(data_dir: Path) -> None:
    assert (await done(a_command(data_dir, ["false"]))).description == "exit code 1"


async def test_a_long_last_line_is_shortened(data_dir: Path) -> None:
    run = await done(a_command(data_dir, "printf 'x%.0s' $(seq 500); exit 1"))
    assert run.description == "exit code 1: " + "x" * 126 + "…"


@pytest.mark.parametrize("name", ["SEGV", "TERM", "HUP"])
async def test_a_command_killed_by_a_signal_is_a_failure(data_dir: Path, name: str) -> None:
    run = await done(a_command(data_dir, f"echo bye; kill -{name} $$"))
    assert (run.state, run.description) == (State.FAILURE, f"killed by SIG{name}")


async def test_stdout_and_stderr_are_kept_in_order(data_dir: Path) -> None:
    handler = a_command(data_dir, "for i in 1 2 3; do echo out $i; echo err $i >&2; done")
    await done(handler)
    assert await output_of(handler) == b"out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n"


async def test_output_can_be_followed(data_dir: Path) -> None:
    handler = a_command(data_dir, f"echo one; until [ -e {data_dir}/go ]; do sleep 0.02; done")
    await handler.start(a_deployment())
    output = run_directory(data_dir) / "output"
    await eventually(output.read_bytes)
    assert await handler.read_output(a_deployment(), 0) == b"one\n"
    assert await handler.read_output(a_deployment(), 2) == b"e\n"
    assert await handler.read_output(a_deployment(), 4) == b""
    (data_dir / "go").touch()
    await ended(handler, a_deployment())


async def test_a_deployment_that_never_ran_has_no_output(data_dir: Path) -> None:
    assert await a_command(data_dir, ["true"]).read_output(a_deployment(), 0) == b""


async def test_100_megabytes_neither_block_nor_fill_anything(data_dir: Path) -> None:
    script = f"yes | head -c 100000000; until [ -e {data_dir}/go ]; do sleep 0.02; done; echo last"
    secrets = {f"secret-number-{n}" for n in range(10)}
    handler = a_command(data_dir, script, secrets=secrets)
    run = await handler.start(a_deployment())
    output = run_directory(data_dir) / "output"
    await eventually(lambda: output.stat().st_size >= 1024 * 1024)
    (data_dir / "go").touch()

    peaks = []
    status = Path(f"/proc/{pid_of(data_dir, 'supervisor')}/status")
    while (await handler.check(a_deployment(), run)).state is State.IN_PROGRESS:
        lines = status.read_text().splitlines() if status.exists() else []
        peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        await asyncio.sleep(0.05)
    assert peaks
    assert max(peaks) < 64 * 1024

    kept = await output_of(handler)
    left_out = 100_000_005 - 1024 * 1024 - 16 * 1024
    assert f"\n[... {left_out:,} bytes left out ...]\n".encode() in kept
    assert kept.startswith(b"y\ny\n")
    assert kept.endswith(b"y\nlast\n")
    assert len(kept) < 1024 * 1024 + 17 * 1024


async def test_binary_output_breaks_nothing(data_dir: Path) -> None:
    handler = a_command(data_dir, r"printf '\377\000\376\n\033[0m\200'; exit 1")
    run = await done(handler)
    assert run.description == "exit code 1: �"
    assert await output_of(handler) == b"\xff\0\xfe\n\x1b[0m\x80"


async def test_secrets_are_nowhere_on_disk(data_dir: Path) -> None:
    handler = a_command(
        data_dir,
        "printf 'password: hunt'; sleep 0.3; echo er2; echo $TOKEN; exit 1",
        env=["TOKEN"],
        environ={**os.environ, "TOKEN": "t0ken-value"},
        secrets={"hunter2", "t0ken-value"},
    )
    run = await done(handler)
    assert run.description == "exit code 1: ***"
    assert await output_of(handler) == b"password: ***\n***\n"
    files = [file for file in data_dir.rglob("*") if file.is_file()]
    assert files
    assert not any(s in file.read_bytes() for file in files for s in (b"hunter2", b"t0ken-value"))


async def test_the_command_sees_only_the_environment_it_was_given(data_dir: Path) -> None:
    usual = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}
    environ = usual | {"TMPDIR": "/tmp", "USER": "relay", "REGION": "eu", "OTHER": "x"}
    handler = a_command(
        data_dir, ["env", "-0"], env=["REGION"], environ=environ | {"GITPLOY_SECRET_KEY": "s"}
    )
    await done(handler, a_deployment(payload={"né": 'a"\nb'}))
    lines = (await output_of(handler)).decode().removesuffix("\0").split("\0")
    found = dict(line.split("=", 1) for line in lines)
    assert json.loads(found.pop("DEPLOYMENT_PAYLOAD")) == {"né": 'a"\nb'}
    assert found.pop("DEPLOYMENT_PAYLOAD_FILE") == str(run_directory(data_dir) / "payload")
    assert found.pop("DEPLOYMENT_REPORT_URL").endswith("/deployments/1234567890/statuses")
    assert found.pop("DEPLOYMENT_REPORT_API") == "https://relay.example/api/v3"
    assert found.pop("DEPLOYMENT_REPORT_TOKEN") == "***"  # hidden in the output
    del environ["OTHER"]
    assert found == environ | {
        "DEPLOYMENT_ID": "1234567890",
        "DEPLOYMENT_ENVIRONMENT": "production",
        "DEPLOYMENT_REF": "main",
        "DEPLOYMENT_SHA": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
        "DEPLOYMENT_TASK": "deploy",
        "DEPLOYMENT_REPO": "acme/shop",
        "DEPLOYMENT_CREATOR": "octocat",
    }


async def test_the_supervisor_keeps_the_relays_environment_from_the_command(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITPLOY_SECRET_KEY", "s")
    handler = a_command(data_dir, "cat /proc/$PPID/environ")
    await done(handler)
    assert b"GITPLOY" not in await output_of(handler)


async def test_arguments_are_filled_in_and_no_shell_reads_them(data_dir: Path) -> None:
    handler = a_command(data_dir, ["printf", "%s|", "{ref}", "$HOME", "{payload.a b}; id", "{{}}"])
    await done(handler, a_deployment(ref="x'y z", payload={"a b": "`id`"}))
    assert await output_of(handler) == b"x'y z|$HOME|`id`; id|{}|"


async def test_the_command_runs_in_its_directory_and_group(data_dir: Path) -> None:
    handler = a_command(data_dir, "pwd; ps -o pgid= -p $$ | tr -d ' '; cat", cwd=str(data_dir))
    await done(handler)
    pid = pid_of(data_dir, "command")
    assert pid != pid_of(data_dir, "supervisor")
    assert await output_of(handler) == f"{data_dir}\n{pid}\n".encode()


async def test_ordinary_signals_reach_the_command(data_dir: Path) -> None:
    handler = a_command(data_dir, "grep SigIgn /proc/self/status")
    await done(handler)
    assert (await output_of(handler)).split() == [b"SigIgn:", b"0" * 16]


async def test_the_environment_url_comes_from_the_options(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true"], environment_url="https://{environment}.acme.io/{sha}")
    run = await done(handler, a_deployment(sha="abc"))
    assert run.environment_url == "https://production.acme.io/abc"


async def test_the_commands_environment_url_wins(data_dir: Path) -> None:
    script = "echo ::environment_url::https://pr-7.acme.io"
    run = await done(a_command(data_dir, script, environment_url="https://acme.io"))
    assert run.environment_url == "https://pr-7.acme.io"


async def test_a_failure_shows_only_the_url_that_the_command_named(data_dir: Path) -> None:
    handler = a_command(data_dir, ["false"], environment_url="https://acme.io")
    assert (await done(handler)).environment_url == ""


@pytest.mark.slow
async def test_what_holds_the_pipe_open_does_not_hold_up_the_run(data_dir: Path) -> None:
    service = f"sh -c 'echo $$ > {data_dir}/pid; exec sleep 60'"
    run = await done(a_command(data_dir, f"{service} & until [ -s {data_dir}/pid ]; do :; done"))
    assert (run.state, run.description) == (State.SUCCESS, "")
    pid = int((data_dir / "pid").read_text())
    assert alive(pid), "what a deployment starts and leaves behind is left alone"
    os.kill(pid, 9)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0, "the command './deploy' is not there"),
        ("#!/bin/sh\n", 0o644, "the command './deploy' is not executable"),
        ("#!/no/such/thing\n", 0o755, "the interpreter that the command './deploy' names is not t"),
        ("", 0o755, "the command './deploy' could not be started: Exec format error"),
    ],
)
async def test_a_command_that_cannot_be_started_is_an_error(
    data_dir: Path, content: str | None, mode: int, message: str
) -> None:
    if content is not None:
        (data_dir / "deploy").write_text(content)
        (data_dir / "deploy").chmod(mode)
    handler = a_command(data_dir, ["./deploy"], cwd=str(data_dir))
    run = await handler.start(a_deployment())
    assert (run.state, run.description[: len(message)]) == (State.ERROR, message)
    assert await handler.find(a_deployment()) == run


READS_THE_PAYLOAD = """
import json, os, sys
[name] = json.load(open(os.environ["DEPLOYMENT_PAYLOAD_FILE"]))
print(name, "DEPLOYMENT_PAYLOAD" in os.environ)
"""


@pytest.mark.parametrize(("size", "in_variable"), [(10, True), (200_000, False), (20**6, False)])
async def test_a_payload_of_any_size_is_in_a_file(
    data_dir: Path, size: int, in_variable: bool
) -> None:
    handler = a_command(data_dir, [sys.executable, "-c", READS_THE_PAYLOAD])
    run = await done(handler, a_deployment(payload={"né": "y" * size}))
    assert (run.state, await output_of(handler)) == (
        State.SUCCESS,
        f"né {in_variable}\n".encode(),
    )


async def test_a_payload_that_is_too_large_for_an_argument_is_named(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true", "--notes={payload.notes}"])
    message = (
        "'--notes={payload.notes}' is too long for a command's argument; read the payload from"
    )
    with pytest.raises(Rejected, match=message):
        await handler.start(a_deployment(payload={"notes": "y" * 200_000}))
    many = a_command(data_dir, ["true", *["{payload.notes}"] * 100])
    run = await many.start(a_deployment(payload={"notes": "y" * 100_000}))
    assert run.description.endswith("Read it from the file in DEPLOYMENT_PAYLOAD_FILE")
