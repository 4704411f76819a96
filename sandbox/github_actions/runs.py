"""Runs of workflows: they begin and end by themselves, or when told, and webhooks tell of it.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_run
Units: `pace` in seconds, between two steps of a run.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sandbox.github.events import Events
from sandbox.github.hooks import Hooks
from sandbox.github.model import Account, Deployment, Json, RefusedError, World, now
from sandbox.github_actions.documents import ActionsDocuments
from sandbox.github_actions.model import BOT, Job, JobRun, Workflow, WorkflowRun

WriteStatus = Callable[[WorkflowRun, Deployment, Json], object]


class Runs:
    """While `held`, runs that are new stay queued until a test calls `begin` and `finish`."""

    def __init__(
        self, world: World, documents: ActionsDocuments, events: Events, hooks: Hooks
    ) -> None:
        self.pace = 0.05
        self.held = False
        self.every: dict[int, WorkflowRun] = {}
        self.write_status: WriteStatus = lambda *_: None
        self._world = world
        self._documents = documents
        self._events = events
        self._hooks = hooks
        self._under_way: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

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
    ) -> WorkflowRun:
        run = WorkflowRun(
            id=self._world.id(),
            workflow=workflow,
            number=sum(other.workflow is workflow for other in self.every.values()) + 1,
            event=event,
            head_sha=sha,
            head_branch=branch,
            actor=actor,
            title=title,
            deployment=deployment,
            environment=environment,
        )
        self.every[run.id] = run
        self._queue(run)
        return run

    def rerun(self, run: WorkflowRun) -> None:
        """The button "Re-run all jobs": the run keeps its id and its `created_at`."""
        run.attempt += 1
        run.started_at = now()
        self._queue(run)

    def delete(self, run: WorkflowRun) -> None:
        del self.every[run.id]

    def begin(self, run: WorkflowRun) -> None:
        """Its jobs go to a runner, are skipped, or wait for an approval."""
        for job in run.jobs:
            if _is_skipped(job.job, run):
                self._end_job(run, job, "skipped")
            elif job.job.approval:
                self._move_job(run, job, "waiting")
            else:
                self._begin_job(run, job)
        waits = any(job.status == "waiting" for job in run.jobs)
        self._move(run, "waiting" if waits else "in_progress")

    def approve(self, run: WorkflowRun) -> None:
        for job in run.jobs:
            if job.status == "waiting":
                self._begin_job(run, job)
        self._move(run, "in_progress")
        self._go_on(run)

    def finish(self, run: WorkflowRun, conclusion: str = "") -> None:
        """As its jobs are meant to end, or with that conclusion."""
        if conclusion == "startup_failure":
            run.jobs = []  # its file could not be read
        for job in run.jobs:
            if job.status != "completed":
                self._finish_job(run, job, conclusion or job.job.outcome)
        run.conclusion = conclusion or _conclusion(run)
        self._move(run, "completed")

    def cancel(self, run: WorkflowRun) -> None:
        """It is accepted at once, and takes a moment."""
        if run.status == "completed":
            raise RefusedError(409, "Cannot cancel a workflow run that is completed.")
        self._later(self._cancel(run))

    def _queue(self, run: WorkflowRun) -> None:
        run.conclusion = None
        plans = run.workflow.jobs
        run.jobs = [JobRun(self._world.id(), plan, run.attempt) for plan in plans]
        self._move(run, "queued", action="requested")
        for job in run.jobs:
            self._tell_job(run, job, "queued")
        self._go_on(run)

    def _go_on(self, run: WorkflowRun) -> None:
        if not self.held:
            self._later(self._advance(run, run.attempt))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _advance(self, run: WorkflowRun, attempt: int) -> None:
        for status, step in (("queued", self.begin), ("in_progress", self.finish)):
            await asyncio.sleep(self.pace)
            # Meanwhile it may have been cancelled, deleted or run again.
            if run.status == status and run.attempt == attempt and run.id in self.every:
                step(run)

    async def _cancel(self, run: WorkflowRun) -> None:
        await asyncio.sleep(self.pace)
        if run.status != "completed":
            self.finish(run, "cancelled")

    def _begin_job(self, run: WorkflowRun, job: JobRun) -> None:
        job.started_at = now()
        self._move_job(run, job, "in_progress")
        self._write(run, job.job.states[:-1])

    def _finish_job(self, run: WorkflowRun, job: JobRun, conclusion: str) -> None:
        if conclusion != "cancelled":
            self._write(run, job.job.states[-1:])
        self._end_job(run, job, conclusion)

    def _end_job(self, run: WorkflowRun, job: JobRun, conclusion: str) -> None:
        job.conclusion, job.completed_at = conclusion, now()
        self._move_job(run, job, "completed")

    def _move_job(self, run: WorkflowRun, job: JobRun, status: str) -> None:
        job.status = status
        self._tell_job(run, job, status)

    def _move(self, run: WorkflowRun, status: str, action: str = "") -> None:
        run.status, run.updated_at = status, now()
        action = action or status
        if action == "waiting":
            return  # only its jobs tell of that
        body = {
            "action": action,
            "workflow_run": self._documents.run(run),
            "workflow": self._documents.workflow(run.workflow),
            **self._events.about(run.repository, run.actor),
        }
        self._hooks.send("workflow_run", body)

    def _tell_job(self, run: WorkflowRun, job: JobRun, action: str) -> None:
        body = {
            "action": action,
            "workflow_job": self._documents.job(run, job),
            **self._events.about(run.repository, run.actor),
        }
        self._hooks.send("workflow_job", body)

    def _write(self, run: WorkflowRun, states: tuple[str, ...]) -> None:
        for state in states:
            if run.deployment is not None:
                self.write_status(run, run.deployment, {"state": state})


def is_by_actions(deployment: Deployment) -> bool:
    """What a workflow's own token does starts no workflow."""
    return deployment.workflow_run is not None or deployment.creator == BOT


def _is_skipped(job: Job, run: WorkflowRun) -> bool:
    return job.only is not None and job.only.lower() != run.environment.lower()


def _conclusion(run: WorkflowRun) -> str:
    ends = [job.conclusion for job in run.jobs]
    if all(end == "skipped" for end in ends):
        return run.workflow.skipped_as
    bad = [end for end in ends if end not in ("success", "skipped", "neutral")]
    return bad[0] or "" if bad else "success"
