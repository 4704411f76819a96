"""What is promised holds while everything is killed: the short forms of script/storm."""

import asyncio

from tests.chaos.gates_storm import run_gates_storm
from tests.chaos.intake_storm import run_intake_storm
from tests.chaos.storm import run_storm


async def nothing_is_lost_or_done_twice() -> None:
    faults, killed = await run_storm(deployments=20, kills=8, seed=83, pause=0.2, hurried=True)
    assert faults == []
    assert killed.total() >= 8


async def nothing_starts_past_a_lock_or_beside_another() -> None:
    """script/storm --gates"""
    faults, killed, locks = await run_gates_storm(
        deployments=9, kills=3, seed=17, pause=0.15, hurried=True
    )
    assert faults == []
    assert killed.total() >= 3
    assert locks >= 1


async def each_acknowledged_delivery_is_stored() -> None:
    """script/storm --load"""
    outcome = await asyncio.to_thread(
        run_intake_storm, deliveries=400, kills=2, seed=83, connections=8
    )
    assert outcome.lost == []
    assert outcome.acknowledged == 400
    assert outcome.killed == {"web": 2, "postgres": 2}


async def test_what_is_promised_holds_while_everything_is_killed() -> None:
    """Each waits most of its time, so they are relays beside each other."""
    await asyncio.gather(
        nothing_is_lost_or_done_twice(),
        nothing_starts_past_a_lock_or_beside_another(),
        each_acknowledged_delivery_is_stored(),
    )
