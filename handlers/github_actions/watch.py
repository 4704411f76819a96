"""`mode: watch`: GitHub itself starts the workflows `on: deployment`; the handler follows them.

Nothing is started, so nothing can be started twice. GitHub does not say which run belongs to which
deployment (see matching.py), nor how many workflows there are; this is found out again before a
run's end counts. Events alone do not say it: those of a further run may be lost.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from handlers.contract import Clock, Deployment, GitHubApi, Run, State, ToolEvent
from handlers.errors import Rejected
from handlers.github_actions.api import (
    ACTIONS_BOT,
    Actions,
    WorkflowRun,
    reaches_back,
    retry_rejections,
)
from handlers.github_actions.events import Seen
from handlers.github_actions.matching import DeploymentKey, Match, by_workflow, match_runs
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.status import DELETED, RunWithJobs, agree, deployment_run
from handlers.preview import Preview

EVENT = "deployment"
READ = {"actions": "read", "deployments": "read"}
CANCEL = {"actions": "write"}
WAITING = Run("", State.QUEUED, description="Waiting for a workflow to start on GitHub")
BY_ACTIONS = (
    "GitHub starts no workflow for a deployment made with a workflow's GITHUB_TOKEN; make it with"
    " an App's or a person's"
)
UNCLEAR = (
    "Deployments of this commit began at once, and whose run is whose is unclear; put"
    " ${{ github.event.deployment.id }} into run-name"
)
Pool = dict[int, WorkflowRun]


class Watch:
    def __init__(self, options: GitHubActionsOptions, github: GitHubApi, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._github = github

    async def find(self, deployment: Deployment) -> Run | None:
        return await self._shown(deployment, WAITING, Seen())

    async def start(self, deployment: Deployment) -> Run:
        _require_workflows(deployment)
        return WAITING

    def preview(self, deployment: Deployment) -> Preview:
        _require_workflows(deployment)
        named = self._options.workflow or "its workflows"
        note = f"Nothing is sent: GitHub starts {named} `on: deployment`, and the relay follows"
        return Preview(notes=(note,))

    async def check(self, deployment: Deployment, run: Run) -> Run:
        with retry_rejections():
            known, gone = await self._read_known(deployment, run)
            shown = await self._shown(deployment, run, Seen(known), gone)
        if gone:
            return _without(gone, shown)
        if shown is not None:
            return shown
        if self._clock() > deployment.started_at + self._options.start_within:
            return Run("", State.ERROR, description=_none_started(deployment))
        begun = run.state is State.IN_PROGRESS
        state = State.IN_PROGRESS if begun else State.QUEUED
        return Run("", state, description=WAITING.description)

    async def observe(self, deployment: Deployment, run: Run, events: Sequence[ToolEvent]) -> Run:
        seen = Seen.in_events(events)
        ours = {id_: one for id_, one in seen.runs.items() if self._may_be_ours(one, deployment)}
        if not ours:
            return run
        unseen = set(_ids(run)) - ours.keys()
        with retry_rejections():
            known = Seen(ours, seen.jobs)
            return await self._shown(deployment, run, known, waits=bool(unseen)) or run

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        known, gone = await self._read_known(deployment, run)
        match = await self._match(deployment, await self._listed(deployment, known, gone))
        open_ = [one for one in match.runs if not one.ended]
        if not open_ and any(not one.ended for one in match.unclear):
            raise Rejected(UNCLEAR)
        writer = Actions(self._github, deployment, CANCEL)
        for one in open_:
            await writer.cancel(one.id)

    async def _shown(
        self,
        deployment: Deployment,
        run: Run,
        seen: Seen,
        gone: frozenset[int] = frozenset(),
        *,
        waits: bool = False,
    ) -> Run | None:
        """The deployment's run, with no more calls than are needed to be sure that it has ended.

        None: it has none. `waits`: no event says how one of its runs goes on, so that it is polled.
        """
        pool = seen.runs
        open_ = self._open_run(deployment, run, pool)
        if open_ is None and waits:
            return run
        if open_ is None and not self._are_all(deployment, pool):
            pool = await self._listed(deployment, pool, gone)
            open_ = self._open_run(deployment, run, pool)
        if open_ is not None:
            return open_
        match = await self._match(deployment, pool)
        if not match.every:
            return None
        reader = self._reader(deployment)
        found = [RunWithJobs(one, await seen.jobs_of(reader, one)) for one in match.every]
        return self._judged(deployment, run, match, found)

    def _are_all(self, deployment: Deployment, pool: Pool) -> bool:
        """Whether no other run can be the deployment's. GitHub may list another workflow's late."""
        return self._options.workflow is not None and _is_titled(deployment, pool)

    def _open_run(self, deployment: Deployment, run: Run, pool: Pool) -> Run | None:
        """What is clear without knowing which of these runs are the deployment's: that it has not
        ended, or not long enough ago for the last status of the workflow's own."""
        groups = [_titled(deployment, group) or group for group in by_workflow(pool.values())]
        every = sorted((one for group in groups for one in group), key=lambda one: one.age)
        shown = [RunWithJobs(one) for one in every]
        if any(all(not one.ended for one in group) for group in groups):
            is_clear = all(len(group) == 1 for group in groups)
            return self._as_run(deployment, run, shown, is_clear=is_clear)
        ends = [one.updated_at for one in every if one.ended]
        if not ends or self._clock() >= max(ends) + self._options.status_within:
            return None
        ids = " ".join(str(one.id) for one in every)
        return Run(ids, run.state, every[-1].html_url)

    def _judged(
        self, deployment: Deployment, run: Run, match: Match, found: list[RunWithJobs]
    ) -> Run:
        """Where it is unclear which runs are the deployment's, they count if all ended alike."""
        shown = self._as_run(deployment, run, found, is_clear=not match.unclear)
        if not match.unclear or not shown.state.final:
            return shown
        unclear = [one for one in found if one.run in match.unclear]
        if match.complete and agree(unclear, deployment.environment):
            return shown
        until = deployment.started_at + self._options.start_within
        if not match.complete and self._clock() <= until:  # more runs may follow
            return replace(shown, state=run.state, description="")
        return replace(shown, state=State.ERROR, description=UNCLEAR)

    def _as_run(
        self, deployment: Deployment, run: Run, found: list[RunWithJobs], *, is_clear: bool
    ) -> Run:
        shown = deployment_run(
            found,
            run,
            deployment.environment,
            now=self._clock(),
            status_within=self._options.status_within,
        )
        return shown if is_clear else replace(shown, url="")

    async def _read_known(self, deployment: Deployment, run: Run) -> tuple[Pool, frozenset[int]]:
        """The runs that are known, as they are now, and the ids of those that are gone."""
        reader, known, gone = self._reader(deployment), Pool(), set[int]()
        for run_id in _ids(run):
            fresh = await reader.run(run_id)
            if fresh is None:
                gone.add(run_id)
            elif self._may_be_ours(fresh, deployment):
                known[run_id] = fresh
        return known, frozenset(gone)

    async def _listed(self, deployment: Deployment, known: Pool, gone: Collection[int]) -> Pool:
        """Also the runs that GitHub lists; each as the newest document has it."""
        reader = self._reader(deployment)
        listed = await reader.newest_runs()
        if not reaches_back(listed, deployment.created_at):
            listed += await reader.runs_of_commit(deployment.sha, EVENT)
        pool = dict(known)
        for one in listed:
            newer = one.id not in pool or pool[one.id].revision < one.revision
            if newer and one.id not in gone and self._may_be_ours(one, deployment):
                pool[one.id] = one
        return pool

    async def _match(self, deployment: Deployment, pool: Pool) -> Match:
        groups = by_workflow(pool.values())
        if _is_titled(deployment, pool):
            ours = [one for group in groups for one in _titled(deployment, group)]
            return Match(sorted(ours, key=lambda one: one.age), [])
        if not pool:
            return Match([], [])
        every = await self._reader(deployment).deployments(deployment.sha)
        others = [
            DeploymentKey(other.created_at, other.id) for other in every if not other.by_actions
        ]
        key = DeploymentKey(deployment.created_at, deployment.id)
        return match_runs(key, pool.values(), others, self._options.start_within)

    def _may_be_ours(self, run: WorkflowRun, deployment: Deployment) -> bool:
        named = self._options.workflow
        if run.event != EVENT or run.head_sha != deployment.sha:
            return False
        if named is not None and run.file != named:
            return False
        since, until = deployment.created_at, deployment.created_at + self._options.start_within
        return run.created_at >= since and (run.created_at <= until or run.mentions(deployment.id))

    def _reader(self, deployment: Deployment) -> Actions:
        return Actions(self._github, deployment, READ)


