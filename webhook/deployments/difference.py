"""What a deployment changes, compared with the last success in its environment."""

from dataclasses import dataclass
from urllib.parse import quote

from webhook.deployments.changelog import MOST_COMMITS, Changelog, Commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`previous_sha`: the commit of that success, "" if there was none. `changelog`: None if
    unknown. `ran`: it was started, or may be still. `rolls_back`: a person chose what to return to.
    """

    repo_url: str
    sha: str
    previous_sha: str
    changelog: Changelog | None
    ran: bool
    rolls_back: bool

    @property
    def summary(self) -> str:
        """ "" if unknown, or if nothing ran."""
        if not self.ran:
            return ""
        if self.previous_sha and self.previous_sha == self.sha:
            # To roll back to that very success, which failed ones had followed, says enough.
            return "" if self.rolls_back else "Nothing new: the same commit as the last success"
        return self.changelog.summary if self.changelog else ""

    @property
    def new_commits(self) -> tuple[Commit, ...]:
        """Those that are shown, of those that `summary` counts."""
        counted = self.changelog is not None and self.summary == self.changelog.summary
        if self.changelog is None or not counted or self.changelog.total <= 0:
            return ()
        return self.changelog.commits[:MOST_COMMITS]

    @property
    def more_commits(self) -> int:
        """How many are counted and not shown."""
        shown = len(self.new_commits)
        return max(0, self.changelog.total - shown) if self.changelog and shown else 0

    @property
    def since_sha(self) -> str:
        """What it is compared with; "" where there is nothing, or nothing else."""
        since = (self.changelog.since if self.changelog else "") or self.previous_sha
        return "" if since == self.sha else since

    @property
    def compare_url(self) -> str:
        """GitHub shows what the second commit has and the first has not; so, from the newer."""
        if not self.since_sha:
            return ""
        back = self.changelog is not None and self.changelog.total <= 0 < self.changelog.behind
        pair = (self.sha, self.since_sha) if back else (self.since_sha, self.sha)
        return on_github(self.repo_url, "compare", "...".join(pair))


def on_github(repo_url: str, kind: str, name: str) -> str:
    return f"{repo_url}/{kind}/{quote(name, errors='replace')}"
