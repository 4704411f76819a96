"""`mode: watch`: GitHub itself starts the workflows `on: deployment`; the handler follows them.

Nothing is started, so nothing can be started twice. GitHub does not say which run belongs to which
deployment. A title that contains the deployment's id does (`run-name`). Of the other runs GitHub
starts one for each deployment and workflow, so the oldest run belongs to the oldest deployment of
the same commit that has no run of that workflow yet. This is worked out anew for each check,
because a run that GitHub lists late changes which others belong to which deployment.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from handlers.contract import Deployment, GitHubApi, Run, State
from handlers.errors import Rejected
from handlers.github_actions.api import ACTIONS_BOT, Actions, WorkflowRun, mendable
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.status import Seen, has_telling_jobs, standing


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """A deployment, made by somebody whose deployments start workflows. Sorted: oldest first."""

    created_at: datetime
    id: int


def belonging(
    asked: Asked, runs: Iterable[WorkflowRun], others: Iterable[Asked], start_within: timedelta
) -> list[WorkflowRun]:
    """The runs of `asked`, oldest first, out of those of its commit.

    `others` are the deployments of that commit; `asked` may be among them.
    """
    every = sorted({asked, *others})
    found: list[WorkflowRun] = []
    by_workflow = sorted(set(runs), key=lambda run: (run.workflow_id, run.age))
    for _, group in groupby(by_workflow, key=lambda run: run.workflow_id):
        of_workflow = list(group)
        owners = _owners(of_workflow, every, start_within)
        found += [run for run in of_workflow if owners.get(run.id) == asked.id]
    return sorted(found, key=lambda run: run.age)


def _owners(
    runs: Sequence[WorkflowRun], every: Sequence[Asked], start_within: timedelta
) -> dict[int, int]:
    """The run's id -> its deployment's, of one workflow."""
    owners = _by_title(runs, every)
    for run in runs:
        if run.id in owners:
            continue
        taken = set(owners.values())
        for asked in every:
            in_time = asked.created_at <= run.created_at <= asked.created_at + start_within
            if in_time and asked.id not in taken:
                owners[run.id] = asked.id
                break
    return owners


def _by_title(runs: Sequence[WorkflowRun], every: Sequence[Asked]) -> dict[int, int]:
    """Where the title names exactly one. Without `run-name` it may be a commit's, whose numbers
    mean something else: then all of that commit's runs have the same."""
    named: dict[int, int] = {}
    for run in runs:
        ids = [a.id for a in every if a.created_at <= run.created_at and run.names(a.id)]
        if len(ids) == 1:
            named[run.id] = ids[0]
    times = Counter(named.values())
    return {run_id: asked_id for run_id, asked_id in named.items() if times[asked_id] == 1}


EVENT = "deployment"
READ = {"actions": "read", "deployments": "read"}
CANCEL = {"actions": "write"}
WAITING = Run("", State.QUEUED, description="Waiting for a workflow to start on GitHub")
DELETED = "The workflow run was deleted on GitHub before the relay saw how it ended"
BY_ACTIONS = (
    "GitHub starts no workflow for a deployment made with a workflow's GITHUB_TOKEN; make it with"
    " an App's or a person's"
)
Pool = dict[int, WorkflowRun]


