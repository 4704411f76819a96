"""What a deployment brings: the commits between what ran there before and what runs there now."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

# How many are shown by name; of the others only the number.
MOST_COMMITS = 5


def commits(number: int) -> str:
    return f"{number} commit" if number == 1 else f"{number} commits"


@dataclass(frozen=True, slots=True)
class Commit:
    """`title` is one line; `author` a login where GitHub knows one, else the name in the commit."""

    sha: str
    title: str
    author: str
    url: str


@dataclass(frozen=True, slots=True)
class Changelog:
    """`since` is the commit before. `total` commits are new, the newest few of them in `commits`,
    newest first; `behind` of those before are taken back, in a rollback for example."""

    since: str
    total: int
    behind: int
    commits: tuple[Commit, ...]

    @property
    def more(self) -> int:
        """How many are new but not named."""
        return max(0, self.total - len(self.commits))

    @property
    def summary(self) -> str:
        """ "" where nothing changes."""
        back = f"goes back {commits(self.behind)}" if self.behind > 0 else ""
        if self.total <= 0:
            return back.capitalize()
        return f"Deploys {commits(self.total)}" + (f" and {back}" if back else "")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "commits": [asdict(commit) for commit in self.commits]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            since=document["since"],
            total=document["total"],
            behind=document["behind"],
            commits=tuple(Commit(**commit) for commit in document["commits"]),
        )
