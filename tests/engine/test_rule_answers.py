"""Wherever a worker dies, GitHub gets each answer to a protection rule once."""

import contextlib
import itertools
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.sandbox import REPOSITORY
from tests.engine.by_hand import MINUTE, Engine, Killed, engine_by_hand, killed
from webhook.engine.receive import receive
from webhook.engine.rule_answers import RuleAnswer
from webhook.engine.statuses import send_statuses
from webhook.errors import Forbidden, RetryAt
from webhook.github.protection_rules import Answer, Kind
from webhook.github.tokens import Scope
from webhook.worker import follow

DEPLOY_YML = """
envs:
  - name: production
    handler: by-hand
    protection_rule: true
    frozen_windows: [{from: "2026-11-27T12:00", to: "2026-11-27T12:30"}]
"""
ALL_END = "update deployments set ended_at = now(), phase = 'success'"


async def asked(engine: Engine) -> tuple[WorkflowRun, int]:
    """A run whose job waits, and the delivery of that."""
    run = started(engine)
    return run, await deliver(engine, request(engine, run))


def started(engine: Engine) -> WorkflowRun:
    actions = engine.sandbox.github.actions
    workflow = actions.add_workflow(REPOSITORY, on=["push"], jobs=[Job(environment="production")])
    run: WorkflowRun = actions.start(workflow, by=engine.sandbox.user.account)
    return run


def request(engine: Engine, run: WorkflowRun) -> dict[str, Any]:
    """What GitHub asks once the job of the run waits."""
    actions = engine.sandbox.github.actions
    actions.runs.begin(run)
    [job] = run.jobs
    document: dict[str, Any] = actions.environments.request(run, job)
    return document


async def deliver(engine: Engine, document: dict[str, Any]) -> int:
    await engine.deliver("deployment_protection_rule", document)
    [row] = await engine.rows("select max(id) as id from deliveries")
    return int(row["id"])


async def received(engine: Engine, document: dict[str, Any]) -> int:
    """The deployment that it is about."""
    await receive(engine.services, await deliver(engine, document))
    return int(document["deployment"]["id"])


async def done(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(RetryAt):
        await work


async def go_on(engine: Engine, run: WorkflowRun, delivery: int, after: int) -> bool:
    """All that is to be done now, each killed once and done again; whether any was."""
    services, any_killed = engine.services, False
    [job] = run.jobs
    assert job.deployment is not None
    number = job.deployment.id
    for work, subject in ((receive, delivery), (follow, number), (send_statuses, number)):
        try:
            await done(killed(work(services, subject), after))
        except Killed:
            any_killed = True
        await engine.execute("update outbox set claimed_until = 'epoch' where state = 'claimed'")
        for _ in range(3):  # what was sent is looked for first
            await done(work(services, subject))
            await engine.execute(
                "update outbox set claimed_until = 'epoch' where state = 'claimed'"
            )
    return any_killed


@pytest.mark.slow
async def test_wherever_a_worker_dies_each_answer_is_given_once(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        engine.sandbox.github.actions.runs.paused = True
        engine.sandbox.github.actions.environments.enable_rule(REPOSITORY, "production")
        for after in itertools.count():
            run, delivery = await asked(engine)
            held = await go_on(engine, run, delivery, after)
            engine.clock.now += 31 * MINUTE
            released = await go_on(engine, run, delivery, after)
            engine.clock.now -= 31 * MINUTE
            reviews = engine.sandbox.github.actions.environments.reviews[run.id]
            assert [one.state for one in reviews] == ["pending", "approved"], f"died after {after}"
            await engine.execute(ALL_END)
            if not (held or released):
                break
        assert after > 5


async def test_what_is_late_answers_for_no_job_that_it_is_not_about(
    store_url: str, tmp_path: Path
) -> None:
    """A freeze begins, or the run is started again, before GitHub has heard of the decision; or
    events come late."""
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        github = engine.sandbox.github
        github.actions.runs.paused = True
        environments = github.actions.environments
        environments.enable_rule(REPOSITORY, "production")
        engine.clock.now += 31 * MINUTE
        run = started(engine)
        first = await received(engine, request(engine, run))
        await done(follow(engine.services, first))
        engine.clock.now -= 5 * MINUTE
        await send_statuses(engine.services, first)
        assert run.id not in environments.reviews
        await done(follow(engine.services, first))
        await send_statuses(engine.services, first)
        assert "Frozen" in environments.comments(run)[0]
        engine.clock.now += 5 * MINUTE
        await done(follow(engine.services, first))

        hubot = github.add_user("hubot").account
        github.actions.runs.rerun(run, by=hubot)
        second = await received(engine, request(engine, run))
        await send_statuses(engine.services, first)
        assert environments.comments(run, "approved") == []
        assert await engine.phase(first) == "error"
        await done(follow(engine.services, second))
        await send_statuses(engine.services, second)
        [approved] = environments.comments(run, "approved")
        assert f"[Deployment {second}]" in approved
        await engine.execute(ALL_END)

        run = started(engine)
        first = await received(engine, request(engine, run))
        await done(follow(engine.services, first))
        await engine.execute(ALL_END)
        await send_statuses(engine.services, first)
        assert run.id not in environments.reviews

        run = started(engine)
        first = await received(engine, request(engine, run))
        github.actions.runs.rerun(run, by=hubot)
        other_sender = github.events.common_fields(run.repository, run.actor)
        second = await received(engine, request(engine, run) | other_sender)
        engine.clock.now -= 5 * MINUTE
        await engine.settle()
        assert await engine.phase(first) == "queued"
        [job] = run.jobs
        assert job.deployment is not None
        await engine.deliver("deployment", github.events.deployment(job.deployment))
        await engine.settle()
        assert await engine.phase(first) == "error"
        await engine.execute(ALL_END)
        engine.clock.now += 5 * MINUTE

        run = started(engine)
        late = request(engine, run)
        github.actions.runs.rerun(run, by=hubot)
        newest = await received(engine, request(engine, run))
        first = await received(engine, late)
        assert (await engine.phase(first), await engine.phase(newest)) == ("error", "queued")
        await received(engine, late)
        assert await engine.rows("select from schedule where task = 'reject_rule'") == []
        await engine.execute(ALL_END)

        run = started(engine)
        again = request(engine, run)
        asked_twice = await received(engine, again)
        await done(follow(engine.services, asked_twice))
        engine.clock.now -= 5 * MINUTE
        await received(engine, again)
        await send_statuses(engine.services, asked_twice)
        await done(follow(engine.services, asked_twice))
        await send_statuses(engine.services, asked_twice)
        [review] = environments.reviews[run.id]
        assert (review.state, "Frozen" in review.comment) == ("pending", True)


async def test_a_decision_is_kept_for_an_app_that_comes_back_after_weeks(
    store_url: str, tmp_path: Path
) -> None:
    async with engine_by_hand(store_url, tmp_path, DEPLOY_YML) as engine:
        now, gone = engine.clock(), Forbidden("suspended", 403)
        kinds: tuple[Kind, ...] = ("comment", "approved", "rejected")
        tried = {}
        for kind in kinds:
            answer = Answer("production", kind, "")
            write = RuleAnswer(engine.services, Scope(1, REPOSITORY, 1), 7, answer, "marker")
            tried[kind] = write.retry_rejected_at(gone, now - timedelta(days=28), now)
        later = now + timedelta(hours=1)
        row = await engine.services.read(await received(engine, request(engine, started(engine))))
        assert row is not None
        assert row.waits_until(timedelta(days=90)) == row.created_at + timedelta(days=29)
        assert tried == {"comment": None, "approved": later, "rejected": later}
