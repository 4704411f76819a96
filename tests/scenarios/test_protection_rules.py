"""Jobs of GitHub Actions that wait in an environment: GitHub asks, and the gates answer."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.faults import Fault
from sandbox.github.model import Deployment
from sandbox.github_actions.environments import Environments
from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.sandbox import REPOSITORY
from sandbox.slack.model import Message
from sandbox.slack.screen import render
from tests.slack.actions.action_world import ActionWorld, action_world
from tests.world import until
from webhook.timing import utc_now

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = utc_now() + timedelta(days=3)
ENVIRONMENTS = f"""
  - name: rule/dispatched
    handler: github-actions
    with: {{mode: dispatch, workflow: rule-dispatched.yml, inputs: {{}}}}
    protection_rule: true
    serialization: true
  - name: "rule/*"
    handler: github-actions
    protection_rule: true
    serialization: true
  - name: "reviewed*"
    handler: github-actions
    protection_rule: true
    serialization: false
    with: {{status_within: 0s}}
    review: {{enabled: true, reviewers: [octocat, hubot]}}
    break_glass: [octocat]
    wait_limit: 2h
  - name: frozen
    handler: github-actions
    protection_rule: true
    frozen_windows: [{{from: 2026-01-01, to: {LATER:%Y-%m-%d}, reason: "year *end*"}}]
  - name: unanswered
    handler: github-actions
