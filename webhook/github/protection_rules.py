"""Answers to an App's own deployment protection rules, and what became of the runs that wait.

Source: docs.github.com/rest/actions/workflow-runs, "Review custom deployment protection rules for a
workflow run"; a decision is for all jobs of the run that wait for that environment. Needs the
permissions actions: read and deployments: write. Errors: those of `GitHub`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlsplit

from webhook.errors import Forbidden, Rejected
from webhook.github.client import GitHub
from webhook.github.tokens import Scope

# GitHub takes so many comments of an App without a decision, each so long.
MOST_COMMENTS, LONGEST_COMMENT = 10, 1024

_PATH = re.compile(r"/repos/([^/]+/[^/]+)/actions/runs/([1-9]\d{0,17})/deployment_protection_rule")

Kind = Literal["comment", "approved", "rejected"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A `comment` decides nothing; `text` is Markdown."""

    environment: str
    kind: Kind
    text: str

    def as_request(self) -> dict[str, str]:
        decision = {} if self.kind == "comment" else {"state": self.kind}
        return {"environment_name": self.environment, **decision, "comment": self.text}


@dataclass(frozen=True, slots=True)
class RunState:
    """`conclusion`: "" until it has ended, which was at `updated_at`."""

    status: str
    conclusion: str
    updated_at: datetime

    @property
    def ended(self) -> bool:
        return self.status == "completed"


def run_of(callback_url: str, api_url: str, repo: str) -> int | None:
    """The workflow run to which the address belongs; None if it is not the documented one, of the
    configured API and of that repository. Only the number is used of it."""
    try:
        called, api = urlsplit(callback_url), urlsplit(api_url)
        same = (called.scheme, called.netloc.lower()) == (api.scheme, api.netloc.lower())
    except ValueError:
        return None
    base = api.path.rstrip("/")
    found = _PATH.fullmatch(called.path.removeprefix(base))
    if not same or called.query or called.fragment or not called.path.startswith(base):
        return None
    return int(found[2]) if found and found[1].lower() == repo.lower() else None


def _may(scope: Scope) -> Scope:
    return scope.only(actions="read", deployments="write")


def _path(scope: Scope, run_id: int, what: str = "") -> str:
    return f"/repos/{scope.repo}/actions/runs/{run_id}{what}"


async def require_access(github: GitHub, scope: Scope) -> None:
    await github.require_access(_may(scope))


async def answer(github: GitHub, scope: Scope, run_id: int, given: Answer) -> None:
    """`Rejected` (422) where nothing waits for it, or where there were too many comments."""
    path = _path(scope, run_id, "/deployment_protection_rule")
    await github.request(_may(scope), "POST", path, lambda _: None, given.as_request())


async def is_answered(github: GitHub, scope: Scope, run_id: int, kind: Kind, marker: str) -> bool:
    """Whether the run has an answer of that kind with this marker, which no other has."""
    state = "pending" if kind == "comment" else kind

    def found(reviews: Any) -> bool:
        return any(one["state"] == state and marker in str(one["comment"] or "") for one in reviews)

    return await github.request(_may(scope), "GET", _path(scope, run_id, "/approvals"), found)


async def is_pending(github: GitHub, scope: Scope, run_id: int, environment: str) -> bool:
    """Whether jobs of the run wait for the environment, whatever rule holds them back."""

    def found(pending: Any) -> bool:
        return any(one["environment"]["name"].lower() == environment.lower() for one in pending)

    path = _path(scope, run_id, "/pending_deployments")
    try:
        return await github.request(_may(scope), "GET", path, found)
    except Rejected as error:
        if is_missing(error):
            return False
        raise


async def run_state(github: GitHub, scope: Scope, run_id: int) -> RunState:
    return await github.request(_may(scope), "GET", _path(scope, run_id), _run_state)


def is_missing(error: Rejected) -> bool:
    return error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden)


def _run_state(run: Mapping[str, Any]) -> RunState:
    at = datetime.fromisoformat(run["updated_at"])
    return RunState(str(run["status"]), str(run["conclusion"] or ""), at)


async def newest_status(
    github: GitHub, scope: Scope, deployment_id: int
) -> Mapping[str, Any] | None:
    """Of a deployment, as GitHub describes it."""
    path = f"/repos/{scope.repo}/deployments/{deployment_id}/statuses?per_page=1"

    def first(statuses: Any) -> Mapping[str, Any] | None:
        return next(iter(statuses), None)

    return await github.request(scope.only(deployments="write"), "GET", path, first)
