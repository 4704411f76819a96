"""Wherever a worker dies, GitHub gets each answer to a protection rule once."""

import contextlib
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.sandbox import REPOSITORY
from tests.engine.by_hand import MINUTE, Engine, Killed, engine_by_hand, killed
from webhook.engine.receive import receive
from webhook.engine.statuses import send_statuses
from webhook.errors import RetryAt
from webhook.worker import follow

DEPLOY_YML = """
envs:
  - name: production
    handler: by-hand
    protection_rule: true
    frozen_windows: [{from: "2026-11-27T12:00", to: "2026-11-27T12:30"}]
"""


async def asked(engine: Engine) -> tuple[WorkflowRun, int]:
    """A run whose job waits, and the delivery of that."""
    github = engine.sandbox.github
    workflow = github.actions.add_workflow(
        REPOSITORY, on=["push"], jobs=[Job(environment="production")]
    )
    run = github.actions.start(workflow, by=engine.sandbox.user.account)
    github.actions.runs.begin(run)
    [job] = run.jobs
    document = github.actions.environments.request(run, job)
    await engine.deliver("deployment_protection_rule", document)
    [row] = await engine.rows("select max(id) as id from deliveries")
    return run, row["id"]


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
            await engine.execute("update deployments set ended_at = now(), phase = 'success'")
            if not (held or released):
                break
        assert after > 5
