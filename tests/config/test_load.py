"""deploy.yml: its meaning, and that any invalid file gives config errors and nothing else."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from webhook.config.creation import is_deployed_on
from webhook.config.environments import Config, Environment, json_schema
from webhook.config.load import load
from webhook.errors import ConfigErrors
from webhook.gates import GATES
from webhook.gates.deployable_ref import deployable_refs
from webhook.notifiers import DESTINATIONS
from webhook.slack.destination import destinations_of


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DroneOptions(Strict):
    url: str
    token: str
    branch: str = "main"
    retries: int = 3


class CommandOptions(Strict):
    run: tuple[str, ...] = ("./deploy",)
    env: dict[str, str] = {}

    @field_validator("run")
    @classmethod
    def _found(cls, run: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = info.context["environ"].get("COMMANDS") if info.context else None
        if known and run[0] not in known:
            raise ValueError(f"there is no command {run[0]}")
        return run


HANDLERS: Mapping[str, type[BaseModel]] = {"drone": DroneOptions, "command": CommandOptions}


def config(text: str | bytes, **environ: str) -> Config:
    return load(
        text,
        source="deploy.yml",
        environ=environ,
        handler_options=HANDLERS,
        notifiers=DESTINATIONS,
        gates=tuple(GATES.values()),
    )


def errors(text: str | bytes, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigErrors) as caught:
        config(text, **environ)
    return caught.value.errors


def error_in_env(*lines: str, **environ: str) -> str:
    """Of an environment whose name is in line 2 and whose handler is in line 3."""
    text = "\n".join(["envs:", "- name: production", "  handler: command", *lines])
    (error,) = errors(text, **environ)
    return error.removeprefix("deploy.yml:")


FULL = """\
unrouted: ignore
slack: {channel: "#deploys"}
envs:
  - name: production
    repos: ["acme/*", other/api]
    handler: drone
    with: {url: https://drone.acme.io, token: "${DRONE_TOKEN}"}
    timeout: 1h30m
    slack: {failures: "#oncall"}
    description: What users see
    production_environment: true
  - name: "preview/*"
    handler: command
"""


def destinations(environment: Environment) -> list[tuple[str | None, str | None]]:
    return [(one.channel, one.failures) for one in destinations_of(environment)]


def test_a_full_file_is_understood() -> None:
    loaded = config(FULL, DRONE_TOKEN="sesame-open")
    production, preview = loaded.envs
    assert loaded.unrouted == "ignore"
    assert isinstance(production, Environment)
    assert production.repos == ("acme/*", "other/api")
    assert production.handler == "drone"
    assert production.options == DroneOptions(url="https://drone.acme.io", token="sesame-open")
    assert production.timeout == timedelta(minutes=90)
    assert production.description == "What users see"
    assert production.production_environment is True
    assert destinations(production) == [("#deploys", "#oncall")]
    assert preview.repos == ("*",)
    assert preview.options == CommandOptions()
    assert preview.timeout == timedelta(minutes=30)
    assert destinations(preview) == [("#deploys", None)]
    assert preview.production_environment is None


def test_a_filled_in_value_is_a_secret_and_does_not_show() -> None:
    loaded = config(FULL, DRONE_TOKEN="sesame-open")
    assert loaded.secrets == {"sesame-open"}
    assert "sesame-open" not in repr(loaded)


def test_variables_are_filled_in_within_longer_text_and_twice() -> None:
    text = """\
envs:
- {name: a, handler: command, with: {run: ["x ${A}-${B}", "$${A}", "$A $$ {A}", "${A}"]}}
"""
    loaded = config(text, A="alpha", B="no")
    expected = ("x alpha-no", "${A}", "$A $$ {A}", "alpha")
    assert loaded.envs[0].options == CommandOptions(run=expected)
    assert loaded.secrets == {"alpha"}


def test_a_filled_in_value_is_text_whatever_it_looks_like_and_is_not_filled_in_again() -> None:
    text = "envs:\n- {name: a, handler: command, with: {env: {A: '${A}', B: \"${B}\"}}}"
    options = config(text, A="3", B="${A}: [x").envs[0].options
    assert options == CommandOptions(env={"A": "3", "B": "${A}: [x"})


def test_anchors_and_aliases_work() -> None:
    text = """\
envs:
- {name: a, handler: command, repos: &ours [acme/*], with: &how {run: [x]}}
- {name: b, handler: command, repos: *ours, with: *how}
"""
    first, second = config(text).envs
    assert (first.repos, first.options) == (second.repos, second.options)


def test_bytes_with_a_byte_order_mark_are_read() -> None:
    text = b"\xef\xbb\xbfenvs: [{name: caf\xc3\xa9, handler: command}]"
    assert config(text).envs[0].name == "café"


def test_gitploys_patterns_are_read() -> None:
    text = "envs: [{name: a, handler: command, deployable_ref: '^v', auto_deploy_on: /main$}]"
    [environment] = config(text).envs
    assert deployable_refs(environment) == ("^v",)
    assert environment.auto_deploy_on == ("/main$",)
    assert is_deployed_on(environment, "refs/heads/main")
    assert not is_deployed_on(environment, "refs/heads/maintenance")
    assert not is_deployed_on(config("envs: [{name: a, handler: command}]").envs[0], "")


@pytest.mark.parametrize(
    ("first", "second", "never"),
    [
        ("name: a", "name: a", True),
        ("name: a", "name: A", True),
        ("name: '[ab]'", "name: '[ab]'", True),
        ("name: '*'", "name: a", True),
        ("name: 'preview/*'", "name: preview/one", True),
        ("name: 'preview/*'", "name: 'preview/*/*'", True),
        ("name: a, repos: [acme/*]", "name: a, repos: [acme/web, ACME/api]", True),
        ("name: a", "name: a, repos: [acme/web]", True),
        ("name: a, repos: [acme/web]", "name: a", False),
        ("name: a, repos: [acme/web]", "name: a, repos: [acme/web, acme/api]", False),
        ("name: 'preview/*'", "name: '*'", False),
        ("name: '?'", "name: '*'", False),
        ("name: '[*]'", "name: '*'", False),
        ("name: a", "name: b", False),
    ],
)
def test_an_environment_that_can_never_match_is_an_error(
    first: str, second: str, never: bool
) -> None:
    text = f"envs:\n- {{{first}, handler: command}}\n- {{{second}, handler: command}}"
    if never:
        message = "envs[1].name: can never match: envs[0] before it takes all; remove or move it"
        assert errors(text) == (f"deploy.yml:3:10: {message}",)
    else:
        assert len(config(text).envs) == 2


def test_a_handlers_own_error_and_its_environment_variables_are_used() -> None:
    error = error_in_env("  with: {run: [deploy]}", COMMANDS="other")
    assert error == "4:15: envs[0].with.run: there is no command deploy"


def test_errors_do_not_show_filled_in_values() -> None:
    error = error_in_env("  with: {run: ['${TOKEN}']}", COMMANDS="other", TOKEN="sesame-open")
    assert error.endswith("envs[0].with.run: there is no command ***")
    error = error_in_env("  timeout: ${TOKEN}", TOKEN="sesame-open")
    assert error.startswith("4:12: envs[0].timeout: '${TOKEN}' is not a duration")


def test_a_value_from_the_environment_that_cannot_be_stored_is_an_error() -> None:
    error = error_in_env("  description: ${BYTES}", BYTES="\udcff\udcfe")
    assert error == "4:16: envs[0].description: holds NUL or half a character; remove it"


def test_too_many_aliases_are_an_error_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 15)]
    (error,) = errors("\n".join(lines))
    assert error.endswith("cannot be read as YAML: more than aliases may expand to")


