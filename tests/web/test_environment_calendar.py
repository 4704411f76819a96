"""The freeze calendar: days of one zone, what is frozen on each, and the same as a list."""

from datetime import UTC, datetime, timedelta

from webhook.deployments.locks import Lock
from webhook.gates.freeze import FrozenWindow
from webhook.web.pages.environment.calendar import Calendar, Day, build_calendar

# A Wednesday.
NOW = datetime(2026, 3, 18, 10, 0, tzinfo=UTC)


def window(**keys: object) -> FrozenWindow:
    return FrozenWindow.model_validate(keys)


def day(calendar: Calendar, iso: str) -> Day:
    return next(one for week in calendar.weeks for one in week if one and one.iso == iso)


def spans(calendar: Calendar, iso: str) -> list[str]:
    return [f"{one.text} {one.label}" for one in day(calendar, iso).spans]


def test_weeks_begin_on_monday_and_four_of_them_begin_today() -> None:
    calendar = build_calendar([], [], NOW)
    assert [len(week) for week in calendar.weeks] == [7] * 5
    assert [one.iso if one else None for one in calendar.weeks[0]][:3] == [None, None, "2026-03-18"]
    assert sum(one is not None for week in calendar.weeks for one in week) == 28
    assert day(calendar, "2026-03-18").today
    assert (calendar.zone, calendar.closed, calendar.windows) == ("UTC", (), 0)


def test_a_recurring_window_is_on_each_of_its_days_by_the_hour_of_its_zone() -> None:
    weekend = window(start="0 18 * * FRI", duration="62h", location="Europe/Berlin")
    calendar = build_calendar([weekend], [], NOW)
    assert calendar.zone == "Europe/Berlin"
    label = f"Frozen: {weekend.label}"
    assert spans(calendar, "2026-03-19") == []
    assert spans(calendar, "2026-03-20") == [f"18:00\N{EN DASH}24:00 {label}"]
    assert spans(calendar, "2026-03-21") == [f"all day {label}"]
    assert spans(calendar, "2026-03-23") == [f"00:00\N{EN DASH}08:00 {label}"]
    # Daylight saving begins on the 29th: 62 hours last one hour longer by the clock on the wall.
    assert spans(calendar, "2026-03-30") == [f"00:00\N{EN DASH}09:00 {label}"]
    assert [one.begins.text for one in calendar.closed][:2] == [
        "Fri 20 Mar, 18:00",
        "Fri 27 Mar, 18:00",
    ]
    assert calendar.closed[0].begins.iso == "2026-03-20T17:00:00+00:00"


def test_windows_of_several_zones_are_shown_in_utc() -> None:
    zones = ("Europe/Berlin", "Asia/Tokyo")
    every = [window(start="0 9 * * *", duration="1h", location=zone) for zone in zones]
    calendar = build_calendar(every, [], NOW)
    assert calendar.zone == "UTC"
    hours = [one.text for one in day(calendar, "2026-03-19").spans]
    assert hours == ["00:00\N{EN DASH}01:00", "08:00\N{EN DASH}09:00"]


def test_a_dated_window_a_lock_and_what_lasts_longer_than_the_calendar() -> None:
    dated = window(**{"from": "2026-03-17", "to": "2026-03-18T12:00", "lets": "rollbacks"})
    forever = window(**{"from": "2026-04-01", "to": "2026-12-24", "reason": "year's end"})
    lock = Lock(
        id=1,
        repo_id=1,
        repo="acme/web",
        environment="production",
        owner="octocat",
        reason="disk is full",
        lets=("owner",),
        created_at=NOW - timedelta(hours=1),
        expires_at=NOW + timedelta(hours=3),
    )
    calendar = build_calendar([dated, forever], [lock], NOW)
    today = [one.text for one in day(calendar, "2026-03-18").spans]
    assert today == ["00:00\N{EN DASH}12:00", "10:00\N{EN DASH}13:00"]
    frozen, locked, last = calendar.closed
    assert (frozen.now, frozen.note) == (True, "rollbacks pass")
    assert locked.label == "Locked by octocat: disk is full"
    assert (locked.note, locked.now) == ("octocat may pass", True)
    assert "year's end" in last.label
    assert (last.ends, last.now) == (None, False)


def test_a_window_of_every_minute_closes_the_days_instead_of_filling_the_page() -> None:
    calendar = build_calendar([window(start="* * * * *", duration="30s")], [], NOW)
    [line] = calendar.closed
    assert line.label.startswith("Frozen again and again")
    assert line.now
    assert [one.text for one in day(calendar, "2026-03-30").spans] == ["all day"]
    assert day(calendar, "2026-03-18").more
