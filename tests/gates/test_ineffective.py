"""A gate of an environment whose tool starts by itself is refused, with the ways out."""

import pytest

from handlers import HANDLERS
from webhook.config.load import load
from webhook.errors import ConfigErrors
from webhook.gates import GATES

WINDOW = "{from: 2026-12-23, to: 2027-01-02%s}"
BY_ITSELF = "handler: github-actions"
BY_THE_RELAY = "handler: command, with: {run: [x]}"
WAYS_OUT = "Let the relay start it (mode: dispatch of github-actions, mode: promote of drone)"


def errors(text: str) -> list[str]:
    options = {name: handler.Options for name, handler in HANDLERS.items()}
    try:
        load(
            text,
            source="deploy.yml",
            environ={},
            handler_options=options,
            gates=tuple(GATES.values()),
        )
    except ConfigErrors as found:
        return list(found.errors)
    return []


def test_a_frozen_window_of_its_own() -> None:
    line = f"- {{name: production, {BY_ITSELF}, frozen_windows: [{WINDOW % ''}]}}"
    [error] = errors(f"envs:\n{line}")
    begin = "envs[0].frozen_windows: cannot hold the tool: it starts by itself, past every gate."
    assert error.startswith(f"deploy.yml:2:{line.index('frozen') + 1}: {begin} {WAYS_OUT}")
    assert "(protection_rule: true; docs/protection-rules.md), or remove this" in error
    assert errors(f"envs:\n{line.replace(BY_ITSELF, BY_THE_RELAY)}") == []


@pytest.mark.parametrize(
    ("covers", "refused"),
    [("", True), (", environments: [stage]", False), (", repos: [acme/site]", True)],
)
def test_one_at_the_top_of_the_file_that_covers_it(covers: str, refused: bool) -> None:
    found = errors(
        f"frozen_windows: [{WINDOW % covers}]\nenvs:\n"
        f"- {{name: stage, {BY_THE_RELAY}}}\n- {{name: production, {BY_ITSELF}}}"
    )
    begin = "deploy.yml:1:1: frozen_windows: cannot hold the tool of envs[1], which it covers: it"
    assert [error.startswith(begin) for error in found] == [True] * refused
    assert all(error.endswith("or leave it out of what this covers") for error in found)


def test_the_repositorys_own_file_where_the_tool_starts_by_itself() -> None:
    text = (
        f"repository_file: tighten\nenvs:\n- {{name: stage, {BY_THE_RELAY}}}\n"
        f"- {{name: production, {BY_ITSELF}%s}}"
    )
    [error] = errors(text % "")
    begin = "repository_file: cannot hold the tool of envs[1], which it covers: it"
    assert error.startswith(f"deploy.yml:1:1: {begin}")
    assert errors(text % ", repository_file: ignore") == []
    [error] = errors(f"envs:\n- {{name: x, {BY_THE_RELAY}, repository_file: yes}}")
    assert error.endswith("repository_file: 'yes' is not one of 'tighten' or 'ignore'")