def _require_workflows(deployment: Deployment) -> None:
    if deployment.creator == ACTIONS_BOT:
        raise Rejected(BY_ACTIONS)


def _ids(run: Run) -> list[int]:
    return [int(id_) for id_ in run.id.split() if id_.isdecimal()]


def _titled(deployment: Deployment, group: Iterable[WorkflowRun]) -> list[WorkflowRun]:
    """The run of a workflow whose title has the deployment's id, unless several have it: then it is
    a number of the commit's."""
    named = [run for run in group if run.mentions(deployment.id)]
    return named if len(named) == 1 else []


def _is_titled(deployment: Deployment, pool: Pool) -> bool:
    """Whether the titles say of each workflow which run is the deployment's."""
    groups = by_workflow(pool.values())
    return bool(groups) and all(_titled(deployment, group) for group in groups)


def _without(gone: Collection[int], shown: Run | None) -> Run:
    """Where GitHub does not know some runs now, and the others make it `shown`: only a failure is
    the end, however those ended. Otherwise they are asked for again."""
    if shown is None or (shown.state.final and shown.state is not State.FAILURE):
        raise Rejected(DELETED, status=404)
    ids = sorted({*shown.id.split(), *map(str, gone)}, key=int)
    return replace(shown, id=" ".join(ids))


def _none_started(deployment: Deployment) -> str:
    return (
        f"No workflow of {deployment.repo} started for this deployment; is there one with"
        f" `on: deployment` at {deployment.sha[:7]}?"
    )
