"""What is read of GitHub's documents about workflow runs, jobs and deployments.

Source: https://docs.github.com/rest/actions/workflow-runs
Errors: `UnknownOutcome` for a document of another shape.
"""

import re
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from handlers.errors import UnknownOutcome

ACTIONS_BOT = "github-actions[bot]"
ACTIONS_APP = "github-actions"

T = TypeVar("T")


def _text(value: Any) -> Any:
    return "" if value is None else value


def web_url(value: Any) -> str:
    """Shown to people as a link."""
    is_url = isinstance(value, str) and re.fullmatch(r"https?://[^\s<>\"]+", value)
    return value if is_url else ""


Id = Annotated[int, Field(strict=True, gt=0, lt=2**63)]
_Text = Annotated[str, BeforeValidator(_text)]
_WebUrl = Annotated[str, BeforeValidator(web_url)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class WorkflowRun(_Document):
    """`status` and `conclusion` may be words that nobody knows yet."""

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

    def names(self, deployment_id: int) -> bool:
        """Whether its title has that number in it."""
        return re.search(rf"(?<!\d){deployment_id}(?!\d)", self.display_title) is not None


class Step(_Document):
    name: _Text = ""
    conclusion: _Text = ""


class Job(_Document):
    name: _Text = ""
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


class AskedDeployment(_Document):
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


class _Runs(_Document):
    workflow_runs: list[WorkflowRun]


_RUN, _JOBS, _RUNS = TypeAdapter(WorkflowRun), TypeAdapter(Jobs), TypeAdapter(_Runs)
_DEPLOYMENTS = TypeAdapter(list[AskedDeployment])


def run_of(document: Any) -> WorkflowRun:
    return _read(_RUN, document, "a workflow run")


def runs_of(document: Any) -> list[WorkflowRun]:
    return _read(_RUNS, document, "workflow runs").workflow_runs


def jobs_of(document: Any) -> Jobs:
    return _read(_JOBS, document, "jobs")


def deployments_of(document: Any) -> list[AskedDeployment]:
    return _read(_DEPLOYMENTS, document, "deployments")


def _read(shape: TypeAdapter[T], document: Any, what: str) -> T:
    try:
        return shape.validate_python(document)
    except ValidationError as error:
        path = ".".join(str(step) for step in error.errors()[0]["loc"]) or "all of it"
        words = f"GitHub answers with something the relay does not understand ({what}: {path})"
        raise UnknownOutcome(words) from None
