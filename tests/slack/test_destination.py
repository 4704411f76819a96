"""deploy.yml's `slack:` and `slack_users:`: what an environment inherits, and what is rejected."""

import re
from functools import cache
from typing import Any

import pytest

from handlers import HANDLERS
from tests.config.test_load import config, destinations, errors
from webhook.config.environments import json_schema
from webhook.notifiers import DESTINATIONS
from webhook.slack.destination import Destination, destinations_of

ONE = "{name: a, handler: command%s}"


def inherited(default: str, own: str) -> tuple[Destination, ...]:
    """What an environment with that `slack` of its own has in the end."""
    loaded = config(f"slack: {default}\nenvs: [{ONE % f', slack: {own}'}]")
    return tuple(destinations_of(loaded.envs[0]))


def rejection(own: str, more: str = "") -> str:
    [error] = errors(f"envs:\n- {ONE % f'{more}, slack: {own}'}")
    return error.partition(": ")[2]


@cache
def schema() -> dict[str, Any]:
    return json_schema({name: one.Options for name, one in HANDLERS.items()}, DESTINATIONS)


DEFAULT = '{channel: "#deploys", failures: "#oncall", mentions: none, states: [success]}'


@pytest.mark.parametrize(
    ("own", "channel", "failures"),
    [
        ("{states: [error]}", "#deploys", "#oncall"),
        ('{channel: "#shop"}', "#shop", "#oncall"),
        ("{failures: none}", "#deploys", None),
        ('{channel: "#shop", failures: none}', "#shop", None),
        ("{channel: none}", None, "#oncall"),
        ("{workspace: T0456EFGH}", None, None),
        ('{workspace: T0456EFGH, channel: "#customers"}', "#customers", None),
    ],
)
def test_an_environment_inherits_what_it_leaves_out_and_switches_off_what_it_wants(
    own: str, channel: str | None, failures: str | None
) -> None:
    for written in (own, f"[{own}]"):
        [one] = inherited(DEFAULT, written)
        assert (one.channel, one.failures, one.mentions) == (channel, failures, "none")


def test_channels_are_inherited_within_one_workspace() -> None:
    default = '{workspace: T0123ABCD, channel: "#deploys", failures: "#oncall"}'
    [same] = inherited(default, "{workspace: T0123ABCD, only: failures}")
    assert (same.channel, same.failures) == ("#deploys", "#oncall")
    [other] = inherited(default, "{workspace: T0456EFGH, only: failures}")
    assert (other.channel, other.failures) == (None, None)


def test_none_at_the_top_is_no_channel_either() -> None:
    loaded = config(f'slack: {{channel: none, failures: "#oncall"}}\nenvs: [{ONE % ""}]')
    assert destinations(loaded.envs[0]) == [(None, "#oncall")]


@pytest.mark.parametrize(
    "channel", ["#a", "shop-2_x", "#d\u00e9ploi", "#\u65e5\u672c", "C0123SHOP"]
)
def test_names_and_ids_of_channels_are_accepted(channel: str) -> None:
    [one] = inherited("[]", f'{{channel: "{channel}"}}')
    assert one.channel == channel


@pytest.mark.parametrize(
    "channel",
    ["#Deploys", "@octocat", "#my deploys", "C0123", "#", "##a", "#a.b", "#\u00c9", "D0123ABCD"],
)
def test_an_invalid_channel_is_rejected(channel: str) -> None:
    message = f"envs[0].slack.channel: '{channel}' cannot be a channel; write \"#name\""
    assert rejection(f'{{channel: "{channel}"}}').startswith(message)
    pattern = schema()["$defs"]["Destination"]["properties"]["failures"]["pattern"]
    assert not re.search(pattern, channel) or not channel.isascii()


