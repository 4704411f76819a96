"""The data of the stand-in for GitHub Actions: workflows and their runs.

Source: https://docs.github.com/actions/reference/workflows-and-actions/workflow-run-statuses
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.github.model import Account, Deployment, Json, Repository, now

BOT = Account("github-actions[bot]", 41898282, "Bot")
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a workflow's file.

    `only` is an `if:` on the environment. With `approval` the job waits until it is approved, as a
    protection rule of the environment demands. `step` is the one that fails. `states` are the
    deployment statuses that it creates with its GITHUB_TOKEN: the last one when it ends, the others
    when it starts. `environment`: GitHub itself creates a deployment there, and reports its states;
    not without `creates_deployment` (`deployment: false` in the file).
    """

    name: str = "deploy"
    only: str | None = None
    approval: bool = False
    outcome: str = "success"
    step: str = "Deploy"
    states: tuple[str, ...] = ()
    environment: str = ""
    creates_deployment: bool = True


@dataclass(slots=True)
class Workflow:
    """A file in .github/workflows. `inputs` are those of workflow_dispatch: name -> required.
    `state`: somebody may have disabled it. `fault`: why it cannot be read.

    `missing_at` are refs and commits without the file. `skipped_as` is the conclusion of a run in
    which all jobs were skipped.
    """

    id: int
    repository: Repository
    file: str
    name: str
    on: frozenset[str]
    inputs: dict[str, bool]
    run_name: str
    jobs: tuple[Job, ...]
    missing_at: set[str] = field(default_factory=set)
    skipped_as: str = "skipped"
    state: str = "active"
    fault: str = ""

    @property
    def path(self) -> str:
        return f".github/workflows/{self.file}"


@dataclass(slots=True)
class JobRun:
    id: int
    job: Job
    attempt: int
    deployment: Deployment | None = None
    status: str = "queued"
    conclusion: str | None = None
    created_at: datetime = field(default_factory=now)
    started_at: datetime = field(default_factory=now)
    completed_at: datetime | None = None


@dataclass(slots=True)
class WorkflowRun:
    """`deployment` is the one that started it, or whose id is in its inputs. `inputs` are those of
    a dispatch. `triggering_actor`: who started it again."""

    id: int
    workflow: Workflow
    number: int
    event: str
    head_sha: str
    head_branch: str | None
    actor: Account
    title: str
    deployment: Deployment | None
    environment: str
    inputs: dict[str, str] = field(default_factory=dict)
    jobs: list[JobRun] = field(default_factory=list)
    attempt: int = 1
    triggering_actor: Account | None = None
    status: str = "queued"
    conclusion: str | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    started_at: datetime = field(default_factory=now)

    @property
    def repository(self) -> Repository:
        return self.workflow.repository


def evaluate(pattern: str, context: Json) -> str:
    """`run-name` with its expressions, such as `${{ github.event.deployment.id }}`, evaluated."""

    def value(expression: re.Match[str]) -> str:
        found: Any = context
        for key in expression[1].split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return "" if found is None else str(found)

    return _EXPRESSION.sub(value, pattern)
