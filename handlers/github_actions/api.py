"""GitHub Actions of one repository: the calls that the handler makes, and the JSON that it reads.

GitHub serves lists with a filter from a search index, which can be minutes behind; lists without
one are up to date, but old runs are many pages away in a busy repository. So both are useful.

Source: https://docs.github.com/rest/actions
Errors: those of `GitHubApi`; `UnknownOutcome` for JSON of another shape.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from handlers.contract import Deployment, GitHubApi
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.text import web_url

PAGE = 100


ACTIONS_BOT = "github-actions[bot]"
ACTIONS_APP = "github-actions"

T = TypeVar("T")


def _text(value: Any) -> Any:
    return "" if value is None else value


Id = Annotated[int, Field(strict=True, gt=0, lt=2**63)]
_Text = Annotated[str, BeforeValidator(_text)]
_WebUrl = Annotated[str, BeforeValidator(web_url)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class WorkflowRun(_Document):
    """`status` and `conclusion` may be new ones that the relay does not know."""

    id: Id
    workflow_id: Id
    name: _Text = ""
    path: _Text = ""
    display_title: _Text = ""
    event: str
    head_sha: str
    status: _Text = ""
    conclusion: _Text = ""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    run_attempt: int = 1
    html_url: _WebUrl = ""

    @property
    def ended(self) -> bool:
        return self.status == "completed" and bool(self.conclusion)

    @property
    def file(self) -> str:
        """GitHub writes `.github/workflows/deploy.yml`, at times with `@main` behind it."""
        return self.path.partition("@")[0].rpartition("/")[2]

    @property
    def age(self) -> tuple[datetime, int]:
        """For sorting: oldest first."""
        return self.created_at, self.id

    @property
    def revision(self) -> tuple[int, bool, datetime]:
        """For comparing two documents of one run: GitHub's lists and events may be out of date."""
        return self.run_attempt, self.ended, self.updated_at

    def mentions(self, deployment_id: int) -> bool:
        """Whether its title has that number in it."""
        return re.search(rf"(?<!\d){deployment_id}(?!\d)", self.display_title) is not None


class Step(_Document):
    name: _Text = ""
    conclusion: _Text = ""


class Job(_Document):
    name: _Text = ""
    status: _Text = ""
    conclusion: _Text = ""
    steps: Annotated[list[Step], BeforeValidator(lambda steps: steps or [])] = []


class Jobs(_Document):
    """Of one run; the first hundred."""

    total_count: int = Field(ge=0)
    jobs: list[Job]

    @property
    def all_skipped(self) -> bool:
        skipped = [job for job in self.jobs if job.conclusion == "skipped"]
        return 0 < self.total_count == len(skipped)


class _Account(_Document):
    login: _Text = ""


class _App(_Document):
    slug: _Text = ""


class DeploymentDocument(_Document):
    id: Id
    created_at: AwareDatetime
    creator: _Account | None = None
    performed_via_github_app: _App | None = None

    @property
    def by_actions(self) -> bool:
        """What a workflow does with its own token starts no workflow.

        Source: https://docs.github.com/actions/concepts/security/github_token
        """
        creator, app = self.creator or _Account(), self.performed_via_github_app or _App()
        return creator.login == ACTIONS_BOT or app.slug == ACTIONS_APP


class JobOfRun(Job):
    """As an event has it."""

    id: Id
    run_id: Id
    run_attempt: int = 1


class _Repository(_Document):
    default_branch: str


class _Runs(_Document):
    workflow_runs: list[WorkflowRun]


_RUN, _JOBS, _RUNS = TypeAdapter(WorkflowRun), TypeAdapter(Jobs), TypeAdapter(_Runs)
_JOB = TypeAdapter(JobOfRun)
_REPOSITORY = TypeAdapter(_Repository)
_DEPLOYMENTS = TypeAdapter(list[DeploymentDocument])


def run_of(document: Any) -> WorkflowRun:
    return _read(_RUN, document, "a workflow run")


def runs_of(document: Any) -> list[WorkflowRun]:
    return _read(_RUNS, document, "workflow runs").workflow_runs


def jobs_of(document: Any) -> Jobs:
    return _read(_JOBS, document, "jobs")


def job_of(document: Any) -> JobOfRun:
    return _read(_JOB, document, "a job")


def deployments_of(document: Any) -> list[DeploymentDocument]:
    return _read(_DEPLOYMENTS, document, "deployments")


def _read(shape: TypeAdapter[T], document: Any, what: str) -> T:
    try:
        return shape.validate_python(document)
    except ValidationError as error:
        path = ".".join(str(step) for step in error.errors()[0]["loc"]) or "all of it"
        message = f"GitHub returned something the relay does not understand ({what}: {path})"
        raise UnknownOutcome(message, code="bad_response") from None


class Actions:
    def __init__(
        self, github: GitHubApi, deployment: Deployment, permissions: Mapping[str, str]
    ) -> None:
        self._github = github
        self._deployment = deployment
        self._permissions = permissions
        self._path = f"/repos/{deployment.repo}"

    async def newest_runs(self) -> list[WorkflowRun]:
        return runs_of(await self._list("/actions/runs"))

    async def runs_of_commit(self, sha: str, event: str) -> list[WorkflowRun]:
        return runs_of(await self._list("/actions/runs", head_sha=sha, event=event))

    async def runs_of_workflow(self, file: str, event: str, created: str) -> list[WorkflowRun]:
        path = f"/actions/workflows/{quote(file)}/runs"
        return runs_of(await self._list(path, event=event, created=created))

    async def run(self, run_id: int) -> WorkflowRun | None:
        """None: GitHub does not know it, or not any more."""
        try:
            return run_of(await self._get(f"/actions/runs/{run_id}"))
        except Rejected as error:
            if error.status == 404:
                return None
            raise

    async def jobs(self, run_id: int) -> Jobs:
        return jobs_of(await self._list(f"/actions/runs/{run_id}/jobs"))

    async def deployments(self, sha: str) -> list[DeploymentDocument]:
        return deployments_of(await self._list("/deployments", sha=sha))

    async def default_branch(self) -> str:
        return _read(_REPOSITORY, await self._get(""), "a repository").default_branch

    async def dispatch(self, file: str, body: Mapping[str, Any]) -> Any:
        return await self._post(dispatches(file), body)

    async def cancel(self, run_id: int) -> None:
        """Harmless where it has ended (409) or is gone (404)."""
        try:
            await self._post(f"/actions/runs/{run_id}/cancel", {})
        except Rejected as error:
            is_gone = error.status == 404 and await self.run(run_id) is None
            if not is_gone and error.status != 409:
                raise

    async def _list(self, path: str, **query: str) -> Any:
        return await self._get(f"{path}?{urlencode({**query, 'per_page': PAGE})}")

    async def _get(self, path: str) -> Any:
        return await self._github.get(self._deployment, self._permissions, f"{self._path}{path}")

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        whole = f"{self._path}{path}"
        return await self._github.post(self._deployment, self._permissions, whole, body)


def dispatches(file: str) -> str:
    """The path to which dispatches of a workflow are posted, below that of the repository."""
    return f"/actions/workflows/{quote(file)}/dispatches"


def reaches_back(newest: Sequence[WorkflowRun], since: datetime) -> bool:
    """Whether the newest runs of a repository are all that it has since then."""
    return len(newest) < PAGE or min(run.created_at for run in newest) <= since


@contextmanager
def retry_rejections() -> Iterator[None]:
    """During a run, a rejection may be temporary; the call is repeated until the deadline."""
    try:
        yield
    except Rejected as error:
        raise Unavailable(str(error), code=error.code) from error
