"""A gate cannot hold a tool that starts by itself, so that the two are refused together."""

import pytest

from handlers import HANDLERS
from webhook.config.environments import Config
from webhook.config.load import load
from webhook.errors import ConfigErrors
from webhook.gates import GATES
from webhook.gates.contract import keys_of
from webhook.gates.serialization import SerializationKeys
from webhook.notifiers import DESTINATIONS

WATCH = "github-actions\n    with: {mode: watch}"
WATCH_BY_DEFAULT = "github-actions"
NATIVE = "drone\n    with: {url: 'https://drone.acme.io', token: x, mode: native}"
DISPATCH = "github-actions\n    with: {mode: dispatch, workflow: deploy.yml}"
PROMOTE = "drone\n    with: {url: 'https://drone.acme.io', token: x}"


def config(handler: str, more: str = "") -> Config:
    return load(
        f"envs:\n  - name: production\n{more}    handler: {handler}\n",
        source="deploy.yml",
        environ={},
        handler_options={name: handler.Options for name, handler in HANDLERS.items()},
        notifiers=DESTINATIONS,
        gates=tuple(GATES.values()),
    )


@pytest.mark.parametrize("handler", [WATCH, WATCH_BY_DEFAULT, NATIVE])
def test_a_gate_of_a_tool_that_starts_by_itself_is_an_error(handler: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        config(handler, "    serialization: true\n")
    [error] = caught.value.errors
    rule = (
        "or let GitHub ask the relay before the jobs of that environment run"
        " (protection_rule: true; docs/protection-rules.md), "
    )
    assert error == (
        "deploy.yml:3:5: envs[0].serialization: cannot hold the tool: it starts by itself, past"
        " every gate. Let the relay start it (mode: dispatch of github-actions, mode: promote of"
        f" drone), {'' if handler == NATIVE else rule}or remove this"
    )


def test_a_protection_rule_that_the_relay_answers_holds_workflows_but_no_other_tool() -> None:
    more = "    serialization: true\n    protection_rule: true\n"
    assert config(WATCH, more).envs[0].can_be_held
    with pytest.raises(ConfigErrors, match="cannot hold the tool"):
        config(NATIVE, more)


@pytest.mark.parametrize("handler", [WATCH, WATCH_BY_DEFAULT, NATIVE])
@pytest.mark.parametrize("more", ["", "    serialization: false\n", "    wait_limit: 2h\n"])
def test_a_tool_that_starts_by_itself_needs_no_word_about_gates(handler: str, more: str) -> None:
    assert config(handler, more).envs[0].name == "production"


@pytest.mark.parametrize("handler", [DISPATCH, PROMOTE])
@pytest.mark.parametrize(
    ("more", "serialization"),
    [("", True), ("    serialization: true\n", True), ("    serialization: false\n", False)],
)
def test_of_a_tool_that_the_relay_starts_one_runs_at_a_time_by_default(
    handler: str, more: str, serialization: bool
) -> None:
    [environment] = config(handler, more).envs
    assert keys_of(environment, SerializationKeys).serialization is serialization


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("    serialization: maybe\n", "3:20: envs[0].serialization: must be true or false"),
        ("    wait_limit: 3 fortnights\n", "3:17: envs[0].wait_limit: '3 fortnights' is not a"),
        ("    wait_limit: 1s\n", "3:17: envs[0].wait_limit: '1s' is out of bounds"),
    ],
)
def test_a_mistake_has_its_line_and_column(more: str, error: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        config(PROMOTE, more)
    [found] = caught.value.errors
    assert found.startswith(f"deploy.yml:{error}")