class Watch:
    def __init__(self, options: GitHubActionsOptions, github: GitHubApi) -> None:
        self._options = options
        self._github = github

    async def find(self, deployment: Deployment) -> Run | None:
        seen = await self._seen(deployment, await self._listed(deployment))
        return self._standing(seen, WAITING, deployment) if seen else None

    async def start(self, deployment: Deployment) -> Run:
        if deployment.creator == ACTIONS_BOT:
            raise Rejected(BY_ACTIONS)
        return WAITING

    async def check(self, deployment: Deployment, run: Run) -> Run:
        with mendable():
            listed = await self._listed(deployment)
            gone = await self._refresh(listed, deployment, run)
            seen = await self._seen(deployment, listed)
        if seen:
            return self._standing(seen, run, deployment)
        if gone:
            return Run(run.id, State.ERROR, run.url, DELETED)
        if datetime.now(UTC) > deployment.started_at + self._options.start_within:
            return Run("", State.ERROR, description=_none_started(deployment))
        begun = run.state is State.IN_PROGRESS
        state = State.IN_PROGRESS if begun else State.QUEUED
        return Run("", state, description=WAITING.description)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        listed = await self._listed(deployment)
        await self._refresh(listed, deployment, run)
        acting = Actions(self._github, deployment, CANCEL)
        for one in await self._seen(deployment, listed):
            if not one.run.ended:
                await acting.cancel(one.run.id)

    async def _listed(self, deployment: Deployment) -> Pool:
        reading = self._reading(deployment)
        return {run.id: run for run in await reading.runs_of_commit(deployment.sha, EVENT)}

    async def _refresh(self, pool: Pool, deployment: Deployment, run: Run) -> bool:
        """Those that were seen before, where the list may be behind; whether one is gone."""
        gone = False
        for run_id in (int(word) for word in run.id.split() if word.isdecimal()):
            if run_id in pool and pool[run_id].ended:
                continue
            fresh = await self._reading(deployment).run(run_id)
            gone = gone or fresh is None
            pool.pop(run_id, None)
            if fresh is not None:
                pool[run_id] = fresh
        return gone

    async def _seen(self, deployment: Deployment, pool: Pool) -> list[Seen]:
        """The runs of this deployment, oldest first."""
        seen = await self._looked_at(deployment, pool.values())
        if _may_lack_some(seen, deployment):
            newest = {run.id: run for run in await self._reading(deployment).newest_runs()}
            if newest.keys() - pool.keys():
                seen = await self._looked_at(deployment, (pool | newest).values())
        return seen

    async def _looked_at(self, deployment: Deployment, pool: Iterable[WorkflowRun]) -> list[Seen]:
        reading = self._reading(deployment)
        ours = await self._ours(deployment, [run for run in pool if self._fits(run, deployment)])
        return [
            Seen(run, await reading.jobs(run.id) if has_telling_jobs(run) else None) for run in ours
        ]

    async def _ours(self, deployment: Deployment, runs: list[WorkflowRun]) -> list[WorkflowRun]:
        asked = Asked(deployment.created_at, deployment.id)
        new = [run for run in runs if run.created_at >= deployment.created_at]
        each_its_workflow = len({run.workflow_id for run in new}) == len(new)
        if each_its_workflow and all(run.names(deployment.id) for run in new):
            return sorted(new, key=lambda run: run.age)
        every = await self._reading(deployment).deployments(deployment.sha)
        others = [Asked(other.created_at, other.id) for other in every if not other.by_actions]
        return belonging(asked, runs, others, self._options.start_within)

    def _fits(self, run: WorkflowRun, deployment: Deployment) -> bool:
        wanted = self._options.workflow
        ours = run.event == EVENT and run.head_sha == deployment.sha
        return ours and (wanted is None or run.file == wanted)

    def _standing(self, seen: list[Seen], before: Run, deployment: Deployment) -> Run:
        return standing(
            seen,
            before,
            deployment.environment,
            now=datetime.now(UTC),
            status_within=self._options.status_within,
        )

    def _reading(self, deployment: Deployment) -> Actions:
        return Actions(self._github, deployment, READ)


def _may_lack_some(seen: list[Seen], deployment: Deployment) -> bool:
    """Whether a run that only the list without a filter has yet could change how it stands."""
    if all(one.skipped for one in seen):
        return True
    ended = all(one.run.ended for one in seen)
    return ended and not all(one.run.names(deployment.id) for one in seen)


def _none_started(deployment: Deployment) -> str:
    return (
        f"No workflow of {deployment.repo} started for this deployment; is there one with"
        f" `on: deployment` at {deployment.sha[:7]}?"
    )
