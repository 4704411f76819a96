"""The 140 characters that a deployment which waits has on GitHub."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from webhook.deployments.blockers import Blocker, describe

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
LOCK = Blocker(
    gate="lock",
    reason="Locked by ada: the database is being moved",
    until=NOW + timedelta(hours=2),
    way_out="Whoever may write unlocks it: /deploy unlock acme/site production",
)
TURN = Blocker(gate="serialization", reason="Waits for deployment 7 (main) to end")
LONG = Blocker(gate="lock", reason="Locked by ada: " + "very " * 1000, way_out="ask " * 100)

texts = st.text(max_size=20) | st.sampled_from(
    ["", "x" * 140, "é" * 5000, "\x00\n\u202e", "🚀" * 90]
)
blockers = st.builds(
    Blocker,
    gate=st.just("x"),
    reason=texts,
    until=st.none() | st.datetimes(timezones=st.just(UTC)),
    way_out=texts,
    denies=st.booleans(),
)


@settings(max_examples=30)
@example([LONG] * 6, "Gave up after waiting 24h: ")
@example([LONG] * 100, "")
@example([], "")
@given(st.lists(blockers, max_size=8), st.sampled_from(["", "Gave up after waiting 24h: "]))
def test_a_description_is_one_line_of_140_characters(given: list[Blocker], before: str) -> None:
    text = describe(given, NOW, before)
    assert len(text) <= 140
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", text)
    assert text.startswith(before.rstrip())


def test_why_until_when_and_who_can_end_it_where_there_is_room() -> None:
    assert describe([LOCK], NOW) == (
        "Locked by ada: the database is being moved (until 05:00 UTC)."
        " Whoever may write unlocks it: /deploy unlock acme/site production"
    )
    assert describe([TURN], NOW) == "Waits for deployment 7 (main) to end (no known end)"
    tomorrow = Blocker(gate="freeze", reason="Frozen", until=NOW + timedelta(days=1))
    assert describe([tomorrow], NOW) == "Frozen (until Sat 28 Nov 03:00 UTC)"
    refused = Blocker(gate="x", reason="Not on Fridays", denies=True)
    assert describe([refused], NOW, "No: ") == "No: Not on Fridays"


def test_the_way_out_of_the_first_stays_longer_than_that_of_the_last() -> None:
    text = describe([TURN, LOCK], NOW)
    assert text == (
        "Waits for deployment 7 (main) to end (no known end); Locked by ada: the database is being…"
        " (until 05:00 UTC). Whoever may write unlocks it:…"
    )
    assert len(text) == 140
    text = describe([LOCK, LOCK], NOW)
    assert text.count("Locked by ada: the database") == text.count("(until 05:00 UTC)") == 2
    assert text.count("Whoever may write") == 1


def test_a_long_reason_hides_neither_its_end_nor_another_reason() -> None:
    text = describe([LONG], NOW)
    assert re.fullmatch(r"Locked by ada: very .*… \(no known end\)\. ask ask .*…", text)
    text = describe([LONG, TURN, LOCK], NOW)
    assert "Waits for deploy" in text
    assert text.count("Locked by ada") == 2
    assert text.count("(no known end)") == 2
    assert "(until 05:00 UTC)" in text
    assert describe([LONG] * 6, NOW).count("Locked by ada") == 6


def test_as_many_characters_as_there_is_room_for() -> None:
    for length in range(80, 160):
        text = describe([Blocker(gate="x", reason="r" * length, until=NOW)], NOW)
        assert text.startswith("rrr")
        assert text.endswith("r (until 03:00 UTC)" if length <= 122 else "r… (until 03:00 UTC)")
        assert len(text) == min(140, length + 18)
