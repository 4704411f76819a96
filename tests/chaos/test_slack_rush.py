"""A hundred deployments at once in one channel of a Slack that limits and sometimes fails."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.slack.screen import render
from tests.world import live

DEPLOY_YML = """
envs:
  - name: "*"
    handler: command
    serialization: false
    with: {run: ["true"]}
    slack: {channel: CHANNEL}
"""
DEPLOYMENTS = 100
# Seconds between two calls of a kind in a channel: Slack's second, shortened.
PACE = 0.02


async def test_no_end_is_lost_and_nothing_is_posted_twice(store_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    deploy_yml = DEPLOY_YML.replace("CHANNEL", sandbox.deploys.id)
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox) as world:
        await world.stop_workers()
        pace = timedelta(seconds=PACE)
        world.timing = replace(world.timing, channel_interval=pace, replies_gathered_for=5 * pace)
        world.start_worker()
        world.start_worker()
        failures = [
            Fault.rate_limited(1),
            Fault.status(503),
            Fault.drop_after(),
            Fault.slack("internal_error"),
        ]
        world.slack.faults.add_random("POST /chat.*", failures, 0.06, seed=4)
        ends = {}
        for number in range(DEPLOYMENTS):
            # GitHub Actions deploys them, and reports the result: nothing is run here.
            deployment = await world.deploy(f"env-{number}", workflow_run={})
            ends[deployment.id] = "failure" if number % 10 == 0 else "success"
            await world.github.create_status(deployment.id, "in_progress")
            await world.github.create_status(deployment.id, ends[deployment.id])
        await world.idle(within=120)

        posted = Counter(
            message.metadata["event_payload"]["key"]
            for message in world.slack.messages("#deploys")
            if message.metadata
        )
        assert [key for key, times in posted.items() if times > 1] == []
        expected = {f"{id_}:main": end for id_, end in ends.items()}
        for message in world.messages():
            assert message.metadata
            end = expected.pop(message.metadata["event_payload"]["key"])
            result = "failed" if end == "failure" else "succeeded"
            assert result in render(message)
        assert expected == {}
        assert len([reply for reply in world.replies() if reply.broadcast]) == DEPLOYMENTS // 10
        assert len(world.slack.faults.fired) > 10
        posts = sorted(call.time for call in world.slack.called("POST", "/chat.postMessage"))
        # A short burst is allowed, and clocks are read at different moments.
        least = (len(posts) - 10) * PACE * 0.9
        assert posts[-1] - posts[0] >= least
