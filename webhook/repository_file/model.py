"""What a repository's file says, with the position of each key.

Units: lines and columns from 1, of the text as it is in the repository.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from webhook.config.creation import DynamicPayload, Payload
from webhook.config.source import ConfigError
from webhook.gates.freeze import FrozenWindow

# In GitHub's own limit are 1 MB; the longest of those in public repositories have 5 KB.
MOST_BYTES = 64 * 1024
MOST_ENVIRONMENTS = 50


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who has to approve. `logins`: None where the file does not say who (Gitploy's older
    `approval`), so that it is for the operator's file."""

    logins: tuple[str, ...] | None
    count: int
    line: int
    key: str = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEnvironment:
    """Of `envs`. None and empty: the file does not have the key. `approvers`: all have to be heard.
    `line`: where it begins; `lines`: where each key is, and each of the windows that hold, as in
    `frozen_windows[0]`. `errors`: its own ones of the file's."""

    name: str
    task: str | None = None
    description: str | None = None
    auto_merge: bool | None = None
    required_contexts: tuple[str, ...] | None = None
    payload: Payload | None = None
    dynamic_payload: DynamicPayload | None = None
    production_environment: bool | None = None
    deployable_ref: str | None = None
    auto_deploy_on: str | None = None
    serialization: bool | None = None
    review_enabled: bool | None = None
    approvers: tuple[Approvers, ...] = ()
    frozen_windows: tuple[FrozenWindow, ...] = ()
    line: int = 1
    lines: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ConfigError, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """`errors`: all of the file, each with line, column and remedy; where there is one, the
    environments that it concerns are denied. `warnings`: what Gitploy ignores, or reads otherwise
    than people do."""

    environments: tuple[FileEnvironment, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    warnings: tuple[ConfigError, ...] = ()

    def environment(self, name: str) -> FileEnvironment | None:
        """The first of that name, upper and lower case alike: here they are one environment."""
        return next((one for one in self.environments if one.name.lower() == name.lower()), None)

    def errors_for(self, name: str) -> tuple[ConfigError, ...]:
        """Those that concern an environment: its own, and those of the file as a whole, or of an
        environment whose name is missing."""
        of_others = {
            error
            for one in self.environments
            if one.name and one.name.lower() != name.lower()
            for error in one.errors
        }
        return tuple(error for error in self.errors if error not in of_others)
