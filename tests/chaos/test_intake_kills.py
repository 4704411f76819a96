"""What was acknowledged is in the store, whoever was killed meanwhile."""

from tests.chaos.intake_storm import run_intake_storm


def test_each_acknowledged_delivery_is_stored_while_web_and_postgresql_are_killed() -> None:
    """The short form of script/storm --load."""
    outcome = run_intake_storm(deliveries=400, kills=2, seed=83, connections=8)
    assert outcome.lost == []
    assert outcome.acknowledged == 400
    assert outcome.killed == {"web": 2, "postgres": 2}
