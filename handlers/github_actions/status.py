"""The state of a deployment, from the workflow runs that belong to it.

Source: https://docs.github.com/actions/reference/workflows-and-actions/workflow-run-statuses
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from handlers.contract import Run, State
from handlers.github_actions.api import Job, Jobs, WorkflowRun
from handlers.text import one_line

DELETED = "The workflow run was deleted on GitHub before the relay saw how it ended"
MAX_NAME = 40
_QUEUED = {
    "requested": "Workflow {name} is queued on GitHub",
    "queued": "Workflow {name} is queued on GitHub",
    "pending": "Workflow {name} waits on GitHub for another run to end",
    "waiting": "Waiting for approval on GitHub (workflow {name})",
    "action_required": "Waiting for approval on GitHub (workflow {name})",
}
WAITING_FOR_APPROVAL = "waiting"
_HELD = (WAITING_FOR_APPROVAL, "action_required")
FAILED = ("failure", "timed_out")
_RUNNING = {
    "in_progress": "Workflow {name} is running on GitHub",
    "completed": "Workflow {name} has ended; GitHub does not say yet how",
}
_FAILURES = {
    "failure": "Workflow {name} failed",
    "timed_out": "Workflow {name} timed out",
    "startup_failure": "Workflow {name} could not be started (startup_failure); is its file valid?",
}
_ERRORS = {
    "cancelled": "Workflow {name} was cancelled",
    "action_required": "Workflow {name} ended with action_required: somebody has to allow it",
    "stale": "Workflow {name} was given up by GitHub as stale",
    "skipped": "skipped: no job of workflow {name} ran; does an `if:` leave out {environment}?",
    "neutral": "Workflow {name} ended as neutral, neither success nor failure",
}
_WORST = (State.FAILURE, State.ERROR, State.SUCCESS)


@dataclass(frozen=True, slots=True)
class RunWithJobs:
    """A run, with its jobs if it `has_useful_jobs`."""

    run: WorkflowRun
    jobs: Jobs | None = None

    @property
    def skipped(self) -> bool:
        """GitHub sometimes calls a run a success although no job ran."""
        if self.run.conclusion == "skipped":
            return True
        return self.run.ended and self.jobs is not None and self.jobs.all_skipped


def has_useful_jobs(run: WorkflowRun) -> bool:
    return run.ended and run.conclusion in ("success", *FAILED)


def deployment_run(
    runs: Sequence[RunWithJobs],
    previous: Run,
    environment: str,
    *,
    now: datetime,
    status_within: timedelta = timedelta(0),
) -> Run:
    """`runs`: at least one, oldest first. Skipped runs count only if all were skipped.

    Between the end and `status_within` the state stays as it was: a status of the relay's that came
    after the workflow's own last one would hide it on GitHub.
    """
    counting = [one for one in runs if not one.skipped] or list(runs)
    still_open = [one for one in counting if not one.run.ended]
    if still_open:
        shown = still_open[-1]
        state, description = _open(shown.run, previous, counting)
    else:
        ends = [(*_end(one, environment), one) for one in reversed(counting)]
        state, description, shown = min(ends, key=lambda end: _WORST.index(end[0]))
        if now < max(one.run.updated_at for one in counting) + status_within:
            state, description = previous.state, ""
    ids = " ".join(str(one.run.id) for one in runs)
    held = not shown.run.ended and shown.run.status in _HELD
    return Run(ids, state, shown.run.html_url, description, held=held)


def agree(runs: Sequence[RunWithJobs], environment: str) -> bool:
    """Whether those of each workflow ended in the same state."""
    ends = {(one.run.workflow_id, _end(one, environment)[0]) for one in runs}
    return len(ends) == len({workflow_id for workflow_id, _ in ends})


def _open(run: WorkflowRun, previous: Run, counting: Sequence[RunWithJobs]) -> tuple[State, str]:
    begun = previous.state is State.IN_PROGRESS or any(
        one.run.status in _RUNNING for one in counting
    )
    state = State.IN_PROGRESS if begun else State.QUEUED
    template = (_QUEUED | _RUNNING).get(run.status)
    if template is None:
        return state, f"GitHub says {quoted(run.status)}, which the relay does not know"
    return state, template.format(name=quoted(run.name))


def _end(one: RunWithJobs, environment: str) -> tuple[State, str]:
    conclusion = "skipped" if one.skipped else one.run.conclusion
    name = quoted(one.run.name)
    if conclusion == "success":
        return State.SUCCESS, ""
    if conclusion in _FAILURES:
        return State.FAILURE, _failed_job(one.jobs) or _FAILURES[conclusion].format(name=name)
    template = _ERRORS.get(conclusion)
    if template is None:
        unknown = f"{quoted(conclusion)}, which the relay does not know"
        return State.ERROR, f"GitHub says that workflow {name} ended with {unknown}"
    return State.ERROR, template.format(name=name, environment=quoted(environment))


def _failed_job(jobs: Jobs | None) -> str:
    for job in jobs.jobs if jobs else ():
        if job.conclusion == "timed_out":
            return f"job {quoted(job.name)} timed out"
        if job.conclusion == "failure":
            return f"job {quoted(job.name)} failed{_at_step(job)}"
    return ""


def _at_step(job: Job) -> str:
    failed = next((step.name for step in job.steps if step.conclusion == "failure"), "")
    return f" at step {quoted(failed)}" if failed else ""


def quoted(name: str) -> str:
    """Short, to leave room for the rest of GitHub's 140 characters."""
    return f"'{one_line(name, MAX_NAME)}'"
