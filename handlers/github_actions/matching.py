"""Which workflow runs belong to which deployment, as far as GitHub shows it.

A title that contains the deployment's id says so (`run-name`). Of the other runs GitHub starts one
for each deployment and workflow, at once: a run belongs to a deployment if it can be no other's.
Where that is not so, nothing is guessed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from handlers.github_actions.api import WorkflowRun


@dataclass(frozen=True, slots=True, order=True)
class DeploymentKey:
    """A deployment whose creator's deployments start workflows. Sorted: oldest first."""

    created_at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Match:
    """`unclear`: runs that are this deployment's or another's. `complete`: there are as many of
    them as there are deployments that they may belong to. Both oldest first."""

    runs: list[WorkflowRun]
    unclear: list[WorkflowRun]
    complete: bool = True

    @property
    def every(self) -> list[WorkflowRun]:
        return sorted([*self.runs, *self.unclear], key=lambda run: run.age)


def match_runs(
    key: DeploymentKey,
    runs: Iterable[WorkflowRun],
    others: Iterable[DeploymentKey],
    start_within: timedelta,
) -> Match:
    """The runs of `key` out of those of its commit.

    `others` are the deployments of that commit; `key` may be among them.
    """
    every = sorted({key, *others})
    found, unclear, complete = list[WorkflowRun](), list[WorkflowRun](), True
    for of_workflow in by_workflow(runs):
        owners = _by_title(of_workflow, every)
        candidates = _candidates(of_workflow, owners, every, start_within)
        found += [run for run in of_workflow if owners.get(run.id) == key.id]
        rivals, contested = _group(key.id, candidates)
        unclear += [run for run in of_workflow if run.id in contested]
        complete = complete and len(rivals) == len(contested)
    return Match(_by_age(found), _by_age(unclear), complete)


def by_workflow(runs: Iterable[WorkflowRun]) -> list[list[WorkflowRun]]:
    """Those of each workflow, oldest first."""
    every = sorted(set(runs), key=lambda run: (run.workflow_id, run.age))
    return [list(group) for _, group in groupby(every, key=lambda run: run.workflow_id)]


def _by_age(runs: Iterable[WorkflowRun]) -> list[WorkflowRun]:
    return sorted(runs, key=lambda run: run.age)


def _by_title(runs: Sequence[WorkflowRun], every: Sequence[DeploymentKey]) -> dict[int, int]:
    """The run's id -> its deployment's: of runs whose title names exactly one deployment, and that
    are the only ones to name it.

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


def _candidates(
    runs: Sequence[WorkflowRun],
    owners: dict[int, int],
    every: Sequence[DeploymentKey],
    start_within: timedelta,
) -> Mapping[int, set[int]]:
    """The run's id -> the deployments that it may belong to, where there are several.

    Runs that can belong to one deployment only are added to `owners`.
    """

    def in_time(run: WorkflowRun) -> set[int]:
        since = run.created_at - start_within
        return {one.id for one in every if since <= one.created_at <= run.created_at}

    open_ = {run.id: in_time(run) for run in runs if run.id not in owners}
    while True:
        claimed = set(owners.values())
        open_ = {run_id: ids - claimed for run_id, ids in open_.items() if ids - claimed}
        sole = [(run_id, *ids) for run_id, ids in open_.items() if len(ids) == 1]
        times = Counter(owner for _, owner in sole)
        certain = {run_id: owner for run_id, owner in sole if times[owner] == 1}
        if not certain:
            return open_
        owners |= certain
        open_ = {run_id: ids for run_id, ids in open_.items() if run_id not in certain}


def _group(key: int, candidates: Mapping[int, set[int]]) -> tuple[set[int], set[int]]:
    """The deployments that compete with `key`, and the runs for which they do."""
    rivals, contested = {key}, set[int]()
    while True:
        more = {run_id for run_id, ids in candidates.items() if ids & rivals} - contested
        if not more:
            return (rivals if contested else set()), contested
        contested |= more
        rivals = rivals.union(*(candidates[run_id] for run_id in more))
