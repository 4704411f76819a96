"""The state of each context of a commit: of commit statuses and of check runs alike.

Source: docs.github.com/rest/commits/statuses, docs.github.com/rest/checks/runs, and "About status
checks": of a status and a check of the same name, both count. Of each status context, and of each
name of an App's check runs, the newest counts. Check suites say nothing more: GitHub opens an empty
one for each App that may write checks, which stays queued for ever.

A skipped check has not succeeded, as for GitHub's own `required_contexts` of a deployment; a
neutral one has. What was never reported is not here: it is pending.
Errors: those of `GitHub`. Needs the permissions statuses: read and checks: read.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from webhook.github.client import GitHub
from webhook.github.tokens import Scope

T = TypeVar("T")
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


async def _reported(
    github: GitHub, scope: Scope, sha: str
) -> AsyncIterator[tuple[str, ContextState]]:
    """The combined status has the newest of each context already."""
    reading = scope.only(statuses="read")
    for status in await _pages(github, reading, f"{sha}/status", "statuses", _status):
        yield status
    runs = await _pages(github, scope.only(checks="read"), f"{sha}/check-runs", "check_runs", _run)
    for run in _newest_runs(runs):
        yield run.name, run.state


async def _pages(
    github: GitHub, scope: Scope, path: str, key: str, read: Callable[[Mapping[str, Any]], T]
) -> list[T]:
    found: list[T] = []
    for page in range(1, MOST_PAGES + 1):
        address = f"/repos/{scope.repo}/commits/{path}?per_page={ON_A_PAGE}&page={page}"
        some = await github.request(
            scope, "GET", address, lambda document: [read(one) for one in document[key]]
        )
        found += some
        if len(some) < ON_A_PAGE:
            break
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    id: int
    app: int
    name: str
    state: ContextState


def _status(status: Mapping[str, Any]) -> tuple[str, ContextState]:
    return str(status["context"]), _NAMED.get(str(status["state"]), "failure")


def _run(run: Mapping[str, Any]) -> _Run:
    app = run.get("app") or {}
    return _Run(int(run["id"]), int(app.get("id") or 0), str(run["name"]), _state_of(run))


def _newest_runs(runs: Iterable[_Run]) -> Iterable[_Run]:
    """`filter=latest` is of each suite, and a commit may have several of an App."""
    newest = {(run.app, run.name): run for run in sorted(runs, key=lambda run: run.id)}
    return newest.values()


def _state_of(run: Mapping[str, Any]) -> ContextState:
    if run.get("status") != "completed":
        return "pending"
    return "success" if run.get("conclusion") in _SUCCEEDED else "failure"


def _together(states: set[ContextState]) -> ContextState:
    if "failure" in states:
        return "failure"
    return "pending" if "pending" in states else "success"
