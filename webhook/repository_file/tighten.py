"""The operator's environment, tightened by the repository's own deploy.yml.

Nothing that the repository says removes a gate; what would is ignored, and said.
"""

from dataclasses import dataclass

from webhook.config.environments import Environment
from webhook.repository_file.model import RepositoryFile


@dataclass(frozen=True, slots=True)
class Line:
    """A key of the environment, with what holds. `origin`: where that comes from, as people read
    it. `ignored`: what else the repository's file says, and why it does not count."""

    key: str
    value: str
    origin: str
    ignored: str = ""


@dataclass(frozen=True, slots=True)
class Tightened:
    """`environment`: what holds. `denial`: why nothing may start there, "" if something may;
    `way_out`: what to do about that."""

    environment: Environment
    lines: tuple[Line, ...] = ()
    denial: str = ""
    way_out: str = ""


def tighten(
    environment: Environment,
    head: RepositoryFile | None,
    at_sha: RepositoryFile | None,
    environment_name: str,
) -> Tightened:
    """`environment`: the operator's, which may be a pattern; `environment_name`: which one it is.
    `head`: the file at the head of the default branch; `at_sha`: at the deployment's own commit,
    which may add gates. None: there is none, or it is not to count."""
    return Tightened(environment)
