"""GitHub Actions of one repository, as the handler asks for it.

Source: https://docs.github.com/rest/actions
GitHub answers lists with a filter from a search index, which can be minutes behind; lists without
one are up to date, but old runs are many pages away in a busy repository. So both are of use.
Errors: those of `GitHubApi`; `UnknownOutcome` for a document that is not understood.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from handlers.contract import Deployment, GitHubApi
from handlers.errors import Rejected, Unavailable
from handlers.github_actions.documents import (
    AskedDeployment,
    Jobs,
    WorkflowRun,
    deployments_of,
    jobs_of,
    run_of,
    runs_of,
)

PAGE = 100


class Actions:
    def __init__(
        self, github: GitHubApi, deployment: Deployment, permissions: Mapping[str, str]
    ) -> None:
        self._github = github
        self._deployment = deployment
        self._permissions = permissions
        self._path = f"/repos/{deployment.repo}"

    async def newest_runs(self) -> list[WorkflowRun]:
        return runs_of(await self._get("/actions/runs"))

    async def runs_of_commit(self, sha: str, event: str) -> list[WorkflowRun]:
        return runs_of(await self._get("/actions/runs", head_sha=sha, event=event))

    async def runs_of_workflow(self, file: str, event: str, created: str) -> list[WorkflowRun]:
        path = f"/actions/workflows/{quote(file)}/runs"
        return runs_of(await self._get(path, event=event, created=created))

    async def run(self, run_id: int) -> WorkflowRun | None:
        """None: GitHub does not know it, or not any more."""
        try:
            return run_of(await self._get(f"/actions/runs/{run_id}"))
        except Rejected as refused:
            if refused.status == 404:
                return None
            raise

    async def jobs(self, run_id: int) -> Jobs:
        return jobs_of(await self._get(f"/actions/runs/{run_id}/jobs"))

    async def deployments(self, sha: str) -> list[AskedDeployment]:
        return deployments_of(await self._get("/deployments", sha=sha))

    async def dispatch(self, file: str, body: Mapping[str, Any]) -> Any:
        return await self._post(f"/actions/workflows/{quote(file)}/dispatches", body)

    async def cancel(self, run_id: int) -> None:
        """Harmless where it has ended (409) or is gone (404)."""
        try:
            await self._post(f"/actions/runs/{run_id}/cancel", {})
        except Rejected as refused:
            if refused.status not in (404, 409):
                raise

    async def _get(self, path: str, **query: str) -> Any:
        whole = f"{self._path}{path}?{urlencode({**query, 'per_page': PAGE})}"
        return await self._github.get(self._deployment, self._permissions, whole)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        whole = f"{self._path}{path}"
        return await self._github.post(self._deployment, self._permissions, whole, body)


@contextmanager
def mendable() -> Iterator[None]:
    """While a run goes on, a refusal may be put right: it is asked for again until the deadline."""
    try:
        yield
    except Rejected as refused:
        raise Unavailable(str(refused)) from refused
