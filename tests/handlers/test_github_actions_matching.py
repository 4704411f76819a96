"""Which run belongs to which deployment, where only titles and order show it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.github_actions.api import WorkflowRun
from handlers.github_actions.matching import DeploymentKey, match_runs

SHA = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
WITHIN = timedelta(minutes=2)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def key(id_: int, seconds: float = 0) -> DeploymentKey:
    return DeploymentKey(at(seconds), id_)


def run(id_: int, seconds: float = 0, title: str = "Deploy", workflow: int = 1) -> WorkflowRun:
    return WorkflowRun(
        id=id_,
        workflow_id=workflow,
        display_title=title,
        event="deployment",
        head_sha=SHA,
        created_at=at(seconds),
        updated_at=at(seconds),
    )


def owned(every: list[DeploymentKey], runs: list[WorkflowRun]) -> dict[int, list[int]]:
    """Each deployment's runs, in the order they are listed."""
    return {one.id: [r.id for r in match_runs(one, runs, every, WITHIN).runs] for one in every}


def contested(every: list[DeploymentKey], runs: list[WorkflowRun]) -> dict[int, list[int]]:
    """The runs that may be each deployment's, and may not."""
    return {one.id: [r.id for r in match_runs(one, runs, every, WITHIN).unclear] for one in every}


def test_a_run_belongs_to_the_only_deployment() -> None:
    assert owned([key(1)], [run(10, 3)]) == {1: [10]}


def test_without_titles_order_decides() -> None:
    every = [key(1, 0), key(2, 5)]
    assert owned(every, [run(11, 6), run(10, 1)]) == {1: [10], 2: [11]}


def test_of_two_deployments_in_one_second_it_is_unclear_which_run_is_whose() -> None:
    every, runs = [key(1), key(2)], [run(10), run(11)]
    assert owned(every, runs) == {1: [], 2: []}
    assert contested(every, runs) == {1: [10, 11], 2: [10, 11]}
    assert match_runs(key(1), runs, every, WITHIN).complete
    assert not match_runs(key(1), runs[:1], every, WITHIN).complete


def test_what_is_unclear_for_two_deployments_is_clear_for_a_third() -> None:
    every = [key(1), key(2), key(3, 20)]
    runs = [run(10, 1), run(11, 2), run(12, 21)]
    assert owned(every, runs) == {1: [], 2: [], 3: []}  # a run of theirs may be late
    assert owned(every[1:], runs[1:]) == {2: [11], 3: [12]}


def test_a_title_decides_against_the_order() -> None:
    every = [key(1), key(2)]
    runs = [run(10, 1, "Deploy production #2"), run(11, 1, "Deploy staging #1")]
    assert owned(every, runs) == {1: [11], 2: [10]}


def test_an_id_in_a_title_is_a_whole_number() -> None:
    every = [key(1), key(12), key(123)]
    runs = [run(10, 1, "#123"), run(11, 1, "to 12, soon"), run(12, 1, "v1")]
    assert owned(every, runs)[123] == [10]
    assert owned(every, runs)[12] == [11]


def test_a_workflow_with_titles_and_one_without_do_not_disturb_each_other() -> None:
    every = [key(1), key(2)]
    runs = [
        run(10, 1, "Deploy #2", workflow=1),
        run(11, 1, "Deploy #1", workflow=1),
        run(12, 1, "Notify", workflow=2),
        run(13, 1, "Notify", workflow=2),
    ]
    assert owned(every, runs) == {1: [11], 2: [10]}
    assert contested(every, runs) == {1: [12, 13], 2: [12, 13]}


def test_a_titled_run_leaves_the_untitled_ones_of_its_workflow_to_the_others() -> None:
    """The commit's file is the same, but a title may fail to be filled in."""
    every, runs = [key(1), key(2), key(3)], [run(10, 1, "#1"), run(11, 2), run(12, 2)]
    assert owned(every, runs) == {1: [10], 2: [], 3: []}
    assert contested(every, runs) == {1: [], 2: [11, 12], 3: [11, 12]}


def test_a_number_that_all_titles_have_is_the_commits() -> None:
    """ "Merge pull request #2" is the title of each run, and deployment 2 is there by chance."""
    every = [key(1), key(2)]
    runs = [run(10, 1, "Merge #2"), run(11, 2, "Merge #2")]
    assert owned(every, runs) == {1: [], 2: []}
    assert contested(every, runs) == {1: [10, 11], 2: [10, 11]}


def test_a_title_with_two_ids_decides_nothing() -> None:
    every = [key(1), key(2)]
    assert owned(every, [run(10, 1, "#2 after #1"), run(11, 2, "#1")]) == {1: [11], 2: [10]}


def test_a_run_from_before_a_deployment_is_not_its_run() -> None:
    every = [key(1, 10)]
    assert owned(every, [run(10, 5), run(11, 6, "Deploy #1")]) == {1: []}


def test_a_run_that_comes_too_late_is_not_its_run() -> None:
    assert owned([key(1)], [run(10, 120)]) == {1: [10]}
    assert owned([key(1)], [run(10, 121)]) == {1: []}
    assert owned([key(1)], [run(10, 600, "Deploy #1")]) == {1: [10]}


def test_a_deployment_that_started_nothing_claims_no_later_run() -> None:
    every = [key(1, 0), key(2, 300)]
    assert owned(every, [run(10, 301)]) == {1: [], 2: [10]}


def test_a_run_done_again_keeps_its_deployment() -> None:
    every = [key(1), key(2, 5)]
    again = run(10, 1).model_copy(update={"updated_at": at(500), "status": "queued"})
    assert owned(every, [again, run(11, 6)]) == {1: [10], 2: [11]}


def test_the_deployment_counts_even_if_github_does_not_list_it_yet() -> None:
    match = match_runs(key(2, 5), [run(10), run(11, 6)], [key(1)], WITHIN)
    assert [r.id for r in match.runs] == [11]


moments = st.integers(0, 200)
every_deployment = st.lists(moments, max_size=5).map(
    lambda times: [key(index + 1, time) for index, time in enumerate(sorted(times))]
)
every_run = st.lists(st.tuples(moments, st.integers(0, 6), st.integers(1, 2)), max_size=8).map(
    lambda rows: [
        run(100 + index, time, f"Deploy #{title}" if title else "Deploy", workflow)
        for index, (time, title, workflow) in enumerate(rows)
    ]
)


@settings(deadline=None)
@given(every_deployment, every_run, st.randoms())
def test_no_run_has_two_deployments_and_no_deployment_two_runs_of_a_workflow(
    every: list[DeploymentKey], runs: list[WorkflowRun], chance: Any
) -> None:
    found = owned(every, runs)
    all_ids = [run_id for ids in found.values() for run_id in ids]
    assert len(all_ids) == len(set(all_ids))
    workflow_of = {r.id: r.workflow_id for r in runs}
    for ids in found.values():
        assert len({workflow_of[run_id] for run_id in ids}) == len(ids)
    chance.shuffle(every)
    chance.shuffle(runs)
    assert owned(every, runs) == found
