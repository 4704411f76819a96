"""Drift: what an environment lacks of the one before it, as far as the relay knows.

GitHub was asked for the commits of a deployment since the success before it. Where successes follow
each other and none goes back, their numbers add up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from webhook.deployments.changelog import commits


# A tuple, as a board reads some thousand.
class Success(NamedTuple):
    """`total` commits are new in it since the commit `since`, and `behind` of that are taken back.
    `since` "": that is not known."""

    sha: str
    since: str
    total: int
    behind: int


@dataclass(frozen=True, slots=True)
class Drift:
    """Of an environment compared with the one `before`, which has another commit. `lacks`: so many
    commits of it; `ahead`: so many that are not there. None: nobody knows how many."""

    before: str
    lacks: int | None
    ahead: int | None

    @property
    def text(self) -> str:
        if self.lacks is None or self.ahead is None:
            return f"differs from {self.before}"
        behind = f"{commits(self.lacks)} behind"
        ahead = f"{commits(self.ahead)} ahead of"
        parts = [text for number, text in ((self.lacks, behind), (self.ahead, ahead)) if number]
        return f"{', '.join(parts)} {self.before}" if parts else f"as {self.before}"


def drift(
    before: str,
    here: Sequence[Success],
    there: Sequence[Success],
    others: Iterable[Success] = (),
) -> Drift:
    """`here`, `there`: the last successes of the environment, and of the one `before` it, the
    newest first; one each at least. `others`: deployments that were compared with what is there."""
    own, its = here[0].sha, there[0].sha
    for one in others:
        if one.sha == its and one.since == own:
            return Drift(before, one.total, one.behind)
    if (known := _since(own, there)) is not None:
        return Drift(before, lacks=known[0], ahead=known[1])
    if (known := _since(its, here)) is not None:
        return Drift(before, lacks=known[1], ahead=known[0])
    return Drift(before, None, None)


def _since(sha: str, successes: Sequence[Success]) -> tuple[int, int] | None:
    """How many commits the newest of these has and `sha` has not, and the other way round."""
    at, total = successes[0].sha, 0
    for one in successes:
        # The same commit again, or what was tried besides.
        if one.sha != at or one.since in ("", at):
            continue
        if one.behind:
            return (one.total, one.behind) if one.since == sha and total == 0 else None
        at, total = one.since, total + one.total
        if at == sha:
            return total, 0
    return None
