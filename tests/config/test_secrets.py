"""What `${NAME}` fills in appears in no error, whatever the place and the handler."""

from pathlib import Path

import pytest

from handlers import HANDLERS
from tests.config.test_load import errors
from webhook.errors import ConfigErrors
from webhook.notifiers import DESTINATIONS
from webhook.startup import read_config

PASTED = (
    "recognisable-one-1\nrecognisable-two-2",
    "https://recognisable one@host/{ref",
    "recognisable/" * 30,
)
ENV_KEYS = ("name", "timeout", "handler", "production", "repos")


def refuse(text: str, tmp_path: Path, value: str) -> None:
    path = tmp_path / "deploy.yml"
    path.write_text(text)
    found: list[str] = []
    try:
        read_config({"GITPLOY_CONFIG": str(path), "PASTED": value})
    except ConfigErrors as error:
        found += error.errors
    assert not [error for error in found if "recognisable" in error]


@pytest.mark.parametrize("handler", HANDLERS)
def test_no_option_of_a_handler_is_quoted(handler: str, tmp_path: Path) -> None:
    with_one = [
        f"{option}: {written}"
        for option in HANDLERS[handler].Options.model_fields
        for written in ('"${PASTED}"', '["${PASTED}"]', '{K: "${PASTED}"}')
    ]
    envs = [
        f"{{name: x{number}, handler: {handler}, with: {{{one}}}}}"
        for number, one in enumerate(with_one)
    ]
    for value in PASTED:
        refuse(f"envs: [{', '.join(envs)}]", tmp_path, value)


@pytest.mark.parametrize("notifier", DESTINATIONS)
def test_no_key_of_a_destination_is_quoted(notifier: str, tmp_path: Path) -> None:
    rest = "handler: command, with: {run: [a]}"
    envs = [
        f"{{name: x{number}, {rest}, {notifier}: {{{key}: {written}}}}}"
        for number, key in enumerate(DESTINATIONS[notifier].model_fields)
        for written in ('"${PASTED}"', '["${PASTED}"]')
    ]
    for value in PASTED:
        refuse(f"envs: [{', '.join(envs)}]", tmp_path, value)


@pytest.mark.parametrize("key", ENV_KEYS)
def test_no_key_of_an_environment_is_quoted(key: str, tmp_path: Path) -> None:
    keys = {"name": "x", "handler": "command", "with": "{run: [a]}"} | {key: '"${PASTED}"'}
    for value in PASTED:
        env = ", ".join(f"{name}: {text}" for name, text in keys.items())
        refuse(f"envs: [{{{env}}}]", tmp_path, value)


@pytest.mark.parametrize("value", ['"quoted-token"', "'quoted-token'", "${OTHER}", "$(cat token)"])
def test_a_misread_secret_is_named(value: str) -> None:
    text = 'envs: [{name: x, handler: a-tool, with: {option: "${A_TOKEN}"}}]'
    (error,) = [one for one in errors(text, A_TOKEN=value) if "A_TOKEN" in one]
    assert "needs ${A_TOKEN}, which " in error
    assert "token)" not in error
    assert "quoted-token" not in error
