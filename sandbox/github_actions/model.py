"""Workflows of the stand-in for GitHub, and their runs: plain data.

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
    """A job as the workflow's file has it.

    `only` is an `if:` on the environment. With `approval` it waits, until approved, for a rule of
    that environment. `step` is where it fails. `states` are deployment statuses that it writes with
    its GITHUB_TOKEN: the last when it ends, the others when it begins.
    """

    name: str = "deploy"
    only: str | None = None
    approval: bool = False
    outcome: str = "success"
    step: str = "Deploy"
    states: tuple[str, ...] = ()


@dataclass(slots=True)
class Workflow:
    """A file in .github/workflows. `inputs` are those of workflow_dispatch: name -> required.

    `missing_at` are refs and commits that do not have the file. `skipped_as` is the conclusion of a
    run none of whose jobs ran.
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

    @property
    def path(self) -> str:
        return f".github/workflows/{self.file}"


@dataclass(slots=True)
class JobRun:
    id: int
    job: Job
    attempt: int
    status: str = "queued"
    conclusion: str | None = None
    created_at: datetime = field(default_factory=now)
    started_at: datetime = field(default_factory=now)
    completed_at: datetime | None = None


@dataclass(slots=True)
class WorkflowRun:
    """`deployment` is the one that started it, or that its inputs name."""

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
    jobs: list[JobRun] = field(default_factory=list)
    attempt: int = 1
    status: str = "queued"
    conclusion: str | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    started_at: datetime = field(default_factory=now)

    @property
    def repository(self) -> Repository:
        return self.workflow.repository


def filled(pattern: str, context: Json) -> str:
    """What GitHub makes of `${{ github.event.deployment.id }}` and the like in `run-name`."""

    def value(expression: re.Match[str]) -> str:
        found: Any = context
        for key in expression[1].split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return "" if found is None else str(found)

    return _EXPRESSION.sub(value, pattern)
