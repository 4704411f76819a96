"""Runs of workflows: they start and end by themselves, or by a test, and send webhooks.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_run
Units: seconds; `delay` is the time a run stays queued, and the time it is in progress.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from sandbox.github.events import Events
from sandbox.github.model import Account, Deployment, ErrorResponse, Json, World, now
from sandbox.github.webhooks import Webhooks
from sandbox.github_actions.documents import ActionsDocuments
from sandbox.github_actions.model import BOT, Job, JobRun, Workflow, WorkflowRun


class JobEnvironments(Protocol):
    """`reach`: whether the job waits there for an answer. `report`: the state of its deployment."""

    def reach(self, run: WorkflowRun, job: JobRun) -> bool: ...

    def report(self, run: WorkflowRun, job: JobRun, state: str) -> None: ...


WriteStatus = Callable[[WorkflowRun, Deployment, Json], object]


class Runs:
    """While `paused`, new runs stay queued until a test calls `begin` and `finish`."""

    def __init__(
        self, world: World, documents: ActionsDocuments, events: Events, hooks: Webhooks
    ) -> None:
        self.delay = 0.05
        self.paused = False
        self.by_id: dict[int, WorkflowRun] = {}
        self.write_status: WriteStatus = lambda *_: None
        self.environments: JobEnvironments | None = None
        self._world = world
        self._documents = documents
        self._events = events
        self._hooks = hooks
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(
        self,
        workflow: Workflow,
        event: str,
        *,
        sha: str,
        branch: str | None,
        actor: Account,
        title: str,
        deployment: Deployment | None,
        environment: str,
        inputs: Json | None = None,
    ) -> WorkflowRun:
        run = WorkflowRun(
            id=self._world.id(),
            workflow=workflow,
            number=sum(other.workflow is workflow for other in self.by_id.values()) + 1,
            event=event,
            head_sha=sha,
            head_branch=branch,
            actor=actor,
            title=title,
            deployment=deployment,
            environment=environment,
            inputs=dict(inputs or {}),
        )
        self.by_id[run.id] = run
        self._queue(run)
        return run

    def rerun(self, run: WorkflowRun, by: Account | None = None) -> None:
        """The button "Re-run all jobs": the run keeps its id and its `created_at`."""
        run.attempt += 1
        run.triggering_actor = by
        run.started_at = now()
        self._queue(run)

    def delete(self, run: WorkflowRun) -> None:
        del self.by_id[run.id]

    def begin(self, run: WorkflowRun) -> None:
        """Its jobs start, are skipped, or wait for approval."""
        for job in run.jobs:
            if _is_skipped(job.job, run):
                self._end_job(run, job, "skipped")
            elif self._waits(run, job):
                self._set_job_status(run, job, "waiting")
            else:
                self._begin_job(run, job)
        waiting = any(job.status == "waiting" for job in run.jobs)
        self._set_status(run, "waiting" if waiting else "in_progress")

    def approve(self, run: WorkflowRun, *, for_runner: bool = False) -> None:
        """Its jobs are queued, and start. `for_runner`: there is none for them yet."""
        approved = [job for job in run.jobs if job.status == "waiting"]
        for job in approved:
            self._set_job_status(run, job, "queued")
        if for_runner:
            run.status = "queued"
            return
        for job in approved:
            self._begin_job(run, job)
        self._set_status(run, "in_progress")
        self._schedule(run)

    def release(self, run: WorkflowRun, jobs: Sequence[JobRun]) -> None:
        """Jobs that waited in an environment start; others may wait on."""
        for job in jobs:
            self._set_job_status(run, job, "queued")
            self._begin_job(run, job)
        if not any(job.status == "waiting" for job in run.jobs):
            self._set_status(run, "in_progress")
            self._schedule(run)

    def finish(self, run: WorkflowRun, conclusion: str = "") -> None:
        """With the outcomes of its jobs, or with that conclusion."""
        if conclusion == "startup_failure":
            run.jobs = []  # its file could not be read
        for job in run.jobs:
            if job.status != "completed":
                self._finish_job(run, job, conclusion or job.job.outcome)
        run.conclusion = conclusion or _conclusion(run)
        self._set_status(run, "completed")

    def cancel(self, run: WorkflowRun) -> None:
        """Accepted at once, done after `delay`."""
        if run.status == "completed":
            raise ErrorResponse(409, "Cannot cancel a workflow run that is completed.")
        self._create_task(self._cancel(run))

    def _queue(self, run: WorkflowRun) -> None:
        run.conclusion = None
        run.jobs = [JobRun(self._world.id(), job, run.attempt) for job in run.workflow.jobs]
        self._set_status(run, "queued", action="requested")
        for job in run.jobs:
            self._send_job_event(run, job, "queued")
        self._schedule(run)

    def _schedule(self, run: WorkflowRun) -> None:
        if not self.paused:
            self._create_task(self._advance(run, run.attempt))

    def _create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _advance(self, run: WorkflowRun, attempt: int) -> None:
        for status, advance in (("queued", self.begin), ("in_progress", self.finish)):
            await asyncio.sleep(self.delay)
            # In the meantime it may have been cancelled, deleted or run again.
            if run.status == status and run.attempt == attempt and run.id in self.by_id:
                advance(run)

    async def _cancel(self, run: WorkflowRun) -> None:
        await asyncio.sleep(self.delay)
        if run.status != "completed":
            self.finish(run, "cancelled")

    def _waits(self, run: WorkflowRun, job: JobRun) -> bool:
        in_environment = self.environments is not None and self.environments.reach(run, job)
        return job.job.approval or in_environment

    def _report(self, run: WorkflowRun, job: JobRun, state: str) -> None:
        if self.environments is not None:
            self.environments.report(run, job, state)

    def _begin_job(self, run: WorkflowRun, job: JobRun) -> None:
        job.started_at = now()
        self._set_job_status(run, job, "in_progress")
        self._report(run, job, "in_progress")
        self._write_statuses(run, job.job.states[:-1])

    def _finish_job(self, run: WorkflowRun, job: JobRun, conclusion: str) -> None:
        if conclusion != "cancelled":
            self._write_statuses(run, job.job.states[-1:])
            self._report(run, job, "success" if conclusion == "success" else "failure")
        self._end_job(run, job, conclusion)

    def _end_job(self, run: WorkflowRun, job: JobRun, conclusion: str) -> None:
        job.conclusion, job.completed_at = conclusion, now()
        self._set_job_status(run, job, "completed")

    def _set_job_status(self, run: WorkflowRun, job: JobRun, status: str) -> None:
        job.status = status
        self._send_job_event(run, job, status)

    def _set_status(self, run: WorkflowRun, status: str, action: str = "") -> None:
        run.status, run.updated_at = status, now()
        action = action or status
        if action == "waiting":
            return  # GitHub sends this action only for jobs
        body = {
            "action": action,
            "workflow_run": self._documents.run(run),
            "workflow": self._documents.workflow(run.workflow),
            **self._events.common_fields(run.repository, run.actor),
        }
        self._hooks.send("workflow_run", body)

    def _send_job_event(self, run: WorkflowRun, job: JobRun, action: str) -> None:
        body = {
            "action": action,
            "workflow_job": self._documents.job(run, job),
            **self._events.common_fields(run.repository, run.actor),
        }
        self._hooks.send("workflow_job", body)

    def _write_statuses(self, run: WorkflowRun, states: tuple[str, ...]) -> None:
        for state in states:
            if run.deployment is not None:
                self.write_status(run, run.deployment, {"state": state})


def is_by_actions(deployment: Deployment) -> bool:
    """Events caused by a workflow's GITHUB_TOKEN start no workflow."""
    return deployment.workflow_run is not None or deployment.creator == BOT


def _is_skipped(job: Job, run: WorkflowRun) -> bool:
    return job.only is not None and job.only.lower() != run.environment.lower()


def _conclusion(run: WorkflowRun) -> str:
    ends = [job.conclusion for job in run.jobs]
    if all(end == "skipped" for end in ends):
        return run.workflow.skipped_as
    failed = [end for end in ends if end not in ("success", "skipped", "neutral")]
    return failed[0] or "" if failed else "success"
