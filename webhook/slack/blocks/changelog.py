"""What a deployment brings, as Slack shows it: the newest commits, and a link to all of them.

Source: docs.github.com, "Comparing commits" (/compare/before...after).
"""

from slack_sdk.models.blocks import SectionBlock

from webhook.deployments.changelog import Commit
from webhook.deployments.notice import DeploymentNotice
from webhook.slack.blocks.mrkdwn import escape, link, link_only, section

# A commit's URL is short: host, repository, sha.
_LONGEST_URL = 250


def changes(notice: DeploymentNotice) -> list[SectionBlock]:
    """None where they are not known, or where nothing ran."""
    if not notice.changes:
        return []
    named = notice.new_commits
    lines = [f"{notice.changes}:" if named else notice.changes, *map(_line, named)]
    more = notice.changelog.total - len(named) if notice.changelog and named else 0
    if more > 0:
        lines.append(link(notice.compare_url, f"and {more} more"))
    return [section("\n".join(lines))]


def diff(notice: DeploymentNotice) -> str:
    """A link to the difference, seen from the newer side."""
    return link_only(notice.compare_url, f"Diff to {escape(notice.since_sha[:7], 40)}")


def _line(commit: Commit) -> str:
    sha = link(commit.url, escape(commit.sha[:7], 40), longest_url=_LONGEST_URL)
    author = escape(commit.author, 40)
    return f"• {sha} {escape(commit.title, 100)}" + (f" — {author}" if author else "")
