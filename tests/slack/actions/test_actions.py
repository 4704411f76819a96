"""A button pressed in Slack acts once, for people with permission, and they get a reply."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.slack.screen import render
from tests.slack.actions.action_world import CREATE, ActionWorld, relay
from webhook.store import schedule
from webhook.store.database import connect

__all__ = ["relay"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.slow
async def test_a_retry_deploys_the_same_again_and_shows_who_requested_it(
    relay: ActionWorld,
) -> None:
    fields = {"ref": "v1", "payload": {"size": 3}, "transient_environment": True}
    failed = await relay.world.deployed("broken/retry", task="deploy:fast", **fields)
    message = next(m for m in relay.world.messages() if str(failed.id) in json.dumps(m.blocks))
    before = len(relay.replies_to(relay.ada))
    await relay.slack.press(message, "retry", relay.ada)
    [reply] = await relay.until_replies(relay.ada, before)
    [new] = relay.created("broken/retry")
    assert (new.ref, new.sha, new.task) == (failed.sha, failed.sha, "deploy:fast")
    assert (new.payload, new.transient) == ({"size": 3}, True)
    assert re.fullmatch(
        rf"Retry of deployment {failed.id} by octocat \(relay action \d+-[0-9a-f]{{8}}\)",
        new.description or "",
    )
    assert f"Deployment {new.id} was requested" in reply.text
    assert f"/deployments/acme/site/{new.id}?key=" in reply.text
    row = relay.action(failed.id)
    assert (row["outcome"], row["login"], row["created_deployment_id"]) == (
        "done",
        "octocat",
        new.id,
    )
    await relay.world.phase(new.id, "failure")
    await relay.world.idle()
    assert relay.action(failed.id)["reply"] is None  # it lets anyone post as the relay
    thread = [m for m in relay.world.replies() if m.thread_ts == message.ts]
    text = "\n".join(render(reply) for reply in thread)
    assert "Retry, requested in Slack" in text
    assert "octocat" in text
    assert str(new.id) in json.dumps([reply.blocks for reply in thread])


async def test_pressed_by_two_at_once_it_is_done_once(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/twice")
    text = await asyncio.gather(
        relay.press("retry", failed, relay.ada, times=3),
        relay.press("retry", failed, relay.bob, times=3),
    )
    assert len(text) == 2
    [new] = relay.created("broken/twice")
    replies = [one.text for one in relay.slack.ephemeral_messages[-6:]]
    assert len([text for text in replies if "was requested" in text]) == 1
    others = [text for text in replies if "requested that already" in text]
    won = "select login from actions where deployment_id = %s and outcome = 'done'"
    [first] = relay.world.rows(won, failed)
    assert sorted(text.split()[0] for text in others) == ["You"] * 2 + [first["login"]] * 3
    late = await relay.press("rollback", failed, relay.bob)
    assert "requested a retry already" in late
    assert f"/{new.id}?" in late  # a link to the deployment that the other press created


@pytest.mark.slow
async def test_a_hundred_presses_at_once_are_acknowledged_in_time_and_done_once(
    relay: ActionWorld,
) -> None:
    failed = relay.past_deployment("broken/hundred")
    button = relay.button("retry", failed)
    # A worker has a process of its own elsewhere: here it would compete with the web server.
    await relay.world.stop_workers()
    response = await relay.slack.press(button, "retry", relay.ada, times=100)
    relay.world.start_worker()
    responses = (response, *response.duplicates)
    assert {one.status for one in responses} == {200}
    assert max(one.seconds for one in responses) < 3
    await relay.until_none_waits(failed)
    assert len(relay.created("broken/hundred")) == 1
    kept = relay.world.rows("select * from actions where deployment_id = %s", failed)
    others = [row["message"] for row in kept if row["outcome"] == "refused"]
    assert (len(kept), others) == (100, ["You have requested that already"] * 99)


async def test_a_redelivered_press_does_nothing_more(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/again")
    response = await relay.slack.press(relay.button("retry", failed), "retry", relay.ada)
    await relay.until_action(lambda row: row["reply"] is None, failed)
    before = len(relay.slack.ephemeral_messages)
    for _ in range(2):
        assert (await relay.slack.redeliver(response)).status == 200
    ids = "select id from actions where deployment_id = %s"
    assert len(relay.world.rows(ids, failed)) == 1
    assert len(relay.created("broken/again")) == 1
    assert len(relay.slack.ephemeral_messages) == before


async def test_a_rollback_brings_back_the_last_success_of_another_commit(
    relay: ActionWorld,
) -> None:
    second = relay.sha()
    fields = {"production_on_github": True}
    old = relay.past_deployment("stage/back", "success", payload='{"v": 1}', **fields)
    relay.past_deployment("stage/back", "success", sha=second, payload='{"v": 2}', **fields)
    again = relay.past_deployment("stage/back", "success", sha=second, payload='{"v": 3}', **fields)
    text = await relay.press("rollback", again, relay.bob)
    [new] = relay.created("stage/back")
    assert str(new.id) in text
    sha = relay.world.rows("select sha from deployments where id = %s", old)[0]["sha"]
    assert (new.sha, new.ref, new.task) == (sha, sha, "deploy:rollback")
    assert (new.payload, new.production) == ({"v": 1}, True)
    assert f"Roll back deployment {again} to main @ {sha[:7]} by hubot" in (new.description or "")


async def test_a_rollback_returns_to_what_was_confirmed(relay: ActionWorld) -> None:
    """Another deployment may succeed between the question and the press."""
    sha = relay.github.repository("acme/site").push("Confirmed")
    old = relay.past_deployment("broken/pinned", "success", sha=sha)
    late = relay.past_deployment("broken/pinned", "in_progress", watched=True)
    failed = await relay.world.deployed("broken/pinned", ref="v77")
    [message] = [m for m in relay.world.messages() if f"/{failed.id}?" in json.dumps(m.blocks)]
    button = relay.slack.button(message, "rollback")
    assert f"to main @ {sha[:7]}?" in button["confirm"]["text"]["text"]
    assert button["value"] == f"{failed.id}.{old}"
    relay.world.execute("update deployments set phase = 'success' where id = %s", late)
    before = len(relay.replies_to(relay.ada))
    await relay.slack.press(message, "rollback", relay.ada)
    await relay.until_replies(relay.ada, before)
    [new] = relay.created("broken/pinned")
    assert new.sha == sha
    # A target of another environment is none.
    elsewhere = relay.past_deployment("stage/pinned", "success")
    failed_too = relay.past_deployment("broken/pinned")
    text = await relay.press("rollback", f"{failed_too}.{elsewhere}", relay.ada)
    assert "nothing to roll back to" in text


async def test_a_retry_and_a_rollback_run_the_workflow_of_the_branch_that_was_deployed(
    relay: ActionWorld,
) -> None:
    """They deploy a commit, and GitHub dispatches workflows on branches and tags only."""
    actions = relay.github.actions
    inputs = {"deployment_id": True, "sha": True}
    actions.add_workflow("acme/site", on=["workflow_dispatch"], inputs=inputs)
    for number, (action, ref) in enumerate([("retry", "main"), ("rollback", "v1")]):
        environment = f"workflow/{number}"
        first = relay.past_deployment(environment, "success", ref="v1")
        ended = relay.past_deployment(environment, "failure")
        deployed = ended if action == "retry" else first
        await relay.press(action, ended, relay.bob)
        [new] = relay.created(environment)
        await relay.github.wait_for(new.id, "success", within=10)
        [run] = actions.runs_of(new)
        [row] = relay.world.rows("select sha from deployments where id = %s", deployed)
        assert (run.head_branch, run.inputs["sha"]) == (ref, row["sha"])


async def test_cancel_is_left_to_the_job_that_advances_the_deployment(
    relay: ActionWorld, tmp_path: Path
) -> None:
    deployment = await relay.world.begin_slow(tmp_path / "never")
    text = await relay.press("cancel", deployment.id, relay.ada)
    assert "It is being cancelled" in text
    row = relay.world.rows("select * from deployments where id = %s", deployment.id)[0]
    assert row["cancel_requested_by"] == "octocat"
    entries = (
        "select actor, state, description from timeline"
        " where deployment_id = %s and state = 'requested'"
    )
    requested = {
        "actor": "octocat",
        "state": "requested",
        "description": "Cancel, requested in Slack",
    }
    assert relay.world.rows(entries, deployment.id) == [requested]
    text = await relay.press("cancel", deployment.id, relay.bob)
    assert re.search("requested that already|has ended", text)
    ended = await relay.world.phase(deployment.id, "error")
    assert ended["status_description"] == "Cancelled by octocat"


async def test_an_unknown_requester_reads_how_to_be_known(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/unknown")
    text = await relay.press("retry", failed, relay.eve)
    assert f"slack_users: {{YOUR-GITHUB-LOGIN: {relay.eve.id}}}" in text
    assert "GitHub profile" in text
    row = relay.action(failed)
    assert (row["outcome"], row["login"], row["slack_name"]) == ("refused", "", "eve")
    assert not relay.created("broken/unknown")


async def test_a_press_needs_write_permission(relay: ActionWorld) -> None:
    relay.past_deployment("broken/reader", "success")
    for action, phase in (("retry", "failure"), ("rollback", "failure"), ("cancel", "in_progress")):
        deployment = relay.past_deployment("broken/reader", phase)
        text = await relay.press(action, deployment, relay.rob)
        assert "reader may only read acme/site" in text
        row = relay.action(deployment)
        assert (row["login"], row["outcome"]) == ("reader", "refused")
    requested = "select 1 from deployments where cancel_requested_by is not null and id = %s"
    assert not relay.world.rows(requested, deployment)
    assert not relay.created("broken/reader")


async def test_nobody_may_act_while_githubs_permissions_are_unavailable(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/unsure")
    mona = relay.slack.add_user("mona", "mona@acme.test")
    relay.github.add_user("mona-on-github", email="mona@acme.test")
    relay.github.add_collaborator("acme/site", "mona-on-github", "write")
    relay.slack.faults.add("GET /users.info", Fault.status(502))
    assert "Nothing was done" in await relay.press("retry", failed, mona)
    relay.github.faults.add("GET /repos/*/permission", Fault.status(502))
    text = await relay.press("retry", failed, mona)
    assert "GitHub does not say now whether mona-on-github may write" in text
    assert "try again" in text
    # By the same e-mail address on both sides, and as soon as GitHub responds:
    assert "was requested" in await relay.press("retry", failed, mona)


async def test_what_is_not_possible_any_more_is_declined(relay: ActionWorld) -> None:
    past, press, ada = relay.past_deployment, relay.press, relay.ada
    succeeded = past("stage/sense", "success")
    assert "has ended: it is 'success'" in await press("cancel", succeeded, ada)
    assert "nothing to retry" in await press("retry", succeeded, ada)
    assert "no earlier success" in await press("rollback", succeeded, ada)
    assert "does not know this deployment" in await press("retry", 999_999_999, ada)
    newer = past("stage/sense", "success")
    assert f"after {succeeded}" in await press("rollback", succeeded, ada)
    assert "was requested" in await press("rollback", newer, ada)
    watched = past("stage/watched", "in_progress", watched=True)
    assert "cancel its run on GitHub" in await press("cancel", watched, ada)
    watched = past("stage/watched", watched=True)
    assert "run the workflow again" in await press("retry", watched, ada)
    unrouted = past("nowhere", "error")
    assert "No route for environment 'nowhere'" in await press("retry", unrouted, ada)
    in_progress = past("stage/going", "in_progress", watched=False)
    assert "is still running" in await press("rollback", in_progress, ada)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.status(409, {"message": "Conflict merging main into v1."}), "Conflict merging"),
        (Fault.status(422, {"message": "No ref found for: v1"}), "No ref found for: v1"),
        (Fault.status(202, {"message": "Auto-merged main into v1"}), "GitHub merged a branch"),
    ],
    ids=["409", "422", "202"],
)
async def test_what_github_rejects_can_be_pressed_again(
    relay: ActionWorld, fault: Fault, expected: str
) -> None:
    environment = f"broken/{fault.status_code}"
    failed = relay.past_deployment(environment)
    relay.github.faults.add(CREATE, fault)
    text = await relay.press("retry", failed, relay.ada)
    assert "Nothing was deployed" in text
    assert expected in text
    assert relay.action(failed)["outcome"] == "failed"
    assert "was requested" in await relay.press("retry", failed, relay.ada)
    assert len(relay.created(environment)) == 1


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_what_github_rejects_once_is_deployed(relay: ActionWorld, status: int) -> None:
    environment = f"broken/once/{status}"
    failed = relay.past_deployment(environment)
    relay.github.faults.add(CREATE, Fault.status(status, {"message": "Odd"}))
    assert "was requested" in await relay.press("retry", failed, relay.ada)
    assert len(relay.created(environment)) == 1


async def test_a_retry_finds_the_installation_of_today(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/moved", installation_id=1)
    assert "was requested" in await relay.press("retry", failed, relay.ada)
    assert len(relay.created("broken/moved")) == 1


@pytest.mark.slow
async def test_a_call_without_a_clear_response_is_searched_for_and_not_repeated(
    relay: ActionWorld,
) -> None:
    """Created and dropped, like a killed worker; created and 502; not created; rate limited."""
    lookups = tuple(timedelta(seconds=seconds) for seconds in (0.2, 0.3, 0.5))
    async with relay.world.timed(deployment_lookups_after=lookups):
        killed, broken = Fault.drop_after(), Fault.status(502, acts=True)
        for fault in (killed, broken, Fault.drop_before(), Fault.rate_limited(1)):
            relay.github.faults.add(CREATE, fault)
        failed = [relay.past_deployment(f"broken/unclear/{number}") for number in range(4)]
        for one in failed:  # each gets one of the faults, all at the same time
            await relay.slack.press(relay.button("retry", one), "retry", relay.ada)
        for number, one in enumerate(failed):
            row = await relay.until_action(lambda row: row["reply"] is None, one)
            [new] = relay.created(f"broken/unclear/{number}")
            assert (row["outcome"], row["created_deployment_id"]) == ("done", new.id)
            assert row["message"] == "Retry, requested in Slack"


async def test_a_reply_goes_nowhere_but_to_slack(relay: ActionWorld) -> None:
    failed = relay.past_deployment("broken/elsewhere")
    button = relay.button("cancel", failed)
    response = await relay.slack.press(button, "cancel", relay.ada)
    await relay.until_action(lambda row: row["reply"] is None, failed)
    response.delivery.payload["response_url"] = f"{relay.github.url}/elsewhere"
    response.delivery.payload["trigger_id"] = "1.2.3"
    assert (await relay.slack.redeliver(response, retry=1)).status == 200
    await relay.until_action(lambda row: row["reply"] is None, failed)
    rows = relay.world.rows("select * from actions where deployment_id = %s", failed)
    assert [(row["outcome"], row["reply"]) for row in rows] == [("refused", None)] * 2
    assert not relay.github.called("POST", "/elsewhere")


@pytest.mark.slow
async def test_a_reply_that_slack_rejects_changes_nothing(relay: ActionWorld) -> None:
    retries = (timedelta(seconds=0.1), timedelta(seconds=0.2))
    async with relay.world.timed(reply_retries_after=retries):
        failed = relay.past_deployment("broken/deaf")
        relay.slack.faults.add("POST /response/*", Fault.status(500), times=2)
        relay.slack.faults.add("POST /response/*", Fault.drop_before())
        await relay.slack.press(relay.button("retry", failed), "retry", relay.ada)
        row = await relay.until_action(lambda row: row["reply"] is None, failed)
        assert row["outcome"] == "done"
        assert len(relay.created("broken/deaf")) == 1
        assert row["reply_attempts"] == 2
        for fault in (Fault.status(503), Fault.rate_limited(1)):
            relay.slack.faults.add("POST /response/*", fault)
        assert "You have requested that already" in await relay.press("retry", failed, relay.ada)


async def test_what_comes_too_late_is_not_done(relay: ActionWorld) -> None:
    """The relay was down meanwhile, and the person no longer expects a deployment."""
    failed = relay.past_deployment("broken/late")
    await relay.world.idle()
    await relay.world.stop_workers()
    before = len(relay.replies_to(relay.ada))
    await relay.slack.press(relay.button("retry", failed), "retry", relay.ada)
    late = "update actions set at = at - interval '11 minutes' where deployment_id = %s returning 1"
    assert await asyncio.to_thread(relay.world.rows, late, failed)
    relay.world.start_worker()
    [reply] = await relay.until_replies(relay.ada, before)
    assert "too late" in reply.text
    assert not relay.created("broken/late")


@pytest.mark.parametrize("died", ["before it knew of its own call", "before it replied"])
async def test_what_a_killed_worker_began_is_ended_by_the_next(
    relay: ActionWorld, died: str
) -> None:
    failed = relay.past_deployment(f"broken/{died}")
    button = relay.button("retry", failed)
    response = await relay.slack.press(button, "retry", relay.ada)
    row = await relay.until_action(lambda row: row["reply"] is None, failed)
    before = len(relay.replies_to(relay.ada))
    address = json.dumps({"url": response.delivery.payload["response_url"]})
    as_it_was = "reply = %s" + (
        ", outcome = 'waiting', created_deployment_id = null" if "knew" in died else ""
    )
    query = f"update actions set {as_it_was} where id = %s returning 1"
    assert await asyncio.to_thread(relay.world.rows, query, address, row["id"])
    if "knew" in died:
        claimed = "update outbox set state = 'claimed', claimed_until = now(), ref = null"
        query = f"{claimed} where action_id = %s returning 1"
        assert await asyncio.to_thread(relay.world.rows, query, row["id"])
    with connect(relay.world.store_url) as connection:
        schedule.request_sync(connection, [schedule.Key("run_action", row["id"])])
    [reply] = await relay.until_replies(relay.ada, before)
    [new] = relay.created(f"broken/{died}")
    assert f"Deployment {new.id} was requested" in reply.text
    assert (await relay.until_action(lambda row: row["reply"] is None))[
        "created_deployment_id"
    ] == new.id
