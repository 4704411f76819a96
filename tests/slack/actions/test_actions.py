"""What people press in Slack is done once, by whoever may, and they are told."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.slack.screen import render
from tests.slack.actions.acting import CREATE, Answering, answering
from webhook.jobs.queue import Queue
from webhook.store.database import connect

__all__ = ["answering"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_retry_is_the_same_once_more_and_everybody_sees_who_wanted_it(
    answering: Answering,
) -> None:
    fields = {"ref": "v1", "payload": {"size": 3}, "transient_environment": True}
    failed = await answering.world.deployed("broken/retry", task="deploy:fast", **fields)
    message = next(m for m in answering.world.messages() if str(failed.id) in json.dumps(m.blocks))
    before = len(answering.whispers(answering.ada))
    await answering.slack.press(message, "retry", answering.ada)
    [whisper] = await answering.whispered(answering.ada, before)
    [made] = answering.made("broken/retry")
    assert (made.ref, made.sha, made.task) == (failed.sha, failed.sha, "deploy:fast")
    assert (made.payload, made.transient) == ({"size": 3}, True)
    assert re.fullmatch(
        rf"Retry of deployment {failed.id} by octocat \(relay action \d+-[0-9a-f]{{8}}\)",
        made.description or "",
    )
    assert f"Deployment {made.id} was asked for" in whisper.text
    assert f"/deployments/acme/site/{made.id}?key=" in whisper.text
    row = answering.action(failed.id)
    assert (row["outcome"], row["login"], row["made"]) == ("done", "octocat", made.id)
    await answering.world.phase(made.id, "failure")
    await answering.world.idle()
    assert answering.action(failed.id)["reply"] is None  # whoever has it could speak for us
    thread = [m for m in answering.world.replies() if m.thread_ts == message.ts]
    told = "\n".join(render(reply) for reply in thread)
    assert "Retry, asked for in Slack" in told
    assert "octocat" in told
    assert str(made.id) in json.dumps([reply.blocks for reply in thread])


async def test_pressed_by_two_at_once_it_is_done_once(answering: Answering) -> None:
    failed = answering.had("broken/twice")
    told = await asyncio.gather(
        answering.press("retry", failed, answering.ada, times=3),
        answering.press("retry", failed, answering.bob, times=3),
    )
    assert len(told) == 2
    [made] = answering.made("broken/twice")
    said = [w.text for w in answering.slack.ephemeral_messages[-6:]]
    assert len([text for text in said if "was asked for" in text]) == 1
    others = [text for text in said if "asked for that already" in text]
    won = "select login from actions where deployment_id = %s and outcome = 'done'"
    [first] = answering.world.rows(won, failed)
    assert sorted(text.split()[0] for text in others) == ["You"] * 2 + [first["login"]] * 3
    late = await answering.press("rollback", failed, answering.bob)
    assert "asked for a retry already" in late
    assert f"/{made.id}?" in late  # the way to what the other one made


@pytest.mark.slow
async def test_a_hundred_presses_at_once_are_acknowledged_in_time_and_done_once(
    answering: Answering,
) -> None:
    failed = answering.had("broken/hundred")
    button = answering.button("retry", failed)
    # A worker has a process of its own elsewhere: here it would compete with the web server.
    await answering.world.stop_workers()
    answer = await answering.slack.press(button, "retry", answering.ada, times=100)
    answering.world.start_worker()
    answers = (answer, *answer.duplicates)
    assert {one.status for one in answers} == {200}
    assert max(one.seconds for one in answers) < 3
    await answering.until_none_waits(failed)
    assert len(answering.made("broken/hundred")) == 1
    kept = answering.world.rows("select * from actions where deployment_id = %s", failed)
    others = [row["words"] for row in kept if row["outcome"] == "refused"]
    assert (len(kept), others) == (100, ["You have asked for that already"] * 99)


async def test_a_redelivered_press_does_nothing_more(answering: Answering) -> None:
    failed = answering.had("broken/again")
    answer = await answering.slack.press(answering.button("retry", failed), "retry", answering.ada)
    await answering.until_action(lambda row: row["reply"] is None, failed)
    whispers = len(answering.slack.ephemeral_messages)
    for _ in range(2):
        assert (await answering.slack.redeliver(answer)).status == 200
    ids = "select id from actions where deployment_id = %s"
    assert len(answering.world.rows(ids, failed)) == 1
    assert len(answering.made("broken/again")) == 1
    assert len(answering.slack.ephemeral_messages) == whispers


async def test_a_rollback_brings_back_the_last_success_of_another_commit(
    answering: Answering,
) -> None:
    second = answering.sha()
    fields = {"production_on_github": True}
    old = answering.had("stage/back", "success", payload='{"v": 1}', **fields)
    answering.had("stage/back", "success", sha=second, payload='{"v": 2}', **fields)
    again = answering.had("stage/back", "success", sha=second, payload='{"v": 3}', **fields)
    told = await answering.press("rollback", again, answering.bob)
    [made] = answering.made("stage/back")
    assert str(made.id) in told
    sha = answering.world.rows("select sha from deployments where id = %s", old)[0]["sha"]
    assert (made.sha, made.ref, made.task) == (sha, sha, "deploy:rollback")
    assert (made.payload, made.production) == ({"v": 1}, True)
    assert f"Roll back deployment {again} to {sha[:7]} by hubot" in (made.description or "")


async def test_cancel_is_left_to_whoever_looks_after_the_deployment(
    answering: Answering, tmp_path: Path
) -> None:
    deployment = await answering.world.begin_slow(tmp_path / "never")
    told = await answering.press("cancel", deployment.id, answering.ada)
    assert "It is being cancelled" in told
    row = answering.world.rows("select * from deployments where id = %s", deployment.id)[0]
    assert row["cancel_requested_by"] == "octocat"
    entries = (
        "select actor, state, description from timeline"
        " where deployment_id = %s and state = 'asked'"
    )
    asked = {"actor": "octocat", "state": "asked", "description": "Cancel, asked for in Slack"}
    assert answering.world.rows(entries, deployment.id) == [asked]
    told = await answering.press("cancel", deployment.id, answering.bob)
    assert re.search("asked for that already|is over already", told)
    ended = await answering.world.phase(deployment.id, "error")
    assert ended["status_description"] == "Cancelled by octocat"


async def test_whom_nobody_knows_is_told_how_to_be_known(answering: Answering) -> None:
    failed = answering.had("broken/unknown")
    told = await answering.press("retry", failed, answering.eve)
    assert f"slack_users: {{YOUR-GITHUB-LOGIN: {answering.eve.id}}}" in told
    assert "GitHub profile" in told
    row = answering.action(failed)
    assert (row["outcome"], row["login"], row["slack_name"]) == ("refused", "", "eve")
    assert not answering.made("broken/unknown")


async def test_who_may_not_write_may_not_press(answering: Answering) -> None:
    answering.had("broken/reader", "success")
    for action, phase in (("retry", "failure"), ("rollback", "failure"), ("cancel", "in_progress")):
        deployment = answering.had("broken/reader", phase)
        told = await answering.press(action, deployment, answering.rob)
        assert "reader may only read acme/site" in told
        row = answering.action(deployment)
        assert (row["login"], row["outcome"]) == ("reader", "refused")
    asked = "select 1 from deployments where cancel_requested_by is not null and id = %s"
    assert not answering.world.rows(asked, deployment)
    assert not answering.made("broken/reader")


async def test_where_github_cannot_say_who_may_nobody_may(answering: Answering) -> None:
    failed = answering.had("broken/unsure")
    mona = answering.slack.add_user("mona", "mona@acme.test")
    answering.github.add_user("mona-on-github", email="mona@acme.test")
    answering.github.add_collaborator("acme/site", "mona-on-github", "write")
    answering.slack.faults.add("GET /users.info", Fault.status(502))
    assert "Nothing was done" in await answering.press("retry", failed, mona)
    answering.github.faults.add("GET /repos/*/permission", Fault.status(502))
    told = await answering.press("retry", failed, mona)
    assert "GitHub does not say now whether mona-on-github may write" in told
    assert "try again" in told
    # By the same e-mail address on both sides, and as soon as GitHub answers:
    assert "was asked for" in await answering.press("retry", failed, mona)


async def test_what_makes_no_sense_any_more_is_said(answering: Answering) -> None:
    had, press, ada = answering.had, answering.press, answering.ada
    succeeded = had("stage/sense", "success")
    assert "is over already: it is 'success'" in await press("cancel", succeeded, ada)
    assert "nothing to retry" in await press("retry", succeeded, ada)
    assert "no earlier success" in await press("rollback", succeeded, ada)
    assert "does not know this deployment" in await press("retry", 999_999_999, ada)
    newer = had("stage/sense", "success")
    assert f"after {succeeded}" in await press("rollback", succeeded, ada)
    assert "was asked for" in await press("rollback", newer, ada)
    watched = had("stage/watched", "in_progress", watched=True)
    assert "cancel its run on GitHub" in await press("cancel", watched, ada)
    watched = had("stage/watched", watched=True)
    assert "run the workflow again" in await press("retry", watched, ada)
    unrouted = had("nowhere", "error")
    assert "No route for environment 'nowhere'" in await press("retry", unrouted, ada)
    going_on = had("stage/going", "in_progress", watched=False)
    assert "still goes on" in await press("rollback", going_on, ada)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.status(409, {"message": "Conflict merging main into v1."}), "Conflict merging"),
        (Fault.status(422, {"message": "No ref found for: v1"}), "No ref found for: v1"),
        (Fault.status(202, {"message": "Auto-merged main into v1"}), "GitHub merged a branch"),
    ],
    ids=["409", "422", "202"],
)
async def test_githubs_no_is_told_and_one_may_press_again(
    answering: Answering, fault: Fault, words: str
) -> None:
    environment = f"broken/{fault.status_code}"
    failed = answering.had(environment)
    answering.github.faults.add(CREATE, fault)
    told = await answering.press("retry", failed, answering.ada)
    assert "Nothing was deployed" in told
    assert words in told
    assert answering.action(failed)["outcome"] == "failed"
    assert "was asked for" in await answering.press("retry", failed, answering.ada)
    assert len(answering.made(environment)) == 1


@pytest.mark.slow
async def test_a_call_without_a_clear_answer_is_looked_into_and_not_made_twice(
    answering: Answering,
) -> None:
    """Made, then cut off, as if the worker had died; made, then 502; never come; asked to wait."""
    lookups = tuple(timedelta(seconds=seconds) for seconds in (0.2, 0.3, 0.5))
    async with answering.world.timed(deployment_lookups_after=lookups):
        killed, broken = Fault.drop_after(), Fault.status(502, acts=True)
        for fault in (killed, broken, Fault.drop_before(), Fault.rate_limited(1)):
            answering.github.faults.add(CREATE, fault)
        failed = [answering.had(f"broken/unclear/{number}") for number in range(4)]
        for one in failed:  # each meets one of the faults, all at the same time
            await answering.slack.press(answering.button("retry", one), "retry", answering.ada)
        for number, one in enumerate(failed):
            row = await answering.until_action(lambda row: row["reply"] is None, one)
            [made] = answering.made(f"broken/unclear/{number}")
            assert (row["outcome"], row["made"]) == ("done", made.id)
            assert row["words"] == "Retry, asked for in Slack"


async def test_an_answer_goes_nowhere_but_to_slack(answering: Answering) -> None:
    failed = answering.had("broken/elsewhere")
    button = answering.button("cancel", failed)
    answer = await answering.slack.press(button, "cancel", answering.ada)
    await answering.until_action(lambda row: row["reply"] is None, failed)
    answer.delivery.payload["response_url"] = f"{answering.github.url}/elsewhere"
    answer.delivery.payload["trigger_id"] = "1.2.3"
    assert (await answering.slack.redeliver(answer, retry=1)).status == 200
    await answering.until_action(lambda row: row["reply"] is None, failed)
    rows = answering.world.rows("select * from actions where deployment_id = %s", failed)
    assert [(row["outcome"], row["reply"]) for row in rows] == [("refused", None)] * 2
    assert not answering.github.called("POST", "/elsewhere")


async def test_slack_that_takes_no_answer_changes_nothing(answering: Answering) -> None:
    retries = (timedelta(seconds=0.1), timedelta(seconds=0.2))
    async with answering.world.timed(reply_retries_after=retries):
        failed = answering.had("broken/deaf")
        answering.slack.faults.add("POST /response/*", Fault.status(500), times=2)
        answering.slack.faults.add("POST /response/*", Fault.drop_before())
        await answering.slack.press(answering.button("retry", failed), "retry", answering.ada)
        row = await answering.until_action(lambda row: row["reply"] is None, failed)
        assert row["outcome"] == "done"
        assert len(answering.made("broken/deaf")) == 1
        assert row["answers"] == 2
        for fault in (Fault.status(503), Fault.rate_limited(1)):
            answering.slack.faults.add("POST /response/*", fault)
        assert "You have asked for that already" in await answering.press(
            "retry", failed, answering.ada
        )


async def test_what_comes_too_late_is_not_done(answering: Answering) -> None:
    """The relay was down meanwhile, and nobody expects it any more."""
    failed = answering.had("broken/late")
    await answering.world.idle()
    await answering.world.stop_workers()
    before = len(answering.whispers(answering.ada))
    await answering.slack.press(answering.button("retry", failed), "retry", answering.ada)
    late = "update actions set at = at - interval '11 minutes' where deployment_id = %s returning 1"
    assert await asyncio.to_thread(answering.world.rows, late, failed)
    answering.world.start_worker()
    [whisper] = await answering.whispered(answering.ada, before)
    assert "too late" in whisper.text
    assert not answering.made("broken/late")


@pytest.mark.parametrize("died", ["before it knew of its own call", "before it answered"])
async def test_what_a_killed_worker_began_is_ended_by_the_next(
    answering: Answering, died: str
) -> None:
    failed = answering.had(f"broken/{died}")
    button = answering.button("retry", failed)
    answer = await answering.slack.press(button, "retry", answering.ada)
    row = await answering.until_action(lambda row: row["reply"] is None, failed)
    before = len(answering.whispers(answering.ada))
    reply = json.dumps({"url": answer.delivery.payload["response_url"]})
    as_it_was = "reply = %s" + (", outcome = 'waiting', made = null" if "knew" in died else "")
    query = f"update actions set {as_it_was} where id = %s returning 1"
    assert await asyncio.to_thread(answering.world.rows, query, reply, row["id"])
    if "knew" in died:
        claimed = "update outbox set state = 'claimed', claimed_until = now(), ref = null"
        query = f"{claimed} where action_id = %s returning 1"
        assert await asyncio.to_thread(answering.world.rows, query, row["id"])
    with connect(answering.world.store_url) as connection:
        Queue().answer(connection, row["id"])
    [whisper] = await answering.whispered(answering.ada, before)
    [made] = answering.made(f"broken/{died}")
    assert f"Deployment {made.id} was asked for" in whisper.text
    assert (await answering.until_action(lambda row: row["reply"] is None))["made"] == made.id
