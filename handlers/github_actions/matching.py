"""Which runs of workflows `on: deployment` belong to which deployment.

GitHub's documents do not say. A title with the deployment's id in it does (`run-name`). Of the
others GitHub starts one for each deployment and workflow, so the oldest belongs to the oldest
deployment of the same commit that has none of that workflow yet.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from handlers.github_actions.documents import WorkflowRun


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
