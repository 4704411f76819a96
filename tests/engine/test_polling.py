"""When a tool that sends events is polled all the same."""

from datetime import UTC, datetime, timedelta

from webhook.engine.polling import Polling
from webhook.timing import DEFAULT_TIMING

BEGUN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGUN + timedelta(seconds=seconds)


def polling(event: float | None, polled: float | None = None, worker: float = -60) -> Polling:
    return Polling(
        started_at=BEGUN,
        worker_since=at(worker),
        last_event=None if event is None else at(event),
        polled_at=None if polled is None else at(polled),
        timing=DEFAULT_TIMING,
    )


def test_without_any_event_it_is_polled_soon_and_then_at_its_own_pace() -> None:
    assert polling(None).due == at(10)
    assert polling(None, polled=30).due == at(10)


def test_after_an_event_it_is_left_alone_and_then_polled_less_and_less_often() -> None:
    assert polling(5).due == at(125)
    assert polling(5, polled=125).due == at(125 + 240)
    assert polling(5, polled=365).due == at(365 + 300)
    assert polling(400, polled=365).due == at(520)


def test_a_new_worker_polls_once_what_may_have_been_missed() -> None:
    assert polling(5, worker=60).due <= at(60)
    assert polling(5, polled=61, worker=60).due > at(120)
