"""What gates promise, while everything is killed."""

from tests.chaos.gates_storm import run_gates_storm


async def test_nothing_starts_past_a_lock_or_beside_another_while_everything_is_killed() -> None:
    """The short form of script/storm --gates."""
    faults, killed, locks = await run_gates_storm(
        deployments=9, kills=3, seed=17, pause=0.15, hurried=True
    )
    assert faults == []
    assert killed.total() >= 3
    assert locks >= 1
