"""What people see in Slack: one message, its thread, and the alerts in the channel."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.screen import render
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
slack_users: {octocat: U0OCTO}
envs:
  - name: production
    handler: command
    with: {run: ["sh", "-c", 'test "$DEPLOYMENT_REF" != broken']}
  - name: quiet
    handler: command
    with: {run: ["sh", "-c", 'test "$DEPLOYMENT_REF" != broken']}
    slack: {channel: "#quiet", only: failures, mentions: "@here"}
  - name: several
    handler: command
    with: {run: ["sh", "-c", 'test "$DEPLOYMENT_REF" != broken']}
    slack:
      - {channel: "#deploys", states: [success, failure], mentions: none}
      - {channel: "#quiet", repos: ["acme/other"]}
      - {channel: "#oncall", repos: ["acme/*"], mentions: "@S0123ABCD"}
  - name: nobody
    handler: command
    with: {run: ["true"]}
    slack: []
"""


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    sandbox = Sandbox()
    sandbox.slack.add_channel("quiet")
    async with live(store_url, tmp_path, DEPLOY_YML, sandbox=sandbox) as world:
        yield world


@pytest.mark.slow
async def test_a_thread_holds_each_entry_and_the_channel_sees_what_matters(world: World) -> None:
    repository = world.github.repository(REPOSITORY)
    shas = [repository.push(f"Change {number}") for number in range(9)]
    await world.deployed(ref=shas[0])
    [message] = world.messages()
    [*_, reply] = world.replies()
    assert not any(reply.broadcast for reply in world.replies())
    thread = "\n".join(render(reply) for reply in world.replies())
    assert [state for state in ("queued", "in progress", "succeeded") if state in thread]
    assert reply.thread_ts == message.ts

    repository.refs["broken"] = shas[8]
    await world.deployed(ref="broken")
    message = world.messages()[-1]
    shown = render(message)
    assert "Deploys 8 commits" in shown
    assert "Change 8" in shown
    assert "Change 4" in shown
    assert "Change 3" not in shown
    assert "and 3 more" in shown
    [alert] = [reply for reply in world.replies() if reply.broadcast]
    assert "failed" in render(alert)
    assert "<@U0OCTO>" in alert.text
    assert "<@U0OCTO>" not in str(message.blocks)

    await world.deployed(ref=shas[7])
    green = [reply for reply in world.replies() if reply.broadcast][-1]
    assert "back to green" in render(green)
    assert green.thread_ts == world.messages()[-1].ts


@pytest.mark.slow
async def test_deploy_yml_decides_which_channel_gets_what(world: World) -> None:
    await world.deployed("quiet", ref="main")
    await world.deployed("nobody", ref="main")
    assert not any(channel.messages for channel in world.slack.channels.values())

    await world.deployed("quiet", ref="broken")
    [failed] = world.messages("#quiet")
    [reply] = world.replies("#quiet")
    assert "failed" in render(failed)
    assert reply.broadcast
    assert "<!here>" in reply.text
    assert "queued" not in render(reply)

    deployment = await world.deployed("several", ref="broken")
    [posted] = world.messages("#deploys")
    assert posted.edits == 0  # posted when it had failed: that channel gets failures only
    [alert] = world.replies("#deploys")
    assert "octocat" not in alert.text
    assert len(world.messages("#quiet")) == 1
    [other] = world.messages("#oncall")
    assert "failed" in render(other)
    [*_, called] = world.replies("#oncall")
    assert "<!subteam^S0123ABCD>" in called.text
    kept = world.rows(
        "select destination, count(*) as rows from outbox where deployment_id = %s"
        " and purpose = 'main' group by destination order by destination",
        deployment.id,
    )
    assert [(row["destination"], row["rows"]) for row in kept] == [
        ("slack:#deploys", 1),
        ("slack:#oncall", 1),
    ]


@pytest.mark.slow
async def test_an_unavailable_channel_does_not_delay_another(world: World) -> None:
    world.slack.faults.add("POST /chat.postMessage", Fault.rate_limited(3))
    deployment = await world.deploy("several", ref="broken")
    # One of the two channels was limited; the other one knows at once.
    posted = await until(
        lambda: world.messages("#deploys") or world.messages("#oncall") or None, within=2.5
    )
    assert len(posted) == 1
    await world.github.wait_for(deployment.id, "failure")
    await world.idle()
    assert len(world.messages("#deploys")) == len(world.messages("#oncall")) == 1

    world.slack.channel("#oncall").archived = True
    await world.deployed("several", ref="broken")
    assert [len(world.messages("#deploys")), len(world.messages("#oncall"))] == [2, 1]


async def test_the_creator_is_found_by_the_e_mail_that_both_know(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox()
    users = sandbox.github.world.users
    users[sandbox.user.token] = replace(sandbox.user, email="octocat@acme.example")
    octocat = sandbox.slack.add_user("cat", email="octocat@acme.example")
    sandbox.slack.scopes |= {"users:read", "users:read.email"}
    deploy_yml = DEPLOY_YML.replace("slack_users: {octocat: U0OCTO}", "")
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox) as world:
        await world.deployed(ref="broken")
        [alert] = [reply for reply in world.replies() if reply.broadcast]
        assert f"<@{octocat.id}>" in alert.text
