"""The responses to tools: GitHub's documents, built from what the relay knows.

Source: the shapes in GitHub's OpenAPI description; tests compare with githubkit's models.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhook.status_api.reports import STATES, CommitReport
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import TimelineEntry
from webhook.text import one_line

Document = dict[str, Any]

# What GitHub's clients require of a repository, and the relay does not know.
_REPOSITORY_LINKS = (
    "archive assignees blobs branches collaborators comments commits compare contents contributors"
    " deployments downloads events forks git_commits git_refs git_tags hooks issue_comment"
    " issue_events issues keys labels languages merges milestones notifications pulls releases"
    " stargazers subscribers subscription tags teams trees"
)
_REPOSITORY_COUNTS = (
    "forks forks_count stargazers_count watchers watchers_count subscribers_count network_count"
    " open_issues open_issues_count size"
)
_REPOSITORY_FLAGS = (
    "fork archived disabled has_issues has_projects has_wiki has_pages has_discussions"
    " has_downloads"
)
_REPOSITORY_BLANKS = "description homepage language license mirror_url"
_ACCOUNT_LINKS = "followers following gists starred subscriptions organizations repos events"


@dataclass(frozen=True, slots=True)
class Documents:
    """`server_url` is where people and tools reach the relay."""

    server_url: str

    @property
    def api(self) -> str:
        return f"{self.server_url}/api/v3"

    def repository(self, row: DeploymentRow) -> Document:
        """The relay knows its names, its id and its page; the rest is there for clients only."""
        owner, _, name = row.repo.partition("/")
        url, page, since = self._repository_url(row), row.repo_url, _iso(row.created_at)
        return {
            "id": row.repo_id,
            "node_id": _node("R", row.repo_id),
            "name": name,
            "full_name": row.repo,
            "owner": self._account(owner, "User"),
            "private": True,
            "html_url": page,
            "url": url,
            "statuses_url": f"{url}/statuses/{{sha}}",
            **{f"{link}_url": f"{url}/{link}" for link in _REPOSITORY_LINKS.split()},
            **{f"{kind}_url": f"{page}.git" for kind in ("clone", "git", "ssh")},
            "svn_url": page,
            "default_branch": "",
            **dict.fromkeys(_REPOSITORY_BLANKS.split()),
            **dict.fromkeys(_REPOSITORY_COUNTS.split(), 0),
            **dict.fromkeys(_REPOSITORY_FLAGS.split(), False),
            **dict.fromkeys(("created_at", "updated_at", "pushed_at"), since),
        }

    def deployment(self, row: DeploymentRow) -> Document:
        url = self._deployment_url(row)
        return {
            "url": url,
            "id": row.id,
            "node_id": _node("DE", row.id),
            "sha": row.sha,
            "ref": row.ref,
            "task": row.task,
            "payload": row.payload if row.payload is not None else {},
            "original_environment": row.environment,
            "environment": row.environment,
            "description": row.description,
            "creator": self._user(row.creator) if row.creator else None,
            "created_at": _iso(row.created_at),
            "updated_at": _iso(row.phase_at),
            "statuses_url": f"{url}/statuses",
            "repository_url": self._repository_url(row),
            "transient_environment": row.transient,
            "production_environment": row.production_on_github,
            "performed_via_github_app": None,
        }

    def status(self, row: DeploymentRow, entry: TimelineEntry) -> Document:
        deployment_url = self._deployment_url(row)
        return {
            "url": f"{deployment_url}/statuses/{entry.id}",
            "id": entry.id,
            "node_id": _node("DES", entry.id),
            # What GitHub Actions and others report may not be in GitHub's own list.
            "state": entry.state if entry.state in STATES else "pending",
            "creator": self._reporter(entry),
            "description": one_line(entry.description),
            "environment": row.environment,
            "target_url": entry.log_url,
            "created_at": _iso(entry.at),
            "updated_at": _iso(entry.at),
            "deployment_url": deployment_url,
            "repository_url": self._repository_url(row),
            "environment_url": entry.environment_url,
            "log_url": entry.log_url,
            "performed_via_github_app": None,
        }

    def commit_status(
        self, row: DeploymentRow, entry: TimelineEntry, report: CommitReport
    ) -> Document:
        reporter = self._reporter(entry)
        return {
            "url": f"{self._repository_url(row)}/statuses/{row.sha}",
            "avatar_url": reporter["avatar_url"],
            "id": entry.id,
            "node_id": _node("SC", entry.id),
            "state": report.state,
            "description": one_line(entry.description),
            "target_url": entry.log_url,
            "context": report.context,
            "created_at": _iso(entry.at),
            "updated_at": _iso(entry.at),
            "creator": reporter,
        }

    def _reporter(self, entry: TimelineEntry) -> Document:
        """GitHub's status of somebody else has GitHub's id; ours is by the relay or the tool."""
        others = entry.github_id is not None and entry.outbox is None
        return self._user(entry.actor if others else f"{entry.actor}[bot]")

    def _user(self, login: str) -> Document:
        return self._account(login, "Bot" if login.endswith("[bot]") else "User")

    def _account(self, login: str, kind: str) -> Document:
        """No number of GitHub's: the relay does not know it."""
        url = f"{self.api}/users/{login}"
        return {
            "login": login,
            "id": 0,
            "node_id": _node("U", 0),
            "avatar_url": "",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.server_url}/{login.removesuffix('[bot]')}",
            **{f"{link}_url": f"{url}/{link}" for link in _ACCOUNT_LINKS.split()},
            "received_events_url": f"{url}/received_events",
            "type": kind,
            "site_admin": False,
        }

    def _repository_url(self, row: DeploymentRow) -> str:
        return f"{self.api}/repos/{row.repo}"

    def _deployment_url(self, row: DeploymentRow) -> str:
        return f"{self._repository_url(row)}/deployments/{row.id}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _node(kind: str, number: int) -> str:
    return f"{kind}_{base64.urlsafe_b64encode(str(number).encode()).decode().rstrip('=')}"
