"""The page kept up to date: what a stream sends, when it ends, and how many are held."""

from collections.abc import Iterator

import pytest

from handlers.contract import Run, State
from tests.web.viewing import QUICK, Event, Rows, Stream, events_url, page_url, served
from webhook.timing import DEFAULT_TIMING
from webhook.web.live import StreamTiming


@pytest.fixture
def rows(store_url: str) -> Rows:
    rows = Rows(store_url)
    rows.deployment()
    rows.change(phase="in_progress", status_description="at it")
    return rows


@pytest.fixture
def base(store_url: str) -> Iterator[str]:
    with served(store_url) as url:
        yield url


def is_state(event: Event) -> bool:
    return event.name == "state"


def is_output(event: Event) -> bool:
    return event.name == "output"


def output_of(events: list[Event]) -> str:
    return "".join(event.data for event in events if event.name == "output")


def parts_of(events: list[Event]) -> dict[str, str]:
    """As they are in the end: an event has those that have changed."""
    states = (event.data["parts"] for event in events if is_state(event))
    return {name: html for parts in states for name, html in parts.items()}


def test_output_appears_while_it_is_printed(rows: Rows, base: str) -> None:
    stream = Stream(base)
    stream.until(is_state)
    at_byte = rows.printed(b"one\n")
    assert stream.until(is_output)[-1] == Event("output", "4", "one\n")
    rows.printed(b"two\n", at_byte)
    assert stream.until(is_output)[-1] == Event("output", "8", "two\n")


def test_characters_and_sequences_that_are_split_stay_whole(rows: Rows, base: str) -> None:
    raw = "é\x1b[31m🚀\x1b[0m\r\nend".encode()
    stream = Stream(base)
    seen = stream.until(is_state)
    for at_byte in range(len(raw)):
        rows.printed(raw[at_byte : at_byte + 1], at_byte)
    seen += stream.until(lambda event: event.id == str(len(raw)))
    assert output_of(seen) == "é🚀\nend"


def test_a_browser_that_reconnects_continues_exactly_where_it_was(rows: Rows, base: str) -> None:
    raw = "é\x1b[31m🚀\x1b[0m\n".encode()
    rows.printed(raw[:5])  # ends within the sequence
    first = Stream(base)
    seen = first.until(is_output)
    first.close()
    rows.printed(raw[5:], 5)
    rows.end()
    rest = list(Stream(base, last_event_id=seen[-1].id))
    assert output_of(seen) + output_of(rest) == "é🚀\n"
    assert output_of(rest) == "🚀\n"


def test_a_page_continues_from_its_initial_output(rows: Rows, base: str) -> None:
    rows.printed(b"shown already, new")
    rows.end()
    assert output_of(list(Stream(base, url=events_url() + "&from=14"))) == " new"


@pytest.mark.parametrize("invalid", ["-5", "1e3", "x", "9" * 40])
def test_an_invalid_event_id_starts_from_the_beginning(rows: Rows, base: str, invalid: str) -> None:
    rows.printed(b"all")
    rows.end()
    assert output_of(list(Stream(base, last_event_id=invalid))) == "all"


def test_a_change_of_the_deployment_changes_the_page(rows: Rows, base: str) -> None:
    stream = Stream(base)
    stream.until(is_state)
    entry_id = rows.new_entry(state="success", description="<b>done</b>", outbox="sent")
    rows.change(phase="success", status_description="done")
    seen = stream.until(lambda event: is_state(event) and event.data["tone"] == "good")
    news = parts_of(seen)
    assert seen[-1].data["title"] == "Succeeded: acme/web to staging"
    assert "Succeeded" in news["state"]
    assert f'id="entry-{entry_id}"' in news["timeline"]
    assert "&lt;b&gt;done" in news["timeline"]


def test_nothing_is_sent_while_nothing_changes_but_heartbeats(rows: Rows, base: str) -> None:
    stream = Stream(base)
    stream.until(is_state)
    events = iter(stream)
    assert [next(events).name for _ in range(3)] == ["", "", ""]


def test_it_ends_when_the_deployment_is_over_and_all_was_sent(rows: Rows, base: str) -> None:
    stream = Stream(base)
    stream.until(is_state)
    rows.printed(b"the last output \xf0\x9f")  # and a character that is never finished
    rows.end("failure")
    seen = list(stream)
    assert output_of(seen) == "the last output \ufffd"
    assert [event.data["tone"] for event in seen if is_state(event)][-1] == "bad"
    assert seen[-1] == Event("end", "", {"state": "failure"})


def test_a_run_in_progress_is_followed_to_its_end(rows: Rows, base: str) -> None:
    rows.change(run=Run("1", State.IN_PROGRESS))
    rows.end()
    stream = Stream(base)
    stream.until(is_state)
    rows.printed(b"later")
    stream.until(is_output)
    rows.change(run=Run("1", State.SUCCESS))
    assert list(stream)[-1].name == "end"


def test_it_waits_briefly_until_github_has_the_status(rows: Rows, base: str) -> None:
    rows.new_entry(state="success", outbox="waiting")
    rows.end()
    stream = Stream(base)
    assert "on its way to GitHub" in stream.until(is_state)[-1].data["parts"]["timeline"]
    rows.sent()
    seen = list(stream)
    assert "Sent to GitHub" in seen[-2].data["parts"]["timeline"]
    assert seen[-1].name == "end"


def test_it_ends_by_itself_after_its_longest_time(rows: Rows, store_url: str) -> None:
    with served(store_url, StreamTiming(pause=0.02, longest=0.1)) as base:
        assert [event.name for event in Stream(base)] == ["", "state"]


def test_more_viewers_than_slots_do_not_block(rows: Rows, base: str) -> None:
    held = [Stream(base) for _ in range(QUICK.streams)]
    for stream in held:
        stream.until(is_state)
    at_byte = rows.printed(b"new")
    late = Stream(base)
    raw = late.response.read().decode()  # to its end: it was closed at once
    assert raw.startswith("retry: 3000\n\n")
    assert 'id: 3\ndata: "new"' in raw
    assert "event: state" in raw
    assert Stream(base, url=page_url()).response.status == 200
    for stream in held:
        stream.until(is_output)
    rows.printed(b"more", at_byte)
    for stream in held:
        assert stream.until(is_output)[-1].data == "more"


def test_a_closed_stream_frees_its_slot(rows: Rows, store_url: str) -> None:
    with served(store_url, StreamTiming(pause=0.02, heartbeat=0.02, streams=1)) as base:
        first = Stream(base)
        first.until(is_state)
        assert [event.name for event in Stream(base)] == ["", "state"]  # no slot: closed at once
        first.close()
        while len([*zip(Stream(base), range(3), strict=False)]) < 3:
            pass  # until the server has noticed


def test_a_stream_holds_no_connection_to_the_store(rows: Rows, store_url: str) -> None:
    longer = DEFAULT_TIMING.connection_within.total_seconds() * 2
    with served(store_url, StreamTiming(pause=longer), pool_size=1) as base:
        streams = [Stream(base) for _ in range(3)]
        for stream in streams:
            stream.until(is_state)
        assert Stream(base, url=page_url()).response.status == 200


def test_a_deployment_that_is_deleted_ends_its_stream(rows: Rows, base: str) -> None:
    stream = Stream(base)
    stream.until(is_state)
    rows.forget()
    assert all(event.name == "" for event in stream)


def test_proxies_are_instructed_not_to_buffer(rows: Rows, base: str) -> None:
    headers = Stream(base).response.headers
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
