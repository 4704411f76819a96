"""`mode: watch`: GitHub itself starts the workflows `on: deployment`; the handler follows them.

Nothing is started, so nothing can be started twice. GitHub does not say which run belongs to which
deployment. A title that contains the deployment's id does (`run-name`). Of the other runs GitHub
starts one for each deployment and workflow, so the oldest run belongs to the oldest deployment of
the same commit that has no run of that workflow yet. This is computed again for each check,
because a run that GitHub lists late changes which others belong to which deployment.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from handlers.contract import Clock, Deployment, GitHubApi, Run, State
from handlers.errors import Rejected
from handlers.github_actions.api import ACTIONS_BOT, Actions, WorkflowRun, retry_rejections
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.status import DELETED, RunWithJobs, deployment_run, has_useful_jobs

EVENT = "deployment"
READ = {"actions": "read", "deployments": "read"}
CANCEL = {"actions": "write"}
WAITING = Run("", State.QUEUED, description="Waiting for a workflow to start on GitHub")
BY_ACTIONS = (
    "GitHub starts no workflow for a deployment made with a workflow's GITHUB_TOKEN; make it with"
    " an App's or a person's"
)
Pool = dict[int, WorkflowRun]


@dataclass(frozen=True, slots=True, order=True)
class DeploymentKey:
    """A deployment whose creator's deployments start workflows. Sorted: oldest first."""

    created_at: datetime
    id: int


def match_runs(
    key: DeploymentKey,
    runs: Iterable[WorkflowRun],
    others: Iterable[DeploymentKey],
    start_within: timedelta,
) -> list[WorkflowRun]:
    """The runs of `key`, oldest first, out of those of its commit.

    `others` are the deployments of that commit; `key` may be among them.
    """
    every = sorted({key, *others})
    found: list[WorkflowRun] = []
    by_workflow = sorted(set(runs), key=lambda run: (run.workflow_id, run.age))
    for _, group in groupby(by_workflow, key=lambda run: run.workflow_id):
        of_workflow = list(group)
        owners = _owners(of_workflow, every, start_within)
        found += [run for run in of_workflow if owners.get(run.id) == key.id]
    return sorted(found, key=lambda run: run.age)


def _owners(
    runs: Sequence[WorkflowRun], every: Sequence[DeploymentKey], start_within: timedelta
) -> dict[int, int]:
    """The run's id -> its deployment's, of one workflow."""
    owners = _by_title(runs, every)
    for run in runs:
        if run.id in owners:
            continue
        claimed = set(owners.values())
        for key in every:
            in_time = key.created_at <= run.created_at <= key.created_at + start_within
            if in_time and key.id not in claimed:
                owners[run.id] = key.id
                break
    return owners


def _by_title(runs: Sequence[WorkflowRun], every: Sequence[DeploymentKey]) -> dict[int, int]:
    """Runs whose title names exactly one deployment, and are the only ones to name it.

    Without `run-name` the title may be the commit's, whose numbers mean something else: then all
    runs of that commit have the same title.
    """
    named: dict[int, int] = {}
    for run in runs:
        ids = [a.id for a in every if a.created_at <= run.created_at and run.mentions(a.id)]
        if len(ids) == 1:
            named[run.id] = ids[0]
    times = Counter(named.values())
    return {run_id: owner for run_id, owner in named.items() if times[owner] == 1}


