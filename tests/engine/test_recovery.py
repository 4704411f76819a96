"""When GitHub's list of deliveries is compared again."""

from datetime import timedelta

from webhook.engine.recovery import next_after
from webhook.store.recovery import Doubts
from webhook.timing import DEFAULT_TIMING

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def after(*, silent: timedelta | None = SECOND, pulls: bool = False, **others: timedelta) -> float:
    """Seconds."""
    doubts = {"doubted_for": None, "next_try_in": None, **others}
    found = next_after(DEFAULT_TIMING, Doubts(silent_for=silent, **doubts), pulls=pulls)
    return found.total_seconds()


def test_it_is_soon_after_a_doubt_and_after_a_silence_and_else_every_ten_minutes() -> None:
    assert after(silent=timedelta(0)) == 6 * 60  # if nothing comes until then
    assert after(silent=4 * MINUTE) == 2 * 60
    assert after(silent=5 * MINUTE) == after(silent=timedelta(days=1)) == after(silent=None) == 60
    assert after(doubted_for=10 * SECOND) == 50
    assert after(doubted_for=MINUTE) == after(doubted_for=timedelta(days=1)) == 359
    assert after(next_try_in=7 * SECOND) == 7
    assert after(pulls=True, silent=None) == 4
    assert after(pulls=True, next_try_in=SECOND) == 1
