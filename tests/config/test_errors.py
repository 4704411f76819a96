"""deploy.yml: each error has line and column, and a message that explains what to write."""

import pytest

from tests.config.test_load import error_in_env, errors


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1:1: is empty; it needs 'envs:'"),
        ("# nothing\n", "1:1: is empty; it needs 'envs:'"),
        ("- a", "1:1: must have keys with values"),
        ("text", "1:1: must have keys with values"),
        ("unrouted: error", "1:1: envs: is missing"),
        ("envs: []", "1:7: envs: must not be empty"),
        ("envs: 3", "1:7: envs: must be a list, like [a, b]"),
        ("envs:", "1:6: envs: must be a list, like [a, b]"),
        ("envs: [7]", "1:8: envs[0]: must have keys with values"),
        (b"envs:\n- \xff", "2:1: is not UTF-8; save it as UTF-8"),
        ("envs:\n- a: b: c", "2:7: cannot be read as YAML: mapping values are not allowed here"),
        (
            "envs:\n\t- a",
            "2:1: cannot be read as YAML: while scanning for the next token, found "
            "character '\\t' that cannot start any token",
        ),
        ("envs: \x07", "1:7: cannot be read as YAML: the character U+0007 is not allowed"),
        (
            "a: 1\n--- \nb: 2",
            "2:1: cannot be read as YAML: expected a single document in the "
            "stream, but found another document",
        ),
        ('envs: "\\UFFFFFFFF"', "1:10: cannot be read as YAML: a number is out of range"),
        ("[" * 500, "1:30: cannot be read as YAML: values are nested too deeply"),
        ("&a [*a]", "1:1: cannot be read as YAML: more than aliases may expand to"),
        ("a: *b", "1:4: cannot be read as YAML: found undefined alias 'b'"),
    ],
)
def test_a_file_that_is_no_list_of_environments_is_an_error(text: str | bytes, error: str) -> None:
    assert errors(text) == (f"deploy.yml:{error}",)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("  timeout: 30 parsecs", "4:12: envs[0].timeout: '30 parsecs' is not a duration; "
         "write 30s, 30m, 2h or 1h30m"),
        ("  timeout: 30", "4:12: envs[0].timeout: '30' is not a duration; "
         "write 30s, 30m, 2h or 1h30m"),
        ("  timeout: 1:30", "4:12: envs[0].timeout: '1:30' is not a duration; "
         "write 30s, 30m, 2h or 1h30m"),
        ("  timeout: 5s", "4:12: envs[0].timeout: '5s' is out of bounds; a timeout is 10s to 72h"),
        ("  timeout: 73h", "4:12: envs[0].timeout: '73h' is out of bounds; "
         "a timeout is 10s to 72h"),
        ("  creators: []", "4:13: envs[0].creators: must not be empty"),
        ("  creators: [vercel, a b]", "4:22: envs[0].creators[1]: 'a b' is neither a GitHub login "
         "nor the name of an App in its URL (vercel); write people for all people, * for anybody"),
        ("  repos: acme/*", "4:10: envs[0].repos: must be a list, like [a, b]"),
        ("  repos: []", "4:10: envs[0].repos: must not be empty"),
        ("  repos: [acme]", "4:11: envs[0].repos[0]: 'acme' is not a repository; "
         "write owner/name, owner/* or *"),
        ("  repos: [a/b, https://github.com/a/b]", "4:16: envs[0].repos[1]: "
         "'https://github.com/a/b' is not a repository; write owner/name, owner/* or *"),
        ("  repos: [3]", "4:11: envs[0].repos[0]: must be text, and YAML reads '3' as a number; "
         "put it in quotes"),
        ("  description: on", "4:16: envs[0].description: must be text, and YAML reads 'on' as "
         "true or false; put it in quotes"),
        ("  description: 1.10", "4:16: envs[0].description: must be text, and YAML reads '1.10' as "
         "a number; put it in quotes"),
        ("  description:", "4:15: envs[0].description: is empty; write a value (YAML takes what "
         "follows # for a comment) or remove the key"),
        ("  description: [a]", "4:16: envs[0].description: must be text, not a list or keys"),
        ("  production_environment: 'yes'", "4:27: envs[0].production_environment: must be true or "
         "false, not 'yes'"),
        ("  slack: {chanel: x}", "4:11: envs[0].slack.chanel: is not a key; known here: channel, "
         "failures, mentions, only, repos, states, workspace; did you mean 'channel'?"),
        ("  timout: 30m", "4:3: envs[0].timout: is not a key; known here: after, auto_deploy_on, "
         "auto_merge, break_glass, creators, deployable_ref, description, discord, "
         "dynamic_payload, frozen_windows, handler, name, payload, production_environment, "
         "promote, protection_rule, recover_within, repos, repository_file, required_contexts, "
         "review, serialization, slack, soak, task, timeout, wait_limit, webhook, with; "
         "did you mean 'timeout'?"),
        ("  deployable_ref: (main", "4:19: envs[0].deployable_ref: '(main' is not a pattern of RE2 "
         "(missing ): (main); see github.com/google/re2/wiki/Syntax"),
        ("  auto_deploy_on: main(?=x)", "4:19: envs[0].auto_deploy_on: 'main(?=x)' is not a "
         "pattern of RE2 (invalid perl operator: (?=); see github.com/google/re2/wiki/Syntax"),
        ("  deployable_ref: [main, v1]", "4:19: envs[0].deployable_ref: must be one pattern, as "
         "text; write a|b for either of two"),
        ("  auto_deploy_on: 1.0", "4:19: envs[0].auto_deploy_on: must be one pattern, as text; put "
         "it in quotes"),
        ("  auto_deploy_on: ''", "4:19: envs[0].auto_deploy_on: is empty; write a pattern, or "
         "remove the key"),
        ("  break_glass: [mona, '@hubot']", "4:23: envs[0].break_glass[1]: '@hubot' is neither a "
         "GitHub login nor a team; write octocat, without @, or acme/platform"),
        ("  handler: command", "4:3: envs[0].handler: is there twice, first in line 3; remove one"),
        ("  3: x", "4:3: envs[0]: has the key 3, which YAML does not read as text; put it in "
         "quotes"),
        ("  <<: {timeout: 5m}", "4:3: envs[0]: has a merge key (<<), which is not supported; "
         "repeat the keys"),
        ("  [a]: b", "4:3: envs[0]: has a key that is not text"),
        ('  "\\0": b', "4:3: envs[0]: has a key with NUL or half a character; remove it"),
        ('  description: "\\0"', "4:16: envs[0].description: holds NUL or half a character; "
         "remove it"),
        ("  description: !!binary aGk=", "4:16: envs[0].description: has the tag "
         "tag:yaml.org,2002:binary, which is not supported; remove it"),
        ("  description: !!python/name:os.system", "4:16: envs[0].description: has the tag "
         "tag:yaml.org,2002:python/name:os.system, which is not supported; remove it"),
        ("  with: !!set {a}", "4:9: envs[0].with: has the tag tag:yaml.org,2002:set, which is not "
         "supported; remove it"),
        ("  with: [a]", "4:9: envs[0].with: must have keys with values"),
        ("  with:", "4:8: envs[0].with: must have keys with values"),
        ("  with: {rum: [a]}", "4:10: envs[0].with.rum: is not a key; known here: env, run; "
         "did you mean 'run'?"),
        ("  with: {run: [a, 1]}", "4:19: envs[0].with.run[1]: must be text, and YAML reads '1' as "
         "a number; put it in quotes"),
        ("  with: {env: {A: no}}", "4:19: envs[0].with.env.A: must be text, and YAML reads 'no' as "
         "true or false; put it in quotes"),
        ("  with: {env: {A: .inf}}", "4:19: envs[0].with.env.A: is not a number that fits; "
         "put it in quotes if it is text"),
        ("  with: {env: {A: 99999999999999999999}}", "4:19: envs[0].with.env.A: is not a number "
         "that fits; put it in quotes if it is text"),
        ("  description: ${NOPE}", "4:16: envs[0].description: needs ${NOPE}, but NOPE is not "
         "set; set it"),
        ("  description: ${EMPTY}", "4:16: envs[0].description: needs ${EMPTY}, but EMPTY is not "
         "set; set it"),
        ("  description: ${X:-1}", "4:16: envs[0].description: has a '${' without NAME}; "
         "write $${ for a plain ${"),
    ],
)  # fmt: skip
def test_an_error_in_an_environment_has_its_position(line: str, error: str) -> None:
    assert error_in_env(line, EMPTY="") == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("envs: [{handler: command}]", "1:8: envs[0].name: is missing"),
        ("envs: [{name: a}]", "1:8: envs[0].handler: is missing"),
        ("envs: [{name: '', handler: command}]", "1:15: envs[0].name: must not be empty"),
        ("envs: [{name: on, handler: command}]", "1:15: envs[0].name: must be text, and YAML reads "
         "'on' as true or false; put it in quotes"),
        ("envs: [{name: a, handler: dron}]", "1:27: envs[0].handler: 'dron' is not a handler; "
         "known here: command, drone; did you mean 'drone'?"),
        ("envs: [{name: a, handler: '?'}]", "1:27: envs[0].handler: '?' is not a handler; "
         "known here: command, drone"),
        ("envs: [{name: a, handler: [drone]}]", "1:27: envs[0].handler: must be text, not a list "
         "or keys"),
        ("envs: [{name: a, handler: command}]\nslakc: {}", "2:1: slakc: is not a key; known here: "
         "discord, envs, frozen_windows, repository_file, slack, slack_users, unrouted, webhook; "
         "did you mean 'slack'?"),
        ("envs: [{name: a, handler: command}]\nunrouted: nope", "2:11: unrouted: 'nope' is not "
         "one of 'error' or 'ignore'"),
        ("envs:\n- {name: a, handler: drone, with: {url: u}}", "2:35: envs[0].with.token: is "
         "missing"),
        ("envs:\n- {name: a, handler: drone, with: {url: u, token: t, retries: many}}",
         "2:63: envs[0].with.retries: Input should be a valid integer"),
    ],
)  # fmt: skip
def test_an_error_elsewhere_has_its_position(text: str, error: str) -> None:
    assert errors(text) == (f"deploy.yml:{error}",)


def test_all_required_options_of_a_missing_with_are_named() -> None:
    assert errors("envs:\n- name: a\n  handler: drone") == (
        "deploy.yml:2:3: envs[0].with.url: is missing",
        "deploy.yml:2:3: envs[0].with.token: is missing",
    )


def test_all_errors_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
envs:
- name: a
  handler: nope
  timeout: soon
  deployable_ref: (main
- name: b
  handler: drone
  with: {url: "${NOPE}", token: 5}
unrouted: maybe
"""
    assert [error.split(": ")[0] for error in errors(text)] == [
        "deploy.yml:3:12",
        "deploy.yml:4:12",
        "deploy.yml:5:19",
        "deploy.yml:8:15",
        "deploy.yml:8:33",
        "deploy.yml:9:11",
    ]
