"""Which environment of deploy.yml a deployment belongs to."""

from string import ascii_letters

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from webhook.config.environments import Config, Environment
from webhook.config.routing import no_route_message, route


class NoOptions(BaseModel):
    pass


def env(name: str, *repos: str, handler: str = "command") -> Environment:
    return Environment.model_construct(
        name=name, repos=repos or ("*",), handler=handler, options=NoOptions()
    )


def routed(config: Config, repo: str, environment: str) -> str | None:
    found = route(config, repo, environment)
    return found.handler if found else None


@pytest.mark.parametrize(
    ("name", "repos", "repo", "environment", "matches"),
    [
        ("production", [], "acme/web", "production", True),
        ("production", [], "acme/web", "Production", True),
        ("Production", [], "acme/web", "production", True),
        ("production", [], "acme/web", "production2", False),
        ("preview/*", [], "acme/web", "preview/a", True),
        ("preview/*", [], "acme/web", "preview/a/b", True),
        ("preview/*", [], "acme/web", "preview", False),
        ("pr-[0-9]", [], "acme/web", "pr-7", True),
        ("pr-[", [], "acme/web", "pr-[", True),
        ("production", ["acme/*"], "acme/web", "production", True),
        ("production", ["acme/*"], "ACME/Web", "production", True),
        ("production", ["acme/*"], "acme2/web", "production", False),
        ("production", ["other/a", "acme/web"], "acme/web", "production", True),
    ],
)
def test_an_environment_matches_by_name_and_repo(
    name: str, repos: list[str], repo: str, environment: str, matches: bool
) -> None:
    config = Config((env(name, *repos),))
    assert (route(config, repo, environment) is config.envs[0]) is matches


def test_the_first_match_counts() -> None:
    config = Config(
        (
            env("production", "acme/web", handler="first"),
            env("production", handler="second"),
            env("*", handler="third"),
        )
    )
    assert routed(config, "acme/web", "production") == "first"
    assert routed(config, "acme/api", "production") == "second"
    assert routed(config, "acme/api", "staging") == "third"


def test_the_message_names_the_known_environments_of_the_repository() -> None:
    config = Config((env("a"), env("b"), env("a", "acme/*"), env("hidden", "other/repo")))
    assert no_route_message(config, "acme/web", "x") == (
        "No route for environment 'x' in this relay; known here: a, b"
    )


def test_the_message_mentions_a_repository_without_environments() -> None:
    assert no_route_message(Config((env("a", "other/repo"),)), "acme/web", "x") == (
        "No route for environment 'x' in this relay; it has none for acme/web"
    )


def test_an_environment_whose_repositories_leave_it_out_is_named() -> None:
    elsewhere = Config((env("production", "other/*"), env("a", "acme/web")))
    assert no_route_message(elsewhere, "acme/web", "Production") == (
        "No route for environment 'Production' in this relay; its repos leave out acme/web;"
        " known here: a"
    )
    alone = Config((env("prod*", "other/*"),))
    assert no_route_message(alone, "acme/web", "production") == (
        "No route for environment 'production' in this relay; its repos leave out acme/web"
    )
    long = Config((env("x" * 40, "other/*"), env("y" * 40, "a/*")))
    message = no_route_message(long, f"a/{'r' * 40}", "x" * 40)
    assert message.endswith("; its repos leave out a/rrrrrrrrrrrrrrrrrrrrrrrrrrr…")


def test_many_names_are_counted_rather_than_cut() -> None:
    message = no_route_message(Config(tuple(env(f"environment-{n}") for n in range(9))), "a/b", "x")
    assert message == (
        "No route for environment 'x' in this relay; "
        "known here: environment-0, environment-1, environment-2, environment-3, environment-4 "
        "and 4 more"
    )


@settings(deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=255), min_size=1, max_size=200),
    st.text(min_size=1, max_size=255),
    st.text(min_size=1, max_size=255),
)
def test_the_message_fits_a_status_whatever_the_names(
    names: list[str], repo: str, environment: str
) -> None:
    for config in (
        Config(tuple(env(name) for name in names)),
        Config(tuple(env(name, "no/match") for name in names)),
        Config((env("*", "no/match"), *(env(name) for name in names))),
    ):
        message = no_route_message(config, repo, environment)
        assert len(message) <= 140
        assert message.startswith("No route for environment '")


@settings(deadline=None)
@given(st.text(alphabet=ascii_letters + "/-*?[]!0", max_size=30), st.text(max_size=255))
def test_any_pattern_and_name_can_be_compared(pattern: str, name: str) -> None:
    config = Config((env(pattern), env("*")))
    assert route(config, "acme/web", name) in config.envs
    assert route(config, "acme/web", name) == route(config, "ACME/WEB", name)