"""
_files = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    folder: Path = tmp_path_factory.mktemp("rules")
    async with action_world(postgres, folder, environments=ENVIRONMENTS) as world:
        world.github.app.events.append("deployment_protection_rule")
        world.github.add_user("renovate[bot]")
        yield world


def environments(relay: ActionWorld) -> Environments:
    found: Environments = relay.github.actions.environments
    return found


def started(
    relay: ActionWorld,
    environment: str,
    *,
    by: str = "hubot",
    ref: str = "main",
    jobs: int = 1,
    **job: Any,
) -> WorkflowRun:
    """A run whose jobs wait there."""
    environments(relay).enable_rule(REPOSITORY, environment)
    workflow = relay.github.actions.add_workflow(
        REPOSITORY,
        f"rule-{next(_files)}.yml",
        on=["push"],
        jobs=[Job(f"job {number}", environment=environment, **job) for number in range(jobs)],
    )
    run: WorkflowRun = relay.github.actions.start(
        workflow, ref=ref, by=relay.github.world.user(by).account
    )
    return run


async def comments(
    relay: ActionWorld, run: WorkflowRun, count: int = 1, state: str = "pending"
) -> list[str]:
    """As soon as there are so many, without what keeps them from being Markdown."""
    found = environments(relay).comments
    await until(lambda: len(found(run, state)) >= count or None)
    return [one.replace("\\", "") for one in found(run, state)]


async def ended(run: WorkflowRun) -> str | None:
    await until(lambda: run.status == "completed" or None)
    return run.conclusion


def deployment_of(run: WorkflowRun) -> Deployment:
    [job] = run.jobs
    assert job.deployment is not None
    return job.deployment


def message_of(relay: ActionWorld, deployment: Deployment) -> Message | None:
    page = f"/{REPOSITORY}/{deployment.id}?"
    found = (m for m in relay.world.messages() if page in json.dumps(m.blocks))
    return next(found, None)


async def shown(
    relay: ActionWorld, deployment: Deployment, has: Callable[[str], bool] = bool
) -> str:
    """The message, as soon as it says so."""

    def read() -> str | None:
        message = message_of(relay, deployment)
        text = render(message) if message else ""
        return text if has(text) else None

    text: str = await until(read)
    return text


async def test_a_lock_holds_the_job_and_says_why_until_it_is_unlocked(relay: ActionWorld) -> None:
    await relay.typed(f"lock {REPOSITORY} rule/locked *migration* @all", relay.ada)
    run = started(relay, "rule/locked", ref="v1")
    [comment] = await comments(relay, run)
    assert comment.startswith("Locked by octocat: *migration* @\N{ZERO WIDTH SPACE}all (until ")
    assert f"/deploy unlock {REPOSITORY} rule/locked [Deployment" in comment
    assert "\\*migration\\*" in environments(relay).comments(run)[0]
    deployment = deployment_of(run)
    assert await shown(relay, deployment, lambda text: "Locked by octocat" in text)
    assert relay.github.states(deployment.id) == ["waiting"]
    # Whoever may push may write a status; GitHub itself says whether the job still waits.
    await relay.github.create_status(deployment.id, "success")
    reported = "select 1 from timeline where deployment_id = %s and state = 'success'"
    await until(lambda: relay.world.rows(reported, deployment.id) or None)
    assert "Locked by octocat" in await shown(relay, deployment)

    await relay.typed(f"unlock {REPOSITORY} rule/locked", relay.ada)
    assert await ended(run) == "success"
    [approved] = await comments(relay, run, state="approved")
    assert approved.startswith("No gate holds it back: its workflow goes on [Deployment")
    await shown(relay, deployment, lambda text: "succeeded" in text)
    await relay.world.idle()
    own = [status for status in relay.github.statuses(deployment.id) if status.by_app]
    assert own == []
    assert relay.github.states(deployment.id) == (
        ["waiting", "success", "queued", "in_progress", "success"]
    )
    assert len(environments(relay).reviews[run.id]) == 2


async def test_people_answer_in_slack_but_not_the_one_who_started_the_run(
    relay: ActionWorld,
) -> None:
    run = started(relay, "reviewed", by="hubot")
    [comment] = await comments(relay, run)
    assert comment.startswith("Waits for approval: 0 of 1 (no known end). Reviewers: octocat")
    deployment = deployment_of(run)
    await shown(relay, deployment, lambda text: "Reject" in text and "Override" in text)
    own = await relay.press("approve", deployment.id, relay.bob)
    assert "You asked for this deployment yourself" in own
    assert "You have approved it" in await relay.press("approve", deployment.id, relay.ada)
    assert await ended(run) == "success"

    # Run again by somebody else, it is asked again, and who may answer is another.
    relay.github.actions.runs.rerun(run, by=relay.github.world.user("octocat").account)
    await comments(relay, run, 2)
    again = deployment_of(run)
    assert again.id != deployment.id
    own = await relay.press("approve", again.id, relay.ada)
    assert "You asked for this deployment yourself" in own
    await relay.typed(f"reject {REPOSITORY} reviewed not *today*", relay.bob)
    assert await ended(run) == "failure"
    [rejected] = await comments(relay, run, state="rejected")
    assert rejected.startswith("Rejected by hubot: not *today* [Deployment")
    await shown(relay, again, lambda text: "hubot rejected it" in text)
    await relay.world.idle()
    [row] = relay.world.rows("select * from deployments where id = %s", again.id)
    assert (row["phase"], row["asker"]) == ("error", "octocat")


async def test_the_wait_ends_by_a_freeze_that_is_over_an_override_or_its_limit(
    relay: ActionWorld,
) -> None:
    frozen, glass = started(relay, "frozen"), started(relay, "reviewed/glass")
    cancelled = started(relay, "reviewed/cancelled", by="renovate[bot]")
    late = started(relay, "reviewed/late")
    [comment] = await comments(relay, frozen)
    assert comment.startswith("Frozen: year *end* (2026-01-01 to ")
    await comments(relay, glass)
    await comments(relay, late)
    [comment] = await comments(relay, cancelled)
    assert "0 of 2 (one more, as nobody knows who asked)" in comment
    assert "is being cancelled" in await relay.press(
        "cancel", deployment_of(cancelled).id, relay.ada
    )
    assert await ended(cancelled) == "failure"
    [rejected] = await comments(relay, cancelled, state="rejected")
    assert rejected.startswith("Cancelled by octocat [Deployment")
    await relay.typed(f"override {REPOSITORY} reviewed/glass it is down", relay.ada)
    assert await ended(glass) == "success"
    relay.github.faults.add(f"GET /repos/*/actions/runs/{late.id}", Fault.status(503), 1000)
    with relay.world.clock.moved(timedelta(days=5)):
        await asyncio.to_thread(relay.world.bring_forward, "task = 'advance'")
        assert (await ended(frozen), await ended(late)) == ("success", "failure")
    [rejected] = await comments(relay, late, state="rejected")
    assert rejected.startswith("Gave up after waiting 2h: Waits for approval: 0 of 1")


async def test_one_run_at_a_time_and_the_newest_of_those_that_wait(relay: ActionWorld) -> None:
    relay.github.actions.runs.paused = True
    try:
        first = started(relay, "rule/serial", ref="v1")
        relay.github.actions.runs.begin(first)
        await comments(relay, first, state="approved")
        second = started(relay, "rule/serial", ref="v2", jobs=2)
        third = started(relay, "rule/serial", ref="v3")
        for run in (second, third):
            relay.github.actions.runs.begin(run)
            [comment] = await comments(relay, run)
            assert comment.startswith(f"Waits for deployment {deployment_of(first).id} (v1) to end")
        waiting = "select phase from deployments where rule_run_id = %s"
        await until(lambda: len(relay.world.rows(waiting, second.id)) == 2 or None)
        relay.github.actions.runs.finish(first)
        await comments(relay, third, state="approved")
        assert await ended(second) == "failure"
        phases = {row["phase"] for row in relay.world.rows(waiting, second.id)}
        assert phases == {"superseded"}
        [rejected] = await comments(relay, second, state="rejected")
        assert rejected.startswith(f"Superseded by deployment {deployment_of(third).id} (v3)")
        relay.github.actions.runs.finish(third)
    finally:
        relay.github.actions.runs.paused = False
    await relay.world.idle()
    assert environments(relay).comments(third, "approved") != []


async def test_workflows_that_a_deployment_starts_are_held_in_their_jobs(
    relay: ActionWorld,
) -> None:
    environments(relay).enable_rule(REPOSITORY, "reviewed/started")
    workflow = relay.github.actions.add_workflow(
        REPOSITORY,
        f"rule-{next(_files)}.yml",
        on=["deployment"],
        jobs=[Job(environment="reviewed/started")],
    )
    await relay.typed(f"{REPOSITORY} reviewed/started", relay.bob)
    workflow.state = "disabled_manually"  # other tests' deployments start no run of it
    [deployment] = relay.created("reviewed/started")
    [run] = relay.github.actions.runs_of(deployment)
    # It was the App that created the deployment; who asked for it in Slack asked for its jobs.
    await until(lambda: "0 of 1" in "".join(environments(relay).comments(run)) or None)
    own = await relay.press("approve", deployment_of(run).id, relay.bob)
    assert "You asked for this deployment yourself" in own
    assert "You have approved it" in await relay.press("approve", deployment_of(run).id, relay.ada)
    assert await ended(run) == "success"
    for one in (deployment, deployment_of(run)):
        await relay.world.phase(one.id, "success", "inactive")


async def test_jobs_of_what_the_relay_has_started_do_not_wait_for_it(relay: ActionWorld) -> None:
    environments(relay).enable_rule(REPOSITORY, "rule/dispatched")
    relay.github.actions.add_workflow(
        REPOSITORY,
        "rule-dispatched.yml",
        on=["workflow_dispatch"],
        jobs=[Job(environment="rule/dispatched")],
        inputs={"deployment_id": True},
    )
    await relay.typed(f"{REPOSITORY} rule/dispatched", relay.bob)
    [deployment] = relay.created("rule/dispatched")
    await relay.world.phase(deployment.id, "success", "inactive")
    [run] = relay.github.actions.runs_of(deployment)
    await relay.world.phase(deployment_of(run).id, "success", "inactive")


async def test_what_no_gate_is_asked_for_is_rejected_with_the_remedy(relay: ActionWorld) -> None:
    for environment, remedy in (
        ("nowhere", "add it to deploy.yml, or turn its protection rule off"),
        ("unanswered", "add protection_rule: true to it, or turn its protection rule off"),
    ):
        run = started(relay, environment)
        [rejected] = await comments(relay, run, state="rejected")
        assert remedy in rejected
        assert await ended(run) == "failure"
    without = started(relay, "rule/without", creates_deployment=False)
    [rejected] = await comments(relay, without, state="rejected")
    assert "leave 'deployment: false' out of its environment" in rejected
    reasons = relay.world.delivery_outcomes()["done"]
    assert any(one.startswith("rejected: GitHub has created no deployment") for one in reasons)


async def test_no_other_address_than_the_documented_one_is_called(relay: ActionWorld) -> None:
    run = started(relay, "reviewed/foreign")
    await comments(relay, run)
    [body] = [
        json.loads(one.body)
        for one in relay.github.deliveries
        if one.event == "deployment_protection_rule"
        and json.loads(one.body)["environment"] == "reviewed/foreign"
    ]
    url = body["deployment_callback_url"]
    for foreign in (
        url.replace("127.0.0.1", "evil.example"),
        url.replace("http://", "http://evil.example@"),
        url.replace(REPOSITORY, "acme/other"),
        url.replace("/actions/", "/../actions/"),
        f"{url}?x=1",
        None,
    ):
        await relay.github.deliver(
            "deployment_protection_rule", {**body, "deployment_callback_url": foreign}
        )
    foreign_ones = "select 1 from deliveries where reason like '%%was not called'"
    await until(lambda: len(relay.world.rows(foreign_ones)) == 6 or None)
    assert len(environments(relay).comments(run)) == 1
    relay.github.actions.runs.cancel(run)
    await relay.world.phase(deployment_of(run).id, "error")


async def test_a_lost_response_decides_nothing_twice_and_redeliveries_change_nothing(
    relay: ActionWorld,
) -> None:
    await relay.typed(f"lock {REPOSITORY} rule/lost migration", relay.ada)
    path = "POST */deployment_protection_rule"
    relay.github.faults.add(path, Fault.drop_after())
    environments(relay).rule_first = True
    run = started(relay, "rule/lost")
    await comments(relay, run)
    sent = "select 1 from outbox where deployment_id = %s and purpose = %s and state = 'sent'"
    await until(lambda: relay.world.rows(sent, deployment_of(run).id, "comment") or None)
    environments(relay).rule_first = False
    asked = [one for one in relay.github.deliveries if one.event == "deployment_protection_rule"]
    await relay.github.redeliver(asked[-1].guid)
    relay.github.faults.add(path, Fault.drop_after())
    await relay.typed(f"unlock {REPOSITORY} rule/lost", relay.ada)
    assert await ended(run) == "success"
    await relay.world.idle()
    lost = [call for call, _ in relay.github.faults.fired if "deployment_protection_rule" in call]
    assert len(lost) == 2
    assert [one.state for one in environments(relay).reviews[run.id]] == ["pending", "approved"]
    outbox = relay.world.rows(
        "select state, error from outbox where deployment_id = %s and kind = 'protection_rule'",
        deployment_of(run).id,
    )
    assert [(one["state"], one["error"]) for one in outbox] == [("sent", ""), ("sent", "")]


async def test_what_becomes_of_the_run_without_the_relay_is_found_out(relay: ActionWorld) -> None:
    cancelled, passed = started(relay, "reviewed/ended"), started(relay, "reviewed/passed")
    await comments(relay, cancelled)
    await comments(relay, passed)
    relay.github.actions.runs.cancel(cancelled)
    environments(relay).bypass(passed, relay.github.world.user("hubot").account)
    row = await relay.world.phase(deployment_of(cancelled).id, "error")
    ended_with = "Its run ended (cancelled) on GitHub before it was let through"
    assert row["status_description"] == ended_with
    row = await relay.world.phase(deployment_of(passed).id, "success")
    await relay.world.idle()
    entries = relay.world.rows(
        "select description from timeline where deployment_id = %s", deployment_of(passed).id
    )
    assert any("past its gates" in one["description"] for one in entries)
    for run in (cancelled, passed):
        assert environments(relay).comments(run, "rejected") == []


async def test_whoever_starts_a_waiting_run_again_cannot_approve_it(relay: ActionWorld) -> None:
    run = started(relay, "reviewed/again", by="hubot")
    await comments(relay, run)
    first = deployment_of(run)
    relay.github.actions.runs.rerun(run, by=relay.github.world.user("octocat").account)
    row = await relay.world.phase(first.id, "error")
    second = await until(lambda: job.deployment if (job := run.jobs[0]).deployment else None)
    assert row["status_description"] == f"Its run was started again: deployment {second.id}"
    await comments(relay, run, 2)
    assert "Too late" in await relay.press("approve", first.id, relay.ada)
    own = await relay.press("approve", second.id, relay.ada)
    assert "You asked for this deployment yourself" in own
    assert "You have approved it" in await relay.press("approve", second.id, relay.bob)
    assert await ended(run) == "success"


async def test_all_jobs_of_a_run_that_wait_there_have_one_answer(relay: ActionWorld) -> None:
    environments(relay).enable_rule(REPOSITORY, "rule/matrix")
    await relay.typed(f"lock {REPOSITORY} rule/matrix migration", relay.ada)
    workflow = relay.github.actions.add_workflow(
        REPOSITORY,
        f"rule-{next(_files)}.yml",
        on=["push"],
        jobs=[Job("one", environment="rule/matrix"), Job("two", environment="rule/matrix")],
    )
    run = relay.github.actions.start(workflow, by=relay.github.world.user("hubot").account)
    ids = await until(lambda: _deployments(run))
    together = (
        "select 1 from deployments where id = %s and blockers @? '$[*] ? (@.gate == \"run\")'"
    )
    await until(lambda: relay.world.rows(together, max(ids)) or None)
    await relay.typed(f"unlock {REPOSITORY} rule/matrix", relay.ada)
    assert await ended(run) == "success"
    assert len(await comments(relay, run, state="approved")) == 1
    for deployment_id in ids:
        await relay.world.phase(deployment_id, "success", "inactive")


def _deployments(run: WorkflowRun) -> list[int] | None:
    """Of its jobs, once all of them wait."""
    found = [job.deployment.id for job in run.jobs if job.deployment]
    return found if found and len(found) == len(run.jobs) else None


@pytest.mark.slow
async def test_there_are_nine_comments_and_then_the_decision(relay: ActionWorld) -> None:
    await relay.typed(f"lock {REPOSITORY} rule/often reason 0", relay.ada)
    run = started(relay, "rule/often")
    await comments(relay, run)
    for number in range(1, 11):
        await relay.typed(f"lock! {REPOSITORY} rule/often reason {number}", relay.ada)
        if number < 9:
            await comments(relay, run, number + 1)
    written = await comments(relay, run, 9)
    assert "This is the last comment until the decision" in written[-1]
    await relay.typed(f"unlock {REPOSITORY} rule/often", relay.ada)
    assert await ended(run) == "success"
    states = [one.state for one in environments(relay).reviews[run.id]]
    assert states == ["pending"] * 9 + ["approved"]
