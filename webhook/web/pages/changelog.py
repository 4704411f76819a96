"""What a deployment changes, as pages show it: commits, and where all of them are.

Text from outside is one line without control characters; escaping is the templates'.
"""

from dataclasses import dataclass

from webhook.deployments.changelog import Changelog, Commit
from webhook.store.deployments import DeploymentRow
from webhook.text import web_url
from webhook.web.pages.elements import Link, line


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitView:
    sha: Link
    title: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesView:
    """What it deploys: `commits` are the newest, `more` leads to all of them."""

    summary: str
    commits: tuple[CommitView, ...]
    more: Link | None
    diff: Link | None


def changelog_since(row: DeploymentRow, since: str) -> Changelog | None:
    """As far as GitHub has been asked for it."""
    known = row.changelog or {}
    compared = known.get("since") == since and "total" in known
    return Changelog.from_json(known) if compared else None


def commit_view(commit: Commit) -> CommitView:
    return CommitView(
        sha=Link(web_url(commit.url), line(commit.sha[:7])),
        title=line(commit.title),
        author=line(commit.author),
    )
