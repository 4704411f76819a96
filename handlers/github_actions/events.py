"""What the events `workflow_run` and `workflow_job` say of the runs that they are about.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_run
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from handlers.contract import ToolEvent
from handlers.errors import UnknownOutcome
from handlers.github_actions.api import (
    Actions,
    Job,
    JobOfRun,
    Jobs,
    WorkflowRun,
    job_of,
    run_of,
)
from handlers.github_actions.status import FAILED, WAITING_FOR_APPROVAL, has_useful_jobs

RUN, JOB = "workflow_run", "workflow_job"


@dataclass(frozen=True, slots=True)
class Seen:
    """Runs, and those of their jobs that an event was about, by the run's id."""

    runs: dict[int, WorkflowRun] = field(default_factory=dict)
    jobs: dict[int, list[JobOfRun]] = field(default_factory=dict)

    @classmethod
    def in_events(cls, events: Sequence[ToolEvent]) -> "Seen":
        runs: dict[int, WorkflowRun] = {}
        jobs: dict[int, list[JobOfRun]] = defaultdict(list)
        for event in events:
            try:
                if event.name == RUN:
                    run = run_of(event.document)
                    runs[run.id] = run
                elif event.name == JOB:
                    job = job_of(event.document)
                    jobs[job.run_id].append(job)
            except UnknownOutcome:
                continue  # of another shape: the run is polled
        return cls({run.id: _with_approval(run, jobs[run.id]) for run in runs.values()}, jobs)

    async def jobs_of(self, actions: Actions, run: WorkflowRun) -> Jobs | None:
        """The jobs of a run that has ended, if they say more than the run itself."""
        if not has_useful_jobs(run):
            return None
        known = _of_attempt(run, self.jobs.get(run.id, []))
        if any(_explains(job, run) for job in known):
            return Jobs(total_count=len(known), jobs=[*sorted(known, key=lambda job: job.id)])
        return await actions.jobs(run.id)


def _explains(job: Job, run: WorkflowRun) -> bool:
    """Whether one job is enough to know how its run ended."""
    if run.conclusion == "success":
        return job.conclusion == "success"
    return job.conclusion in FAILED


def _with_approval(run: WorkflowRun, jobs: Sequence[JobOfRun]) -> WorkflowRun:
    """GitHub has no event for a run that waits for approval, only for its job."""
    waits = any(job.status == WAITING_FOR_APPROVAL for job in _of_attempt(run, jobs))
    if run.status == "completed" or not waits:
        return run
    return run.model_copy(update={"status": WAITING_FOR_APPROVAL})


def _of_attempt(run: WorkflowRun, jobs: Sequence[JobOfRun]) -> list[JobOfRun]:
    return [job for job in jobs if job.run_attempt == run.run_attempt]
