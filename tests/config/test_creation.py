"""Gitploy's keys that shape what is created: their meaning, and what cannot be."""

import pytest

from tests.config.test_load import config, error_in_env
from webhook.config.creation import Creation, payload_of
from webhook.errors import ConfigErrors

INPUTS = """\
envs:
- name: a
  handler: command
  dynamic_payload:
    enabled: true
    inputs:
      size: {type: number, required: true, description: How many}
      color: {type: select, options: [blue, green], default: green}
      dry: {type: boolean, default: false}
      note: {type: string}
"""


def test_without_them_a_deployment_is_as_plain_as_can_be() -> None:
    env = config("envs: [{name: a, handler: command}]").envs[0]
    assert (env.task, env.auto_merge, env.required_contexts) == (None, False, ())
    assert payload_of(env, {}) is None


def test_a_payload_is_any_object_or_text() -> None:
    for written, payload in (("{a: [1, {b: null}]}", {"a": [1, {"b": None}]}), ("text", "text")):
        env = config(f"envs: [{{name: a, handler: command, payload: {written}}}]").envs[0]
        assert payload_of(env, {}) == payload
    with pytest.raises(ValueError, match="takes no inputs"):
        payload_of(env, {"a": "1"})


def test_inputs_are_typed_and_have_defaults() -> None:
    env: Creation = config(INPUTS).envs[0]
    assert payload_of(env, {"size": "3"}) == {"size": 3, "color": "green", "dry": False}
    given = {"size": "-0.5", "color": "blue", "dry": "TRUE", "note": "a=b c"}
    assert payload_of(env, given) == {"size": -0.5, "color": "blue", "dry": True, "note": "a=b c"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "size is missing; write size=1"),
        ({"size": "x"}, "size must be a number"),
        ({"size": "nan"}, "size must be a number"),
        ({"size": "1", "color": "red"}, "color must be one of blue, green"),
        ({"size": "1", "dry": "maybe"}, "dry must be true or false"),
        ({"size": "1", "sise": "2"}, "sise is not an input; known here: color, dry, note, size;"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        payload_of(config(INPUTS).envs[0], given)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  payload: 5", "must have keys with values, or be text"),
        ("  task: ''", "must not be empty"),
        ("  auto_merge: 1", "must be true or false"),
        ("  required_contexts: ci", "must be a list"),
        ("  required_contexts: ['']", "must not be empty"),
        (
            "  auto_deploy_on: ^main$",
            "is never found: the full name of what was pushed begins with",
        ),
        (r'  auto_deploy_on: "v\.x"', r"write patterns in single quotes, where \ is itself"),
        ("  dynamic_payload: {inputs: {a: {type: select}}}", "needs options for a select"),
        ("  dynamic_payload: {inputs: {a: {type: number, default: x}}}", "is not a number"),
        ("  dynamic_payload: {inputs: {a: {type: text}}}", "'text' is not one of"),
        ("  dynamic_payload: {inputs: {a: {type: string, tpye: x}}}", "is not a key here"),
        ("  payload: {token: 'x${TOKEN}'}", "is shown on GitHub to all who may read"),
        ("  task: '${TOKEN}'", "is shown on GitHub to all who may read"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(line: str, message: str) -> None:
    error = error_in_env(line, TOKEN="s3cr3t-s3cr3t-s3cr3t")
    assert message in error
    assert "s3cr3t" not in error


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("'preview/*'", "", "needs one environment, and 'preview/*' stands for many; write an"),
        ("a", INPUTS.partition("command\n")[2], "size is missing; write size=1; give each"),
    ],
)
def test_what_is_deployed_automatically_is_one_environment_and_needs_nobody(
    name: str, more: str, message: str
) -> None:
    text = f"envs:\n- name: {name}\n  handler: command\n{more}  auto_deploy_on: main\n"
    with pytest.raises(ConfigErrors) as caught:
        config(text)
    [error] = caught.value.errors
    assert "envs[0].auto_deploy_on: " in error
    assert message in error
