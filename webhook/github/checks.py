"""The state of each context of a commit: of commit statuses and of check runs alike.

Source: docs.github.com/rest/commits/statuses, docs.github.com/rest/checks/runs, and "About status
checks": of a status and a check of the same name, both count. Of each status context, and of each
name of an App's check runs, the newest counts. Check suites say nothing more: GitHub opens an empty
one for each App that may write checks, which stays queued for ever.

A skipped check has not succeeded, as for GitHub's own `required_contexts` of a deployment; a
neutral one has. What was never reported is not here: it is pending.
Errors: those of `GitHub`. Needs the permissions statuses: read and checks: read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from webhook.github.client import GitHub
from webhook.github.tokens import Scope

ContextState = Literal["success", "pending", "failure"]

# GitHub lists no more than a hundred at once, and check runs of the newest thousand suites.
ON_A_PAGE, MOST_PAGES = 100, 20
_SUCCEEDED = ("success", "neutral")
_NAMED: Mapping[str, ContextState] = {"success": "success", "pending": "pending"}


async def contexts_of(github: GitHub, scope: Scope, sha: str) -> dict[str, ContextState]:
    found: dict[str, set[ContextState]] = {}
    async for name, state in _reported(github, scope, sha):
        found.setdefault(name, set()).add(state)
    return {name: _together(states) for name, states in found.items()}


async def _reported(github: GitHub, scope: Scope, sha: str) -> Any:
    statuses = await _pages(github, scope.only(statuses="read"), sha, "status", "statuses")
    for name, state in _newest_statuses(statuses):
        yield name, state
    runs = await _pages(github, scope.only(checks="read"), sha, "check-runs", "check_runs")
    for name, state in _newest_runs(runs):
        yield name, state


async def _pages(
    github: GitHub, scope: Scope, sha: str, path: str, key: str
) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for page in range(1, MOST_PAGES + 1):
        query = f"per_page={ON_A_PAGE}&page={page}"
        address = f"/repos/{scope.repo}/commits/{sha}/{path}?{query}"
        some = await github.request(scope, "GET", address, lambda document: list(document[key]))
        found += some
        if len(some) < ON_A_PAGE:
            break
    return found


def _newest_statuses(
    statuses: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[str, ContextState]]:
    """The combined status has the newest of each context already."""
    for one in statuses:
        yield str(one["context"]), _NAMED.get(str(one["state"]), "failure")


def _newest_runs(runs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ContextState]]:
    """`filter=latest` is of each suite, and a commit may have several of an App."""
    newest: dict[tuple[int, str], Mapping[str, Any]] = {}
    for run in sorted(runs, key=lambda run: int(run["id"])):
        app = run.get("app") or {}
        newest[int(app.get("id") or 0), str(run["name"])] = run
    for (_, name), run in newest.items():
        yield name, _state_of(run)


def _state_of(run: Mapping[str, Any]) -> ContextState:
    if run.get("status") != "completed":
        return "pending"
    return "success" if run.get("conclusion") in _SUCCEEDED else "failure"


def _together(states: set[ContextState]) -> ContextState:
    if "failure" in states:
        return "failure"
    return "pending" if "pending" in states else "success"
