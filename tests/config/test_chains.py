"""Chains of environments in deploy.yml: what can never work is refused, with its place."""

import pytest

from handlers import HANDLERS
from webhook.config.environments import Config
from webhook.config.load import load
from webhook.errors import ConfigErrors
from webhook.gates import GATES
from webhook.gates.chains import comes_before, promoted_to

CIRCLE = "makes a circle, in which nothing can ever start: "


def config(*environments: str) -> Config:
    lines = (f"- {{{one}, handler: command, with: {{run: [x]}}}}" for one in environments)
    return load(
        "envs:\n" + "\n".join(lines),
        source="deploy.yml",
        environ={},
        handler_options={name: handler.Options for name, handler in HANDLERS.items()},
        gates=tuple(GATES.values()),
    )


def errors(*environments: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        config(*environments)
    return [error.removeprefix("deploy.yml:") for error in caught.value.errors]


@pytest.mark.parametrize(
    ("environments", "chain"),
    [
        (["name: a, after: A"], "a, after A; "),
        (["name: a, after: b", "name: b, after: [c]", "name: c, after: a"], "a, after b, after c"),
        (["name: 'p/*', after: p/1"], "p/*, after p/1; "),
        (["name: 'p/*', after: b", "name: b, after: p/2"], "p/*, after b, after p/*; "),
        (["name: a, repos: [x/*], after: b", "name: b, repos: [x/y], after: a"], "a, after b"),
    ],
)
def test_a_circle_is_refused_once(environments: list[str], chain: str) -> None:
    [error] = errors(*environments)
    place = environments[0].index("after: ") + len("after: ") + 4
    assert error.startswith(f"2:{place}: envs[0].after: {CIRCLE}{chain}")


@pytest.mark.parametrize(
    "environments",
    [
        # The first entry that matches counts.
        ["name: p/1", "name: 'p/*', after: p/1"],
        # Of other repositories.
        [
            "name: a, repos: [x/y], after: b",
            "name: b, repos: [x/y]",
            "name: b, after: c",
            "name: c",
        ],
        ["name: a, after: [b, c]", "name: b, after: d", "name: c, after: d", "name: d"],
    ],
)
def test_what_is_no_circle_is_allowed(environments: list[str]) -> None:
    assert len(config(*environments).envs) == len(environments)


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ("after: stagign", "'stagign' is no environment of this file for these repos; known here:"),
        ("after: stagign", "did you mean 'staging'?"),
        ("repos: [x/y], after: other", "'other' is no environment of this file for these repos"),
        ("after: 'stag*'", "'stag*' is a pattern; write the name of one environment"),
        ("after: [staging, STAGING]", "has 'staging' twice; remove one"),
        ("soak: 30m", "soak: needs `after`, the environment that comes first"),
        ("after: [], promote: auto", "promote: needs `after`"),
        ("after: staging, promote: yes", "promote: 'yes' cannot be here; write auto"),
        ("after: staging, soak: 30", "soak: '30' is not a duration"),
        ("after: staging, soak: 30s", "'30s' is out of bounds; a soak is 1m to 720h"),
        ("after: staging, soak: 24h", "is not less than wait_limit (24h), which ends the wait"),
        ("after: staging, promote: auto, name: 'p*'", "needs one environment, and the name"),
    ],
)
def test_a_mistake_has_its_remedy(environment: str, error: str) -> None:
    name = "" if "name: " in environment else "name: production, "
    others = ("name: staging", "name: other, repos: [z/z]")
    [found] = errors(f"{name}{environment}", *others)
    assert found.startswith("2:")
    assert error in found


def test_what_comes_next_is_known_of_names() -> None:
    chained = config(
        "name: staging",
        "name: 'eu/*', after: staging",
        "name: production, repos: [acme/*], after: [qa, Staging], soak: 30m, promote: auto",
        "name: dr, after: production",
        "name: qa",
    )
    assert [one.name for one in promoted_to(chained, "ACME/site", "staging")] == ["production"]
    assert [one.name for one in promoted_to(chained, "x/y", "staging")] == []
    assert comes_before(chained, "x/y", "staging")
    assert not comes_before(chained, "x/y", "dr")
