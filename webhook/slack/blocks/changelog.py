"""What a deployment brings, as Slack shows it: the newest commits, and a link to all of them.

Source: docs.github.com, "Comparing commits" (/compare/before...after).
"""

from slack_sdk.models.blocks import SectionBlock

from webhook.deployments.changelog import MOST_COMMITS, Commit, Ships
from webhook.deployments.notice import DeploymentNotice
from webhook.deployments.phases import Phase
from webhook.slack.blocks.mrkdwn import commits, escape, link, link_only, on_github, section

# A commit's URL is short: host, repository, sha.
_LONGEST_URL = 250


def what_ships(notice: DeploymentNotice) -> list[SectionBlock]:
    """None where it is not known, or where nothing shipped because nothing began."""
    if notice.phase is Phase.ERROR and not notice.started:
        return []
    if notice.previous_sha and notice.previous_sha == notice.sha:
        if notice.origin == "rollback":  # to that very success, which failed ones had followed
            return []
        return [section("Nothing new: the same commit as the last success")]
    ships = notice.changelog
    if ships is None or (ships.total <= 0 and ships.behind <= 0):
        return []
    return [section("\n".join(_lines(notice, ships)))]


def diff(notice: DeploymentNotice) -> str:
    """A link to the difference, seen from the newer side."""
    since = (notice.changelog.since if notice.changelog else "") or notice.previous_sha
    if not since or since == notice.sha:
        return ""
    return link_only(_compare(notice, since), f"Diff to {escape(since[:7], 40)}")


def _lines(notice: DeploymentNotice, ships: Ships) -> list[str]:
    if ships.total <= 0:
        return [f"Goes back {commits(ships.behind)}"]
    back = f" and goes back {commits(ships.behind)}" if ships.behind > 0 else ""
    named = ships.commits[:MOST_COMMITS]
    lines = [f"Ships {commits(ships.total)}{back}{':' if named else ''}"]
    lines += [_line(commit) for commit in named]
    more = ships.total - len(named)
    if named and more > 0:
        lines.append(link(_compare(notice, ships.since or notice.previous_sha), f"and {more} more"))
    return lines


def _line(commit: Commit) -> str:
    sha = link(commit.url, escape(commit.sha[:7], 40), longest_url=_LONGEST_URL)
    author = escape(commit.author, 40)
    return f"• {sha} {escape(commit.title, 100)}" + (f" — {author}" if author else "")


def _compare(notice: DeploymentNotice, since: str) -> str:
    """GitHub shows what the second has and the first has not."""
    back = notice.changelog is not None and notice.changelog.total <= 0 < notice.changelog.behind
    first, second = (notice.sha, since) if back else (since, notice.sha)
    return on_github(notice.repo_url, "compare", f"{first}...{second}")
