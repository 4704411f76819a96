"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.durations import parse, write


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h0m5s", 3605), ("90m", 5400)],
)
def test_a_duration_is_understood(text: str, seconds: int) -> None:
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "30", "30 m", "30m ", "-30m", "m30", "30m1h", "1.5h", "٣h"]
)
def test_anything_else_is_rejected_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 30s, 30m, 2h or 1h30m"):
        parse(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    assert parse(f"{hours}h{minutes}m{seconds}s") == expected


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(0.2, "0s"), (45, "45s"), (90, "1m30s"), (1800, "30m"), (5400, "1h30m"), (86400, "24h")],
)
def test_durations_are_written_as_people_do(seconds: float, message: str) -> None:
    assert write(seconds) == message
