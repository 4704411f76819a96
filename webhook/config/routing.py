"""Which environment of deploy.yml a deployment belongs to.

Names are compared as GitHub does, case-insensitively. `*` also crosses `/`: `preview/*` matches
`preview/a` and `preview/a/b`.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from webhook.config.load import Config, Environment
from webhook.text import one_line

_LIMIT = 140


def route(config: Config, repo: str, environment: str) -> Environment | None:
    """The first match counts, so the file's order is its priority."""
    for env in config.envs:
        if _matches(environment, env.name) and holds(env.repos, repo):
            return env
    return None


def no_route_words(config: Config, repo: str, environment: str) -> str:
    """The description of the `error` status; fits GitHub's 140 characters."""
    start = f"No route for environment '{one_line(environment, 40)}' in this relay; "
    known = list(dict.fromkeys(env.name for env in config.envs if holds(env.repos, repo)))
    if not known:
        return one_line(f"{start}it has none for {one_line(repo, 60)}")
    start += "known here: "
    return start + _list(known, _LIMIT - len(start))


def holds(patterns: Iterable[str], repo: str) -> bool:
    return any(_matches(repo, pattern) for pattern in patterns)


def _matches(text: str, pattern: str) -> bool:
    return fnmatchcase(text.lower(), pattern.lower())


def _list(names: list[str], room: int) -> str:
    """As many names as there is room for, and how many were left out."""
    shown = [one_line(name, 28) for name in names]
    for count in range(len(shown), 1, -1):
        left = len(shown) - count
        words = ", ".join(shown[:count]) + (f" and {left} more" if left else "")
        if len(words) <= room:
            return words
    left = len(shown) - 1
    return shown[0] + (f" and {left} more" if left else "")
