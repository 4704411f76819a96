from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from handlers import HANDLERS
from handlers.command import Command
from handlers.contract import Handler, KeepsOutput, State
from handlers.errors import Rejected
from tests.handlers.runs import a_command, a_context, a_deployment, done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "run\n  Field required"),
        ({"run": []}, "at least 1 item"),
        ({"run": "./bin/deploy"}, "valid list"),
        ({"run": ["x", 1]}, "valid string"),
        ({"run": ["x\0"]}, "cannot contain a NUL"),
        ({"run": ["deploy", "{branch}"]}, "run.1\n.*unknown placeholder '{branch}'"),
        ({"run": ["x"], "cwd": "bin"}, "'bin' must be an absolute path"),
        ({"run": ["x"], "env": ["A", "B", "HOME"]}, "not set in the relay's environment: 'A', 'B'"),
        ({"run": ["x"], "environment_url": "https://{host}"}, "unknown placeholder '{host}'"),
        ({"run": ["x"], "environment_url": "shop.example.com"}, "must begin with https://"),
        ({"run": ["x"], "environment_url": "https://a b/{ref}"}, "'https://a b' is not an address"),
        ({"run": ["x"], "environment_url": "https://u:p@a/"}, "no user or password"),
        ({"run": ["x"], "environment_url": "https://a?{report_token}"}, "shown to everybody"),
        ({"run": ["x"], "output_limit": 1023}, "greater than or equal to 1024"),
        ({"run": ["x"], "output_limit": "1MB"}, "valid integer"),
        ({"run": ["x"], "shell": True}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_work_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Command.Options.model_validate(options, context={"environ": {"HOME": "/root"}})


@pytest.mark.parametrize("name", ["ref", "sha", "environment", "task", "creator", "repo"])
@pytest.mark.parametrize("character", ["\n", "\0", "\x7f"])
async def test_control_characters_are_rejected(data_dir: Path, name: str, character: str) -> None:
    handler = a_command(data_dir, ["true"])
    fact: dict[str, Any] = {name: f"a{character}b"}
    with pytest.raises(Rejected, match=f"the {name} contains a control character"):
        await handler.start(replace(a_deployment(), **fact))
    assert await handler.find(a_deployment()) is None


@pytest.mark.parametrize("ref", ["-", "--upload-pack=touch /tmp/x"])
async def test_a_ref_that_resembles_an_option_is_rejected(data_dir: Path, ref: str) -> None:
    with pytest.raises(Rejected, match="would be read as an option"):
        await a_command(data_dir, ["true"]).start(a_deployment(ref=ref))


async def test_a_missing_payload_key_is_rejected(data_dir: Path) -> None:
    with pytest.raises(Rejected, match="payload has no 'region'"):
        await a_command(data_dir, ["true", "{payload.region}"]).start(a_deployment())


@pytest.mark.parametrize("payload", [None, {"url": "javascript:alert"}, {"url": "https://a\nb"}])
async def test_a_link_that_is_none_is_left_out(data_dir: Path, payload: Any) -> None:
    handler = a_command(data_dir, ["true"], environment_url="{payload.url}")
    run = await done(handler, a_deployment(payload=payload))
    assert (run.state, run.environment_url) == (State.SUCCESS, "")


async def test_a_missing_directory_is_named(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true"], cwd=str(data_dir / "gone"))
    with pytest.raises(Rejected, match=f"the directory '{data_dir}/gone' is not there"):
        await handler.start(a_deployment())
    assert await handler.find(a_deployment()) is None


async def test_nothing_is_started_after_the_deadline(data_dir: Path) -> None:
    handler = a_command(data_dir, ["true"])
    with pytest.raises(Rejected, match="the deployment timed out before"):
        await handler.start(a_deployment(deadline=datetime.now(UTC) - timedelta(seconds=1)))


def test_the_command_handler_keeps_the_contract(data_dir: Path) -> None:
    options = HANDLERS["command"].Options.model_validate({"run": ["true"]}, context={"environ": {}})
    handler: Handler = HANDLERS["command"](options, a_context(data_dir))
    also: Handler = a_command(data_dir, ["true"])
    assert isinstance(handler, KeepsOutput)
    assert isinstance(also, KeepsOutput)
