"""What happened to commits: pushes, and what was reported of them. Of organizations there are many
of these, and most concern nobody.

Source and errors: as of `webhook.github.events`.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, AliasPath, BeforeValidator, Field

from webhook.deployments.models import GitHubId, Login, Repository, Text

NO_COMMIT = "0" * 40
# docs.github.com/actions/how-tos/manage-workflow-runs/skip-workflow-runs: no workflow runs for
# such a commit, so that its checks are never reported.
_SKIPS_CHECKS = re.compile(
    r"\[(?:skip ci|ci skip|no ci|skip actions|actions skip)\]|^skip-checks: ?true\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_SKIPS_DEPLOYMENT = re.compile(r"\[(?:skip deploy|deploy skip)\]", re.IGNORECASE)

_InstallationId = Annotated[GitHubId, Field(validation_alias=AliasPath("installation", "id"))]


def _person(value: Any) -> int:
    """The number of a person's account; 0 of a bot's, and where it is not known."""
    account = value if isinstance(value, dict) else {}
    number, login = account.get("id"), str(account.get("login") or "")
    if account.get("type") == "Bot" or login.endswith("[bot]"):
        return 0
    return number if isinstance(number, int) and 0 < number < 2**63 else 0


@dataclass(frozen=True, slots=True)
class HeadCommit:
    id: str
    message: Text = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """`ref`: by its full name. `after`: where it is now, for an annotated tag the tag's own object;
    `head`: the commit, None where the ref was deleted. `sender_id`: of a person, else 0."""

    repository: Repository
    installation_id: _InstallationId
    ref: str
    after: str
    head: Annotated[HeadCommit | None, Field(validation_alias="head_commit")] = None
    deleted: bool = False
    default_branch: Annotated[
        Text, Field(validation_alias=AliasPath("repository", "default_branch"))
    ] = ""
    sender: Login = ""
    sender_id: Annotated[int, BeforeValidator(_person), Field(validation_alias="sender")] = 0

    @property
    def sha(self) -> str:
        """The commit that was pushed; "" if none was."""
        if self.deleted or self.after == NO_COMMIT:
            return ""
        return self.head.id if self.head else self.after

    @property
    def changes_default_branch(self) -> bool:
        """Or may: GitHub always says which that is."""
        return self.ref == f"refs/heads/{self.default_branch}" or not self.default_branch

    @property
    def skips_deployment(self) -> str:
        """The marker in the message of its newest commit; "" without one."""
        return self._marker(_SKIPS_DEPLOYMENT)

    @property
    def skips_checks(self) -> str:
        """The same of one by which GitHub starts no workflow."""
        return self._marker(_SKIPS_CHECKS)

    def _marker(self, pattern: re.Pattern[str]) -> str:
        found = pattern.search(self.head.message) if self.head else None
        return found[0].strip() if found else ""


@dataclass(frozen=True, slots=True)
class CommitReported:
    """A commit status, or a check that has ended. `context`: its name, "" of a whole suite."""

    repository: Repository
    sha: Annotated[
        str,
        Field(
            validation_alias=AliasChoices(
                "sha", AliasPath("check_run", "head_sha"), AliasPath("check_suite", "head_sha")
            )
        ),
    ]
    context: Annotated[
        Text, Field(validation_alias=AliasChoices("context", AliasPath("check_run", "name")))
    ] = ""
