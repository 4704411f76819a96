"""Which environments of deploy.yml a lock concerns, and which of those no lock can hold."""

from collections.abc import Iterable

from webhook.config.environments import Config, Environment
from webhook.config.gates import may_overlap
from webhook.config.routing import matches_any, route
from webhook.deployments.locks import EVERYTHING, is_pattern, scope_name
from webhook.text import and_more, one_line

_ROOM = 1000


def concerned(config: Config, repo: str, environment: str) -> list[Environment]:
    """`repo` "": all. `environment`: a name or a pattern; deploy.yml may have a pattern, too."""
    if repo and not is_pattern(environment):
        found = route(config, repo, environment)
        return [found] if found else []
    return [
        env
        for env in config.envs
        if (not repo or matches_any(env.repos, repo)) and may_overlap(env.name, environment)
    ]


def lock_error(config: Config, repo: str, environment: str) -> str:
    """Why it cannot be locked; "" if it can."""
    found = concerned(config, repo, environment)
    if not found:
        return _unknown(config, repo, environment)
    if (repo or environment != EVERYTHING) and not any(env.can_be_held for env in found):
        return (
            f"{scope_name(one_line(repo, 60), one_line(environment, 60))} cannot be locked: its"
            " tools start by themselves, past every lock. Let the relay start them (mode: dispatch"
            " of github-actions, mode: promote of drone), or answer the protection rule of the"
            " environment on GitHub (protection_rule: true; docs/protection-rules.md)"
        )
    return ""


def unheld(config: Config, repo: str, environment: str) -> str:
    """What to say of the environments whose tools start by themselves; "" if there are none."""
    names = _names(env for env in concerned(config, repo, environment) if not env.can_be_held)
    if not names:
        return ""
    return f"This does not hold {and_more(names, limit=_ROOM)}, whose tools start by themselves"


def _unknown(config: Config, repo: str, environment: str) -> str:
    known = _names(env for env in config.envs if not repo or matches_any(env.repos, repo))
    if not known:
        return f"deploy.yml has no environment for {one_line(repo, 60)}"
    start = f"'{one_line(environment, 60)}' is not in deploy.yml"
    if is_pattern(environment):
        start = f"No environment in deploy.yml matches '{one_line(environment, 60)}'"
    return f"{start}; known: {and_more(known, limit=_ROOM)}"


def _names(envs: Iterable[Environment]) -> list[str]:
    return list(dict.fromkeys(one_line(env.name, 60) for env in envs))