@pytest.mark.parametrize(
    ("own", "error"),
    [
        ("{channel: ''}", "envs[0].slack.channel: must not be empty"),
        ("{channel: null}", 'envs[0].slack.channel: is empty; write "#channel" in quotes (YAML '
         "takes #… for a comment), or none"),
        ('"#deploys"', "envs[0].slack: must have keys with values, as in {channel: \"#deploys\"}"),
        ('["#deploys"]', "envs[0].slack[0]: must have keys with values, as in "
         '{channel: "#deploys"}'),
        ("null", "envs[0].slack: is empty; write {channel: \"#name\"}, [] for nobody, or remove "
         "the key"),
        ("{only: failure}", "envs[0].slack.only: 'failure' cannot be here; write failures"),
        ("{only: failures, states: [error]}", "envs[0].slack: has both only and states; remove "
         "one of them"),
        ("{workspace: acme}", "envs[0].slack.workspace: 'acme' is not a workspace's ID; it begins "
         "with T, as in T0123ABCD"),
    ],
)  # fmt: skip
def test_an_error_explains_what_to_write(own: str, error: str) -> None:
    assert rejection(own) == error


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("slack: {channel: #deploys}\nenvs: []", 1),
        ("envs:\n- name: a\n  slack: {\n    channel: #deploys}\n- name: b\n", 4),
    ],
)
def test_a_channel_that_is_a_comment_is_guessed(text: str, line: int) -> None:
    [error] = errors(text)
    message = f'is there a # outside quotes in line {line}? write "#channel" in quotes'
    assert "cannot be read as YAML" in error
    assert error.endswith(message)


def test_braces_without_a_comment_are_not_mistaken_for_one() -> None:
    [error] = errors('# all\nslack: {channel: "#deploys"\nenvs: []')
    assert "outside quotes" not in error


@pytest.mark.parametrize(
    ("repos", "never"),
    [
        ("[globex/shop]", True),
        ('["globex/*"]', False),
        ('["*/shop"]', False),
        ('["acme/*-old"]', False),
        ('["acme/s?op-1", "other/*"]', False),
        ("[ACME/shop-1]", False),
        ('[globex/shop, "*"]', False),
    ],
)
def test_repositories_outside_the_environment_are_rejected(repos: str, never: bool) -> None:
    own = f'[{{channel: "#a"}}, {{channel: "#b", repos: {repos}}}]'
    of_the_environment = ', repos: ["acme/shop*", "acme/*shop"]'
    if never:
        message = "envs[0].slack[1].repos: can never match: none of them is in the environment's"
        assert rejection(own, of_the_environment).startswith(message)
    else:
        config(f"envs: [{ONE % f'{of_the_environment}, slack: {own}'}]")


@pytest.mark.parametrize(
    ("users", "error"),
    [
        ("octocat: U012AB3CD, hubot: [U0456EFGH, U012AB3CD]", "hubot: has 'U012AB3CD', which is "
         "octocat's already; nobody is two people"),
        ("octocat: U012AB3CD, hubot: T0123ABCD/U012AB3CD", "hubot: has 'T0123ABCD/U012AB3CD', "
         "which is octocat's already; nobody is two people"),
        ('"@octocat": U012AB3CD', "@octocat: is not a GitHub login; write it without @, as in "
         "octocat"),
        ("octocat: U012AB3CD, OctoCat: U0456EFGH", "OctoCat: is there twice: upper and lower case "
         "are alike; remove one"),
    ],
)  # fmt: skip
def test_nobody_in_slack_is_two_people_on_github(users: str, error: str) -> None:
    [found] = errors(f"envs: [{ONE % ''}]\nslack_users: {{{users}}}")
    assert found.partition(": slack_users.")[2] == error


def test_people_of_several_workspaces_are_distinguished() -> None:
    users = "octo_acme: T0123ABCD/U012AB3CD, 'renovate[bot]': [T0456EFGH/U012AB3CD, U0789IJKL]"
    loaded = config(f"envs: [{ONE % ''}]\nslack_users: {{{users}}}")
    assert loaded.slack_users["renovate[bot]"] == ("T0456EFGH/U012AB3CD", "U0789IJKL")


def test_the_schema_describes_ids_and_mentions_for_editors() -> None:
    keys = schema()["$defs"]["Destination"]["properties"]

    def takes(key: str, text: str) -> bool:
        patterns = [one.get("pattern") for one in keys[key].get("anyOf", [keys[key]])]
        return any(pattern and re.search(pattern, text) for pattern in patterns)

    assert [takes("workspace", text) for text in ("T0123ABCD", "acme")] == [True, False]
    assert [takes("mentions", text) for text in ("author", "@S0123ABCD", "@here", "octocat")] == [
        True,
        True,
        True,
        False,
    ]
    assert [takes("channel", text) for text in ("#a", "C0123SHOP", "none", "#A b")] == [
        True,
        True,
        True,
        False,
    ]
