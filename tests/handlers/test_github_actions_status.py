"""GitHub's states of workflow runs as the relay's states and descriptions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from handlers.contract import Run, State
from handlers.github_actions.api import Job, Jobs, Step, WorkflowRun
from handlers.github_actions.status import RunWithJobs, deployment_run

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
QUEUED = Run("", State.QUEUED)
BEGUN = Run("1", State.IN_PROGRESS)


def a_run(
    status: str, conclusion: str = "", *, id_: int = 1, name: str = "Deploy", ago: float = 0
) -> WorkflowRun:
    return WorkflowRun(
        id=id_,
        workflow_id=id_,
        name=name,
        event="deployment",
        head_sha="f95f852",
        status=status,
        conclusion=conclusion,
        html_url=f"https://github.com/acme/api/actions/runs/{id_}",
        created_at=NOW - timedelta(hours=1),
        updated_at=NOW - timedelta(seconds=ago),
    )


def jobs(*every: Job) -> Jobs:
    return Jobs(total_count=len(every), jobs=list(every))


def shown(runs: Sequence[RunWithJobs], before: Run = QUEUED, within: float = 0) -> tuple[str, str]:
    run = deployment_run(
        runs, before, "production", now=NOW, status_within=timedelta(seconds=within)
    )
    assert len(run.description) <= 140
    return run.state.value, run.description


@pytest.mark.parametrize(
    ("status", "state", "message"),
    [
        ("requested", "queued", "Workflow 'Deploy' is queued on GitHub"),
        ("queued", "queued", "Workflow 'Deploy' is queued on GitHub"),
        ("pending", "queued", "Workflow 'Deploy' waits on GitHub for another run to end"),
        ("waiting", "queued", "Waiting for approval on GitHub (workflow 'Deploy')"),
        ("action_required", "queued", "Waiting for approval on GitHub (workflow 'Deploy')"),
        ("in_progress", "in_progress", "Workflow 'Deploy' is running on GitHub"),
        ("completed", "in_progress", "Workflow 'Deploy' has ended; GitHub does not say yet how"),
        ("levitating", "queued", "GitHub says 'levitating', which the relay does not know"),
    ],
)
def test_a_run_that_has_not_ended(status: str, state: str, message: str) -> None:
    assert shown([RunWithJobs(a_run(status))]) == (state, message)
    assert shown([RunWithJobs(a_run(status))], BEGUN) == ("in_progress", message)


@pytest.mark.parametrize(
    ("conclusion", "state", "message"),
    [
        ("success", "success", ""),
        ("failure", "failure", "Workflow 'Deploy' failed"),
        ("timed_out", "failure", "Workflow 'Deploy' timed out"),
        ("startup_failure", "failure", "Workflow 'Deploy' could not be started (startup_failure)"),
        ("cancelled", "error", "Workflow 'Deploy' was cancelled"),
        ("action_required", "error", "Workflow 'Deploy' ended with action_required: somebody"),
        ("stale", "error", "Workflow 'Deploy' was given up by GitHub as stale"),
        ("skipped", "error", "skipped: no job of workflow 'Deploy' ran; does an `if:` leave out"),
        ("neutral", "error", "Workflow 'Deploy' ended as neutral"),
        ("transcended", "error", "GitHub says that workflow 'Deploy' ended with 'transcended'"),
    ],
)
def test_a_run_that_has_ended(conclusion: str, state: str, message: str) -> None:
    shown_state, shown_description = shown([RunWithJobs(a_run("completed", conclusion))])
    assert shown_state == state
    assert shown_description.startswith(message)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (
            Job(
                name="deploy",
                conclusion="failure",
                steps=[
                    Step(name="Set up", conclusion="success"),
                    Step(name="Smoke test", conclusion="failure"),
                    Step(name="Clean up", conclusion="failure"),
                ],
            ),
            "job 'deploy' failed at step 'Smoke test'",
        ),
        (Job(name="deploy", conclusion="failure"), "job 'deploy' failed"),
        (Job(name="deploy", conclusion="timed_out"), "job 'deploy' timed out"),
        (Job(name="deploy", conclusion="unknown"), "Workflow 'Deploy' failed"),
        (Job(name="d" * 300, conclusion="failure"), f"job '{'d' * 39}…' failed"),
    ],
)
def test_the_job_that_failed_is_named(job: Job, message: str) -> None:
    runs = RunWithJobs(
        a_run("completed", "failure"), jobs(Job(name="a", conclusion="success"), job)
    )
    assert shown([runs]) == ("failure", message)


def test_a_success_of_which_every_job_is_skipped_is_none() -> None:
    skipped = Job(name="a", conclusion="skipped")
    ran = Job(name="b", conclusion="success")
    success = a_run("completed", "success")
    assert shown([RunWithJobs(success, jobs(skipped, skipped))])[0] == "error"
    assert shown([RunWithJobs(success, jobs(skipped, ran))])[0] == "success"
    assert shown([RunWithJobs(success, jobs())])[0] == "success"
    one_of_more = Jobs(total_count=101, jobs=[skipped] * 100)
    assert shown([RunWithJobs(success, one_of_more)])[0] == "success"


def test_runs_that_were_skipped_count_only_if_all_were() -> None:
    skipped = RunWithJobs(a_run("completed", "skipped", id_=2))
    assert shown([RunWithJobs(a_run("completed", "success")), skipped])[0] == "success"
    assert shown([RunWithJobs(a_run("queued")), skipped])[0] == "queued"
    assert shown([skipped, RunWithJobs(a_run("completed", "skipped"))])[0] == "error"


@pytest.mark.parametrize(
    ("ends", "state", "linked"),
    [
        (["success", "success"], "success", 2),
        (["failure", "success"], "failure", 1),
        (["cancelled", "success"], "error", 1),
        (["cancelled", "failure", "success"], "failure", 2),
        (["failure", "failure"], "failure", 2),
    ],
)
def test_of_several_the_worst_counts_and_is_linked(
    ends: list[str], state: str, linked: int
) -> None:
    runs = [RunWithJobs(a_run("completed", end, id_=n)) for n, end in enumerate(ends, start=1)]
    run = deployment_run(runs, QUEUED, "production", now=NOW)
    assert (run.state, run.url[-2:]) == (state, f"/{linked}")


def test_as_long_as_one_is_open_the_newest_open_one_is_linked() -> None:
    ends = [a_run("completed", "failure", id_=1), a_run("queued", id_=2), a_run("queued", id_=3)]
    run = deployment_run([RunWithJobs(end) for end in ends], QUEUED, "production", now=NOW)
    assert (run.id, run.state, run.url[-2:]) == ("1 2 3", State.IN_PROGRESS, "/3")


def test_the_end_is_final_after_a_while_counted_from_the_last_end() -> None:
    """No status is written before, which would follow the workflow's own last status."""
    first = RunWithJobs(a_run("completed", "success", id_=1, ago=600))
    last = RunWithJobs(a_run("completed", "success", id_=2, ago=20))
    assert shown([first, last], BEGUN, within=30) == ("in_progress", "")
    assert shown([first, last], QUEUED, within=30) == ("queued", "")
    assert shown([first, last], BEGUN, within=20) == ("success", "")


def test_only_web_addresses_become_links() -> None:
    document = a_run("queued").model_dump(mode="json") | {"html_url": "javascript:alert(1)"}
    run = WorkflowRun.model_validate(document)
    assert deployment_run([RunWithJobs(run)], QUEUED, "production", now=NOW).url == ""
