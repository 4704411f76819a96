"""What differs between two files that both are deploy.yml."""

from collections.abc import Mapping
from dataclasses import dataclass

from webhook.config.environments import Config, Environment
from webhook.text import and_more

_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Changes:
    """By the names of environments."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def between(cls, old: Config, new: Config) -> "Changes":
        before, after = _by_name(old), _by_name(new)
        others = {
            "unrouted": old.unrouted != new.unrouted,
            "slack_users": old.slack_users != new.slack_users,
            "the order of environments": [*before] != [*after] and {*before} == {*after},
        }
        return cls(
            added=tuple(name for name in after if name not in before),
            removed=tuple(name for name in before if name not in after),
            changed=tuple(name for name in after if name in before and before[name] != after[name]),
            others=tuple(name for name, differs in others.items() if differs),
        )

    def __str__(self) -> str:
        named = {"adds": self.added, "removes": self.removed, "changes": self.changed + self.others}
        parts = (
            f"{verb} {and_more(names, limit=_SHOWN)}" for verb, names in named.items() if names
        )
        return "; ".join(parts) or "changes nothing but its text"


def _by_name(config: Config) -> Mapping[str, list[Environment]]:
    found: dict[str, list[Environment]] = {}
    for env in config.envs:
        found.setdefault(env.name, []).append(env)
    return found
