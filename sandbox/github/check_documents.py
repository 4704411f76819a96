"""GitHub's documents about commit statuses, check runs and check suites, and their events.

Source: the shapes that githubkit generates from GitHub's OpenAPI description; tests compare.
"""

from collections.abc import Sequence
from datetime import datetime

from sandbox.github.documents import Documents, iso, node
from sandbox.github.events import Events
from sandbox.github.model import (
    Account,
    CheckApp,
    CheckRun,
    CheckSuite,
    CommitStatus,
    Json,
    Repository,
)

UNSIGNED = {
    "verified": False,
    "reason": "unsigned",
    **dict.fromkeys(("signature", "payload", "verified_at")),
}
NO_OUTPUT: Json = {"title": None, "summary": None, "text": None}


class CheckDocuments:
    def __init__(self, documents: Documents, events: Events) -> None:
        self._documents = documents
        self._events = events

    # -- commit statuses ----------------------------------------------------------------------

    def status(self, repository: Repository, status: CommitStatus) -> Json:
        creator = status.creator
        return {
            **self._simple(repository, status),
            "creator": self._documents.account(creator) if creator else None,
        }

    def combined(
        self, repository: Repository, sha: str, statuses: Sequence[CommitStatus], state: str
    ) -> Json:
        url = self._url(repository)
        return {
            "state": state,
            "statuses": [self._simple(repository, one) for one in statuses],
            "sha": sha,
            "total_count": len(statuses),
            "repository": self._documents.repository(repository),
            "commit_url": f"{url}/commits/{sha}",
            "url": f"{url}/commits/{sha}/status",
        }

    def _simple(self, repository: Repository, status: CommitStatus) -> Json:
        at = iso(status.created_at)
        return {
            "url": f"{self._url(repository)}/statuses/{status.sha}",
            "avatar_url": None,
            "id": status.id,
            "node_id": node("SC", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": at,
            "updated_at": at,
        }

    def status_event(self, repository: Repository, status: CommitStatus, sender: Account) -> Json:
        commit = self._documents.commit(repository, repository.git.commits[status.sha])
        commit["commit"]["verification"] = UNSIGNED
        branches = [name for name, sha in repository.git.refs.items() if sha == status.sha]
        url = f"{self._url(repository)}/commits/{status.sha}"
        return {
            "id": status.id,
            "sha": status.sha,
            "name": repository.full_name,
            "avatar_url": None,
            "target_url": status.target_url,
            "context": status.context,
            "description": status.description,
            "state": status.state,
            "commit": commit,
            "branches": [
                {"name": name, "commit": {"sha": status.sha, "url": url}, "protected": False}
                for name in branches
            ],
            "created_at": iso(status.created_at),
            "updated_at": iso(status.created_at),
            **self._events.common_fields(repository, sender),
        }

    # -- check runs and suites ----------------------------------------------------------------

    def run(self, repository: Repository, run: CheckRun) -> Json:
        url, html = self._url(repository), self._html(repository)
        own = f"{url}/check-runs/{run.id}"
        output = {**NO_OUTPUT, **run.output, "annotations_count": len(run.annotations)}
        return {
            "id": run.id,
            "name": run.name,
            "node_id": node("CR", run.id),
            "head_sha": run.head_sha,
            "external_id": run.external_id,
            "url": own,
            "html_url": f"{html}/runs/{run.id}",
            "details_url": run.details_url or f"{html}/runs/{run.id}",
            "status": run.status,
            "conclusion": run.conclusion,
            "started_at": iso(run.started_at),
            "completed_at": _moment(run.completed_at),
            "output": {**output, "annotations_url": f"{own}/annotations"},
            "check_suite": {"id": run.suite.id},
            "app": self._app(run.app),
            "pull_requests": [],
        }

    def suite(self, repository: Repository, suite: CheckSuite) -> Json:
        url = f"{self._url(repository)}/check-suites/{suite.id}"
        return {
            **self._simple_suite(repository, suite),
            "repository": self._documents.repository(repository),
            "head_commit": self._simple_commit(repository, suite.head_sha),
            "latest_check_runs_count": len(suite.latest),
            "check_runs_url": f"{url}/check-runs",
            "rerequestable": True,
            "runs_rerequestable": True,
        }

    def run_event(self, repository: Repository, action: str, run: CheckRun, by: Account) -> Json:
        suite = self._simple_suite(repository, run.suite)
        return {
            "action": action,
            "check_run": {**self.run(repository, run), "check_suite": suite},
            **self._events.common_fields(repository, by),
        }

    def suite_event(
        self, repository: Repository, action: str, suite: CheckSuite, by: Account
    ) -> Json:
        document = self.suite(repository, suite)
        del document["repository"]
        return {
            "action": action,
            "check_suite": document,
            **self._events.common_fields(repository, by),
        }

    def _simple_suite(self, repository: Repository, suite: CheckSuite) -> Json:
        at = iso(suite.created_at)
        return {
            "id": suite.id,
            "node_id": node("CS", suite.id),
            "head_branch": suite.head_branch,
            "head_sha": suite.head_sha,
            "status": suite.status,
            "conclusion": suite.conclusion,
            "url": f"{self._url(repository)}/check-suites/{suite.id}",
            "before": None,
            "after": suite.head_sha,
            "pull_requests": [],
            "app": self._app(suite.app),
            "created_at": at,
            "updated_at": at,
        }

    def _simple_commit(self, repository: Repository, sha: str) -> Json:
        commit = repository.git.commits[sha]
        who = {"name": commit.author, "email": "nobody@example.com"}
        return {
            "id": sha,
            "tree_id": sha,
            "message": commit.message,
            "timestamp": iso(commit.at),
            "author": who,
            "committer": who,
        }

    def _app(self, app: CheckApp) -> Json:
        own = self._documents.app()
        if app.id == own["id"]:
            return own
        other = {"id": app.id, "client_id": f"Iv1.{app.id}", "slug": app.slug, "name": app.slug}
        return {**own, **other, "events": [], "permissions": {}}

    def _url(self, repository: Repository) -> str:
        return f"{self._documents.api}/repos/{repository.full_name}"

    def _html(self, repository: Repository) -> str:
        return self._url(repository).replace("/api/v3/repos/", "/")


def _moment(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None
