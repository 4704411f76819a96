"""`mode: watch`: GitHub starts the workflows `on: deployment` by itself; here they are followed.

Nothing is started, so nothing can be started twice. Which runs are this deployment's is worked out
anew each time, because a run that GitHub lists late changes which others belong to whom.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from handlers.contract import Deployment, GitHubApi, Run, State
from handlers.errors import Rejected
from handlers.github_actions.api import Actions, mendable
from handlers.github_actions.documents import ACTIONS_BOT, WorkflowRun
from handlers.github_actions.matching import Asked, belonging
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.standing import Seen, has_telling_jobs, standing

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
