"""Which environment of deploy.yml a deployment belongs to.

Names are compared as GitHub does, case-insensitively. `*` also crosses `/`: `preview/*` matches
`preview/a` and `preview/a/b`.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from webhook.config.environments import Config, Environment
from webhook.text import LONGEST_DESCRIPTION, and_more, one_line


def route(config: Config, repo: str, environment: str) -> Environment | None:
    """The first match counts, so the file's order is its priority."""
    for env in config.envs:
        if _matches(environment, env.name) and matches_any(env.repos, repo):
            return env
    return None


def no_route_message(config: Config, repo: str, environment: str) -> str:
    """The description of the `error` status; fits GitHub's 140 characters."""
    start = f"No route for environment '{one_line(environment, 40)}' in this relay; "
    elsewhere = any(_matches(environment, env.name) for env in config.envs)
    if elsewhere:
        start += f"its repos leave out {one_line(repo, 30)}; "
    known = list(dict.fromkeys(env.name for env in config.envs if matches_any(env.repos, repo)))
    if not known:
        return start[:-2] if elsewhere else one_line(f"{start}it has none for {one_line(repo, 60)}")
    names = [one_line(name, 28) for name in known]
    rest = and_more(names, limit=LONGEST_DESCRIPTION - len(f"{start}known here: "))
    message = f"{start}known here: {rest}"
    return start[:-2] if elsewhere and len(message) > LONGEST_DESCRIPTION else message


def matches_any(patterns: Iterable[str], text: str) -> bool:
    return any(_matches(text, pattern) for pattern in patterns)


def _matches(text: str, pattern: str) -> bool:
    return fnmatchcase(text.lower(), pattern.lower())