class Watch:
    def __init__(self, options: GitHubActionsOptions, github: GitHubApi, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._github = github

    async def find(self, deployment: Deployment) -> Run | None:
        found = await self._runs(deployment, await self._runs_of_commit(deployment))
        return self._run(found, WAITING, deployment) if found else None

    async def start(self, deployment: Deployment) -> Run:
        if deployment.creator == ACTIONS_BOT:
            raise Rejected(BY_ACTIONS)
        return WAITING

    async def check(self, deployment: Deployment, run: Run) -> Run:
        with retry_rejections():
            listed = await self._runs_of_commit(deployment)
            gone = await self._refresh(listed, deployment, run)
            found = await self._runs(deployment, listed)
        if found:
            return self._run(found, run, deployment)
        if gone:
            raise Rejected(DELETED, status=404)
        if self._clock() > deployment.started_at + self._options.start_within:
            return Run("", State.ERROR, description=_none_started(deployment))
        begun = run.state is State.IN_PROGRESS
        state = State.IN_PROGRESS if begun else State.QUEUED
        return Run("", state, description=WAITING.description)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        listed = await self._runs_of_commit(deployment)
        await self._refresh(listed, deployment, run)
        writer = Actions(self._github, deployment, CANCEL)
        for one in await self._runs(deployment, listed):
            if not one.run.ended:
                await writer.cancel(one.run.id)

    async def _runs_of_commit(self, deployment: Deployment) -> Pool:
        reader = self._reader(deployment)
        return {run.id: run for run in await reader.runs_of_commit(deployment.sha, EVENT)}

    async def _refresh(self, pool: Pool, deployment: Deployment, run: Run) -> bool:
        """Read known runs again, as the list may be behind; whether one of them is gone."""
        gone = False
        for run_id in (int(id_) for id_ in run.id.split() if id_.isdecimal()):
            if run_id in pool and pool[run_id].ended:
                continue
            fresh = await self._reader(deployment).run(run_id)
            gone = gone or fresh is None
            pool.pop(run_id, None)
            if fresh is not None:
                pool[run_id] = fresh
        return gone

    async def _runs(self, deployment: Deployment, pool: Pool) -> list[RunWithJobs]:
        """The runs of this deployment, oldest first."""
        found = await self._matched(deployment, pool.values())
        if _may_be_incomplete(found, deployment):
            newest = {run.id: run for run in await self._reader(deployment).newest_runs()}
            if newest.keys() - pool.keys():
                found = await self._matched(deployment, (pool | newest).values())
        return found

    async def _matched(
        self, deployment: Deployment, pool: Iterable[WorkflowRun]
    ) -> list[RunWithJobs]:
        reader = self._reader(deployment)
        ours = await self._select(
            deployment, [run for run in pool if self._is_candidate(run, deployment)]
        )
        return [
            RunWithJobs(run, await reader.jobs(run.id) if has_useful_jobs(run) else None)
            for run in ours
        ]

    async def _select(self, deployment: Deployment, runs: list[WorkflowRun]) -> list[WorkflowRun]:
        key = DeploymentKey(deployment.created_at, deployment.id)
        new = [run for run in runs if run.created_at >= deployment.created_at]
        each_its_workflow = len({run.workflow_id for run in new}) == len(new)
        if each_its_workflow and all(run.mentions(deployment.id) for run in new):
            return sorted(new, key=lambda run: run.age)
        every = await self._reader(deployment).deployments(deployment.sha)
        others = [
            DeploymentKey(other.created_at, other.id) for other in every if not other.by_actions
        ]
        return match_runs(key, runs, others, self._options.start_within)

    def _is_candidate(self, run: WorkflowRun, deployment: Deployment) -> bool:
        configured = self._options.workflow
        ours = run.event == EVENT and run.head_sha == deployment.sha
        return ours and (configured is None or run.file == configured)

    def _run(self, found: list[RunWithJobs], previous: Run, deployment: Deployment) -> Run:
        return deployment_run(
            found,
            previous,
            deployment.environment,
            now=self._clock(),
            status_within=self._options.status_within,
        )

    def _reader(self, deployment: Deployment) -> Actions:
        return Actions(self._github, deployment, READ)


def _may_be_incomplete(found: list[RunWithJobs], deployment: Deployment) -> bool:
    """Whether a run that only the unfiltered list contains so far could change the state."""
    if all(one.skipped for one in found):
        return True
    ended = all(one.run.ended for one in found)
    return ended and not all(one.run.mentions(deployment.id) for one in found)


def _none_started(deployment: Deployment) -> str:
    return (
        f"No workflow of {deployment.repo} started for this deployment; is there one with"
        f" `on: deployment` at {deployment.sha[:7]}?"
    )
