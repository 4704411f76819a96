"""What keeps pages up to date: who is woken by what, how long a stream lasts, what it holds."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from flask import Response, request

from tests.web.viewing import Event, Stream
from tests.web_server import serving
from webhook.app import LIVE
from webhook.timing import DEFAULT_TIMING
from webhook.web.flask_app import RelayFlask
from webhook.web.gateway import THREADS
from webhook.web.live import Live, Parts, StreamTiming

# Without a notification, nothing would be seen in time.
NOTIFIED = StreamTiming(pause=0.02, check=60, heartbeat=60)


@dataclass
class Shown:
    """What the pages of these tests show now; None: nobody may see it any more."""

    parts: dict[str, str] | None = field(default_factory=lambda: {"one": "1", "two": "2"})
    rendered: int = 0

    def render(self) -> Parts | None:
        self.rendered += 1
        return Parts("title", "good", dict(self.parts)) if self.parts is not None else None


@dataclass
class Page:
    url: str
    live: Live
    shown: Shown
    store_url: str

    def stream(self, topic: str = "board", key: str = "") -> Stream:
        """Once it has the page as it is, and the process listens."""
        stream = Stream(self.url, url=f"/events?topic={topic}&key={key}")
        stream.until(is_state)
        self.wait_until_it_listens()
        return stream

    def notify(self, topics: str) -> None:
        with psycopg.connect(self.store_url, autocommit=True) as connection:
            connection.execute("select pg_notify('pages', %s)", [topics])

    def listeners(self, act: str = "pid") -> int:
        with psycopg.connect(self.store_url, autocommit=True) as connection:
            return connection.execute(
                f"select {act} from pg_locks join pg_database on oid = database"
                " where locktype = 'advisory' and mode = 'ShareLock' and granted"
                " and datname = current_database()"
            ).rowcount

    def wait_until_it_listens(self) -> None:
        end = time.monotonic() + 10
        while not self.listeners():
            assert time.monotonic() < end
            time.sleep(0.01)


def is_state(event: Event) -> bool:
    return event.name == "state"


@contextmanager
def page(
    store_url: str, timing: StreamTiming = NOTIFIED, *, killed_after: int = 1
) -> Iterator[Page]:
    live, shown = Live(store_url, DEFAULT_TIMING, timing), Shown()
    app = RelayFlask("tests", static_folder=None)
    app.extensions[LIVE] = live

    @app.get("/events")
    def events() -> Response:
        key = request.args["key"] or None
        return live.parts(request.args["topic"].split(), shown.render, key=key)

    with serving(app, killed_after=killed_after) as port:
        yield Page(f"http://127.0.0.1:{port}", live, shown, store_url)


def test_whose_topic_it_is_gets_what_has_changed(store_url: str) -> None:
    with page(store_url) as there:
        stream, other = there.stream("deployment:1+board"), there.stream("deployment:2")
        rendered = there.shown.rendered
        there.shown.parts = {"one": "1", "two": "<b>new</b>"}
        there.notify("repository:1 deployment:1")
        news = stream.until(is_state)[-1].data
        assert news == {"title": "title", "tone": "good", "parts": {"two": "<b>new</b>"}}
        assert there.shown.rendered <= rendered + 3  # of which two are by who begins to listen
        there.shown.parts = None
        there.notify("board deployment:2")
        for one in (stream, other):
            assert list(one)[-1] == Event("end", "", {"state": "hidden"})
        assert there.listeners() == 1


def test_many_viewers_of_the_same_need_one_rendering_and_no_threads(store_url: str) -> None:
    with page(store_url) as there:
        streams = [there.stream(key="same") for _ in range(THREADS + 6)]
        rendered = there.shown.rendered
        there.shown.parts = {"one": "new"}
        there.notify("board")
        for stream in streams:
            assert stream.until(is_state)[-1].data["parts"] == {"one": "new"}
        assert there.shown.rendered < rendered + 10
        assert there.live.open_streams == len(streams)
        for stream in streams:
            stream.close()
        end = time.monotonic() + 10
        while there.live.open_streams:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_without_notifications_pages_look_by_themselves(store_url: str) -> None:
    with page(store_url, StreamTiming(pause=0.02, check=0.2, tick=0.1)) as there:
        streams = there.stream("board"), there.stream("tick")
        there.listeners("pg_terminate_backend(pid)")
        there.shown.parts = {"one": "new"}
        for stream in streams:
            assert stream.until(is_state)[-1].data["parts"] == {"one": "new"}


def test_a_stream_sends_no_more_than_its_share_until_it_was_read(store_url: str) -> None:
    with page(store_url, StreamTiming(pause=0.02, check=0.05, memory=10_000)) as there:
        there.shown.parts = {"one": "x" * 20_000}
        stream = Stream(there.url, url="/events?topic=board&key=")
        raw = stream.response.read().decode()
        assert raw.count("event: state") == 1
        assert raw.endswith("retry: 100\n\n")  # it comes back at once


def test_a_proxy_that_speaks_http_1_0_gets_it_without_chunks_and_at_once(store_url: str) -> None:
    """As nginx does by default. https://nginx.org/en/docs/http/ngx_http_proxy_module.html"""
    with page(store_url) as there:
        address = ("127.0.0.1", int(there.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=10) as proxy:
            proxy.sendall(b"GET /events?topic=board&key= HTTP/1.0\r\nConnection: close\r\n\r\n")
            received = proxy.makefile("rb")
            head = {line.lower().strip() for line in iter(received.readline, b"\r\n")}
            assert b"x-accel-buffering: no" in head
            assert not any(line.startswith(b"transfer-encoding") for line in head)
            lines = [received.readline() for _ in range(3)]
            assert lines == [b"retry: 3000\n", b"\n", b"event: state\n"]


def test_streams_do_not_hold_up_a_server_that_stops(store_url: str) -> None:
    with page(store_url, killed_after=20) as there:
        streams = [there.stream() for _ in range(3)]
        began = time.monotonic()
    assert time.monotonic() - began < 15
    for stream in streams:
        assert list(stream) == []
