"""What waited for GitHub or Slack follows the first write that gets through, the newest first."""

from datetime import timedelta
from pathlib import Path

from sandbox.faults import Fault
from tests.chaos.recorded import key_of
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs: [{name: "env-*", handler: command, serialization: false, with: {run: ["true"]}}]
"""
WAITING = 8
REJECTED = "select deployment_id from outbox where rejected_since is not null and kind = %s"
LATER = "update schedule set due_at = now() + interval '1 hour' where claimed_by is null"
OF = "task = %s and subject = %s"


def rejected(world: World, kind: str) -> bool | None:
    found = {row["deployment_id"] for row in world.rows(REJECTED, kind)}
    return len(found) == WAITING or None


def pause_of(world: World, deployment_id: int) -> float:
    [row] = world.rows(
        "select extract(epoch from due_at - now())::float8 as pause from schedule where " + OF,
        "send_statuses",
        deployment_id,
    )
    return float(row["pause"])


async def test_the_statuses_of_an_installation_that_is_back_follow_the_newest_one(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0) as world:
        ids = [(await world.deploy("nowhere")).id for _ in range(WAITING)]
        await world.github.settled()
        world.sandbox.installation.suspended = True
        world.start_worker()
        await until(lambda: rejected(world, "status"))
        await world.idle()
        # The newest is tried every two minutes, whatever the pauses of the others are.
        assert 60 < pause_of(world, ids[-1]) <= 120
        world.execute(LATER)
        world.sandbox.installation.suspended = False
        world.clock.ahead = timedelta(minutes=3)
        world.bring_forward(OF, "send_statuses", ids[-1])
        for id_ in ids:
            await world.github.wait_for(id_, "error", within=5)
        order = sorted(ids, key=lambda id_: world.github.statuses(id_)[0].id)
        assert order[0] == ids[-1]
        assert order.index(ids[0]) > order.index(ids[-2])


async def test_the_messages_of_a_channel_that_is_back_follow_the_newest_one(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        world.slack.faults.add("POST /chat.postMessage", Fault.slack("not_in_channel"), 1000)
        ids = [(await world.deploy(f"env-{number}")).id for number in range(WAITING)]
        await until(lambda: rejected(world, "message"))
        await world.idle()
        world.execute(LATER)
        world.slack.faults.clear()
        world.clock.ahead = timedelta(minutes=3)
        world.bring_forward(OF, "notify", ids[-1])
        await until(lambda: len(world.messages()) == WAITING or None, within=5)
        keys = [key_of(message) for message in world.messages()]
        assert keys[0] == f"{ids[-1]}:main"
        assert keys.index(f"{ids[0]}:main") > keys.index(f"{ids[-2]}:main")
        assert len(set(keys)) == WAITING
