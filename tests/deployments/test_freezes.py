"""When a frozen window holds, and until when; changes of the clock included."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from webhook.deployments.freezes import Dated, Recurring, begin_of, end_of, frozen_until

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NIGHTLY = Recurring("50 23 * * *", timedelta(minutes=20), "America/New_York")
WEEKEND = Recurring("0 18 * * FRI", 62 * HOUR, "Europe/Berlin")
BACKUP = Recurring("30 2 * * *", HOUR, "Europe/Berlin")
YEAR_END = Recurring("0 0 24 12 *", 216 * HOUR)
HOURLY = Recurring("0 * * * SAT,SUN", HOUR, "Asia/Seoul")
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("window", "now", "until"),
    [
        (NIGHTLY, "2026-11-02T04:50:00Z", "2026-11-02T05:10Z"),  # its first instant
        (NIGHTLY, "2026-11-02T04:49:59Z", ""),
        (NIGHTLY, "2026-11-02T05:09:59Z", "2026-11-02T05:10Z"),
        (NIGHTLY, "2026-11-02T05:10:00Z", ""),
        (WEEKEND, "2026-03-30T06:30Z", "2026-03-30T07:00Z"),  # 09:00 there, an hour was skipped
        (WEEKEND, "2026-10-26T06:30Z", ""),  # open since 07:00 there, an hour came twice
        (WEEKEND, "2026-10-26T05:59Z", "2026-10-26T06:00Z"),
        (BACKUP, "2026-03-29T01:30Z", "2026-03-29T02:00Z"),  # 02:30 was skipped
        (BACKUP, "2026-03-29T00:59Z", ""),
        (BACKUP, "2026-10-25T00:30Z", "2026-10-25T01:30Z"),  # the first 02:30
        (BACKUP, "2026-10-25T01:15Z", "2026-10-25T01:30Z"),  # the second 02:15
        (BACKUP, "2026-10-25T01:45Z", ""),  # the second 02:45
        (YEAR_END, "2027-01-01T12:00Z", "2027-01-02T00:00Z"),
        (HOURLY, "2026-11-27T15:00Z", "2026-11-29T15:00Z"),  # one begins where another ends
    ],
)
def test_a_window_holds_from_its_start_until_before_its_end(
    window: Recurring, now: str, until: str
) -> None:
    held = window.end_at(at(now)) is not None
    assert (frozen_until([window], at(now)) if held else None) == (at(until) if until else None)


# Minutes from an hour before to an hour after each change of the clock, and others.
MOMENTS = st.builds(
    lambda base, minutes, seconds: base + timedelta(minutes=minutes, seconds=seconds),
    st.sampled_from([at("2026-03-29T00:00Z"), at("2026-10-25T00:00Z"), at("2026-07-01T00:00Z")]),
    st.integers(-180, 300),
    st.sampled_from([0, 0.5, 59.999999]),
)
STARTS = st.builds(
    lambda minute, hour, weekday: f"{minute} {hour} * * {weekday}",
    st.sampled_from(["0", "30", "*/20", "15,45"]),
    st.sampled_from(["2", "1-3", "*", "0"]),
    st.sampled_from(["*", "SUN", "0-3"]),
)


@given(
    now=MOMENTS,
    start=STARTS,
    minutes=st.sampled_from([1, 30, 90, 1500]),
    zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "UTC", ""]),
)
def test_it_is_frozen_where_some_start_is_not_longer_ago_than_its_duration(
    now: datetime, start: str, minutes: int, zone: str
) -> None:
    duration = timedelta(minutes=minutes)
    # Forwards from long before, while the relay looks back from now.
    past = (now - duration - 2 * DAY).astimezone(ZoneInfo(zone or "UTC"))
    last = None
    for one in CronSim(start, past):
        if one.astimezone(UTC) > now:
            break
        last = one.astimezone(UTC)
    expected = last + duration if last and last + duration > now else None
    window = Recurring(start, duration, zone)
    assert window.end_at(now) == expected
    following = list(window.starts_between(now, now + DAY))
    assert all(now < one <= now + DAY for one in following)
    assert sorted(following) == following


def test_a_window_is_not_left_where_another_goes_on() -> None:
    evening = Recurring("0 18 * * FRI", 6 * HOUR)
    saturday = Dated(at("2026-11-28T00:00Z"), at("2026-11-28T12:00Z"), "")
    friday = at("2026-11-27T20:00Z")
    assert frozen_until([evening, saturday], friday) == saturday.ends
    assert frozen_until([evening], friday) == saturday.begins
    assert frozen_until([], friday) == friday


def test_what_never_ends_has_no_known_end() -> None:
    now = at("2026-11-27T20:00Z")
    assert frozen_until([Recurring("0 0 * * *", DAY)], now) is None
    assert frozen_until([Recurring("* * * * *", timedelta(minutes=2))], now) is None
    assert frozen_until([Recurring("* * * * *", timedelta(days=100_000))], now) is None, (
        "until 9999"
    )


def test_days_and_local_times_are_those_of_the_zone() -> None:
    assert begin_of(date(2026, 12, 23), BERLIN) == at("2026-12-22T23:00Z")
    assert end_of(date(2027, 1, 2), BERLIN) == at("2027-01-02T23:00Z")
    assert begin_of(at("2026-12-23T18:00"), BERLIN) == at("2026-12-23T17:00Z")
    # Shown twice by the clock: the longer window.
    twice = at("2026-10-25T02:30")
    assert begin_of(twice, BERLIN) == at("2026-10-25T00:30Z")
    assert end_of(twice, BERLIN) == at("2026-10-25T01:30Z")
    # There was no midnight.
    saopaulo = ZoneInfo("America/Sao_Paulo")
    assert begin_of(date(2018, 11, 4), saopaulo) == at("2018-11-04T03:00Z")
    assert end_of(date(2018, 11, 3), saopaulo) == at("2018-11-04T03:00Z")


def test_gitploys_day_of_the_month_and_weekday_have_to_match_both() -> None:
    day = timedelta(hours=24)
    friday, friday_13 = datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2026, 11, 13, tzinfo=UTC)
    gitploys = Recurring("0 0 13 * FRI", day, both_days=True)
    assert Recurring("0 0 13 * FRI", day).end_at(friday) == datetime(2026, 11, 21, tzinfo=UTC)
    assert gitploys.end_at(friday) is None
    assert gitploys.end_at(friday_13) == friday_13 + day
    assert list(gitploys.starts_between(friday, friday + 300 * day)) == [
        datetime(2027, 8, 13, tzinfo=UTC)
    ]
