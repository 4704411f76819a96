"""What the tests of the pages share: rows written with the store's own functions, and a reader."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from typing import Any, NamedTuple, TypeVar
from urllib.request import Request, urlopen

import psycopg
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask.testing import FlaskClient
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from tests.web_server import serving
from webhook.app import LIVE
from webhook.check import Finding
from webhook.config.environments import Config, CurrentConfig
from webhook.deployments.models import GitHubDeployment, Repository
from webhook.deployments.simulation import Simulation
from webhook.engine.simulate import Subject
from webhook.http import serve
from webhook.logs import Redactor
from webhook.notifiers.contract import Purpose
from webhook.reloading import LocalConfig
from webhook.security.signing import Links
from webhook.settings import Settings
from webhook.store import deployments, outbox, output, timeline
from webhook.store.database import Async, SyncPool, sync_pool
from webhook.store.outbox import State
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now
from webhook.web.auth.access import PermissionCache
from webhook.web.auth.sessions import Sessions
from webhook.web.flask_app import RelayFlask
from webhook.web.github_calls import GitHubCalls
from webhook.web.live import Live, StreamTiming
from webhook.web.pages.blueprint import ERRORS, blueprint
from webhook.web.services import PageServices

T = TypeVar("T")
SHA = "3f9c1d27a0b84e6f5c1d27a0b84e6f5c1d27a0b8"
REQUESTED_AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
# Without a notification, nothing would be seen in time.
QUICK = StreamTiming(pause=0.02, check=60, heartbeat=0.1, streams=8)


def links(clock: Clock = utc_now) -> Links:
    return Links("", ["a key of the tests, long enough"], clock)


LINKS = links()


@dataclass(frozen=True)
class Rows:
    """The store, as the worker would write it."""

    url: str

    def deployment(self, deployment_id: int = 1, **given: Any) -> None:
        values = {
            "environment": "staging",
            "ref": "main",
            "sha": SHA,
            "task": "deploy",
            "creator": "octocat",
            "production_environment": False,
            "transient_environment": False,
            "created_at": REQUESTED_AT,
            **given,
        }
        repo_url = values.pop("repo_url", "https://github.com/acme/web")
        name, installation = values.pop("repo", "acme/web"), values.pop("installation", 7)
        repository = Repository(values.pop("repo_id", 1), name, repo_url)
        requested = GitHubDeployment(id=deployment_id, **values)
        self._do(
            lambda connection: deployments.get_or_create(
                connection, requested, repository, installation
            )
        )

    def change(self, deployment_id: int = 1, **columns: Any) -> None:
        async def act(connection: Async) -> None:
            row = await deployments.read(connection, deployment_id)
            assert row is not None
            await deployments.change(connection, row, **columns)

        self._do(act)

    def end(self, phase: str = "success") -> None:
        self.change(phase=phase, started_at=REQUESTED_AT, ended_at=datetime.now(UTC))

    def new_entry(self, *, error: str = "", **given: Any) -> int:
        """`outbox`: how far it has come on its way to GitHub."""
        sending: State | None = given.pop("outbox", None)
        entry = timeline.NewEntry(
            **{"actor": "relay", "state": "queued", "description": "", **given}
        )

        async def act(connection: Async) -> int:
            if sending is None:
                entry_id = await timeline.add(connection, 1, entry)
                assert entry_id is not None
                return entry_id
            entry_id = await timeline.add_status(connection, 1, entry)
            await self._send(connection, sending, error)
            return entry_id

        return self._do(act)

    def sent(self) -> None:
        """GitHub has the newest one now."""
        self._do(lambda connection: self._send(connection, "sent"))

    async def _send(self, connection: Async, state: State, error: str = "") -> None:
        entry = (await outbox.pending(connection, "status", 1))[-1]
        if state == "claimed":
            claimed = await outbox.claim(connection, entry, timedelta(0))
            assert claimed is not None
            await outbox.keep_error(connection, claimed, error)
        elif state == "sent":
            await outbox.sent(connection, entry, {"id": "1"})
        elif state != "waiting":
            await outbox.release(connection, entry, state, error)

    def printed(self, chunk: bytes, at_byte: int = 0) -> int:
        """Where the next chunk goes."""
        self._do(lambda connection: output.append(connection, 1, at_byte, chunk))
        return at_byte + len(chunk)

    def slack(self, purpose: Purpose, channel: str, *, ts: str = "", error: str = "") -> None:
        async def act(connection: Async) -> None:
            message = await outbox.entry_of(
                connection, "message", 1, destination=f"slack:{channel}", purpose=purpose
            )
            if ts:
                ref = {"team": "T1", "channel_id": "C1", "ts": ts}
                message = await outbox.sent(connection, message, ref)
            if error:
                await outbox.release(connection, message, "rejected", error)

        self._do(act)

    def forget(self) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute("delete from deployments")

    def _do(self, act: Callable[[Async], Awaitable[T]]) -> T:
        async def alone() -> T:
            async with await AsyncConnection.connect(
                self.url, autocommit=True, row_factory=dict_row
            ) as connection:
                return await act(connection)

        return asyncio.run(alone())


@cache
def private_key_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def _unchanged(subject: Subject) -> Simulation:
    return Simulation(delivery=subject.name, event=subject.event, outcome="ignored")


async def _no_findings() -> list[Finding]:
    return []


def page_services(pool: SyncPool, live: Live | None = None, **variables: str) -> PageServices:
    """Nobody is called outside, and nobody can sign in unless the variables say so."""
    settings = Settings.from_environ(
        {
            "GITPLOY_SERVER_HOST": "relay.example.com",
            "GITPLOY_WEBHOOK_SECRET": "0123456789-whsec-one",
            "GITPLOY_GITHUB_APP_ID": "12345",
            "GITPLOY_GITHUB_PRIVATE_KEY": private_key_pem(),
            **variables,
        }
    )
    github = GitHubCalls(settings, utc_now)
    keys = ("a key of the tests, long enough",)
    return PageServices(
        pool=pool,
        links=LINKS,
        clock=utc_now,
        config=CurrentConfig(Config(envs=())),
        local_config=LocalConfig({}, "", list),
        settings=settings,
        secret_keys=keys,
        origins={},
        actions={},
        github=github,
        permissions=PermissionCache(pool, github, utc_now),
        sessions=Sessions(pool, settings.server_url, keys, utc_now),
        redactor=Redactor(()),
        live=live or Live(str(pool.conninfo)),
        check=_no_findings,
        simulate=_unchanged,
    )


@contextmanager
def app(
    store_url: str,
    timing: StreamTiming = QUICK,
    pool_size: int = 4,
    store_timing: Timing = DEFAULT_TIMING,
) -> Iterator[RelayFlask]:
    with sync_pool(store_url, pool_size, store_timing) as pool:
        created = RelayFlask("tests", static_folder=None)
        live = Live(store_url, store_timing, timing)
        serve(created, blueprint(page_services(pool, live)), ERRORS)
        created.extensions[LIVE] = live
        created.add_url_rule("/elsewhere", view_func=lambda: "", endpoint="elsewhere")
        yield created


@contextmanager
def served(store_url: str, timing: StreamTiming = QUICK, pool_size: int = 4) -> Iterator[str]:
    """Over real HTTP; the base URL."""
    with app(store_url, timing, pool_size) as created, serving(created) as port:
        yield f"http://127.0.0.1:{port}"


def page_url(deployment_id: int = 1, repo: str = "acme/web") -> str:
    return LINKS.page(repo, deployment_id)


def events_url(deployment_id: int = 1) -> str:
    return page_url(deployment_id).replace("?", "/events?")


def open_page(browser: FlaskClient) -> "Seen":
    response = browser.get(page_url())
    assert response.status_code == 200
    return Seen(response.text)


class Event(NamedTuple):
    """`name` is empty for a comment or a `retry`."""

    name: str
    id: str
    data: Any


class Stream:
    """An EventSource, as far as the tests need it."""

    def __init__(self, base: str, last_event_id: str = "", url: str = "") -> None:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self.response = urlopen(Request(base + (url or events_url()), headers=headers), timeout=10)

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self.response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name or value:
                fields[name] = value
            elif fields:
                data = json.loads(fields.get("data", "null"))
                yield Event(fields.get("event", ""), fields.get("id", ""), data)
                fields = {}

    def until(self, matches: Callable[[Event], bool]) -> list[Event]:
        seen = []
        for event in self:
            seen.append(event)
            if matches(event):
                return seen
        raise AssertionError(f"the stream ended after {seen}")

    def close(self) -> None:
        self.response.close()


_BLOCKS = {"title", "div", "p", "h1", "h2", "dt", "dd", "li", "summary", "pre", "footer"}


class Seen(HTMLParser):
    """How a browser reads a page: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._text: list[str] = []
        self.feed(html)
        self.text = " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in _BLOCKS:
            self._text.append(" ")

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.all("a")]
