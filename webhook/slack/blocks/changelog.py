"""What a deployment brings, as Slack shows it: the newest commits, and a link to all of them.

Source: docs.github.com, "Comparing commits" (/compare/before...after).
"""

from slack_sdk.models.blocks import SectionBlock

from webhook.deployments.changelog import MOST_COMMITS, Commit, Ships
from webhook.deployments.phases import Phase
from webhook.slack.blocks.mrkdwn import commits, escape, link, link_only, on_github, section
from webhook.slack.blocks.notice import Told

# A commit's URL is short: host, repository, sha.
_LONGEST_URL = 250


def what_ships(told: Told) -> list[SectionBlock]:
    """None where it is not known, or where nothing shipped because nothing began."""
    if told.phase is Phase.ERROR and not told.began:
        return []
    if told.since_sha and told.since_sha == told.sha:
        if told.origin == "rollback":  # to that very success, which failed ones had followed
            return []
        return [section("Nothing new: the same commit as the last success")]
    ships = told.ships
    if ships is None or (ships.total <= 0 and ships.behind <= 0):
        return []
    return [section("\n".join(_lines(told, ships)))]


def diff(told: Told) -> str:
    """A link to the difference, seen from the newer side."""
    since = (told.ships.since if told.ships else "") or told.since_sha
    if not since or since == told.sha:
        return ""
    return link_only(_compare(told, since), f"Diff to {escape(since[:7], 40)}")


def _lines(told: Told, ships: Ships) -> list[str]:
    if ships.total <= 0:
        return [f"Goes back {commits(ships.behind)}"]
    back = f" and goes back {commits(ships.behind)}" if ships.behind > 0 else ""
    named = ships.commits[:MOST_COMMITS]
    lines = [f"Ships {commits(ships.total)}{back}{':' if named else ''}"]
    lines += [_line(commit) for commit in named]
    more = ships.total - len(named)
    if named and more > 0:
        lines.append(link(_compare(told, ships.since or told.since_sha), f"and {more} more"))
    return lines


def _line(commit: Commit) -> str:
    sha = link(commit.url, escape(commit.sha[:7], 40), longest_url=_LONGEST_URL)
    author = escape(commit.author, 40)
    return f"• {sha} {escape(commit.title, 100)}" + (f" — {author}" if author else "")


def _compare(told: Told, since: str) -> str:
    """GitHub shows what the second has and the first has not."""
    back = told.ships is not None and told.ships.total <= 0 < told.ships.behind
    first, second = (told.sha, since) if back else (since, told.sha)
    return on_github(told.repo_url, "compare", f"{first}...{second}")