def test_the_schema_describes_what_the_file_may_contain() -> None:
    schema = json_schema(HANDLERS)
    assert schema["required"] == ["envs"]
    drone, command = (schema["$defs"][f"{name}_environment"] for name in HANDLERS)
    assert drone["properties"]["handler"]["const"] == "drone"
    assert set(drone["required"]) == {"name", "handler", "with"}
    assert set(command["required"]) == {"name", "handler"}
    assert schema["$defs"]["DroneOptions"]["required"] == ["url", "token"]
    assert "default" not in drone["properties"]["timeout"]
    json.dumps(schema)


def test_the_schema_of_one_handler_works_too() -> None:
    schema = json_schema({"drone": DroneOptions})
    assert schema["properties"]["envs"]["items"] == {"$ref": "#/$defs/drone_environment"}


KEYS = ["envs", "name", "repos", "handler", "with", "timeout", "slack", "channel"]
yaml_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner),
)


@given(
    st.text(alphabet="envsnamhdl:-[]{}&*!<>|%@#'\"\\ \n\t0123._~?,${}AB\x85\u2028", max_size=200)
)
@example("%YAML 99999999999999999999.1\n---")
@example("? ? ? ?")
@example("a: 0x_")
@example("a: 1__:_")
@example("envs: !!int '-'")
@example("envs: !!float ''")
@example("envs: !!timestamp x")
@example("!!map []")
@example("!!seq {}")
@example("!<> x")
def test_no_text_raises_anything_but_config_errors(text: str) -> None:
    with suppress(ConfigErrors):
        config(text)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(KEYS), yaml_values), yaml_values)
def test_no_values_raise_anything_but_config_errors(env: Any, other: Any) -> None:
    with suppress(ConfigErrors):
        config(json.dumps({"envs": [env, {"name": "a", "handler": "command"} | env], "x": other}))
