"""Durations that depend on each other."""

import pytest

from handlers import HANDLERS, http
from webhook import sessions
from webhook.slack import client as slack
from webhook.timing import DEFAULT_TIMING


def test_a_claim_outlasts_the_call_that_it_is_for() -> None:
    lasts = DEFAULT_TIMING.claim_lasts.total_seconds()
    assert lasts > http.TIMEOUT
    assert lasts > (sessions.TIMEOUT.total or 0)
    assert lasts > slack.TIMEOUT


def test_a_live_worker_does_not_count_as_dead() -> None:
    assert DEFAULT_TIMING.worker_stalled_after > 3 * DEFAULT_TIMING.worker_heartbeat


@pytest.mark.parametrize("name", HANDLERS)
def test_each_tool_is_polled_at_its_own_intervals(name: str) -> None:
    """The bound is for tests, which are quicker."""
    assert HANDLERS[name].pace.least <= DEFAULT_TIMING.first_poll_at_most.total_seconds()
