"""How long pages take of a store with many deployments, and how large they are.

script/bench --pages [--size 1000000] [--repositories 200] [--repeat 20] [--stores FOLDER] [--json]

The views are called as the web process calls them, with a real PostgreSQL, by one who administers
so many repositories; GitHub has been asked what they may. All of a page is there before its first
byte.
"""

import argparse
import gc
import json
import shutil
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import psycopg
from flask import Response
from flask.testing import FlaskClient
from rich.console import Console

from benchmarks.filling import FIRST_ID, fill
from benchmarks.scale import server
from handlers import HANDLERS
from tests.web.viewing import page_services
from webhook.app import GC_THRESHOLD
from webhook.config.environments import CurrentConfig
from webhook.config.load import load
from webhook.gates import GATES
from webhook.github.authorization import Person
from webhook.http import serve
from webhook.store.database import SyncPool, sync_pool
from webhook.store.schema import migrate
from webhook.web.auth.access import PermissionCache
from webhook.web.flask_app import RelayFlask
from webhook.web.github_calls import GitHubCalls
from webhook.web.pages.blueprint import ERRORS, blueprint
from webhook.web.services import PageServices

DEPLOY_YML = """
frozen_windows: [{start: "0 18 * * FRI", duration: 62h, reason: weekend}]
envs:
  - {name: stage-1, handler: command, with: {run: [x]}}
  - {name: stage-2, handler: command, with: {run: [x]}, after: stage-1}
  - {name: production, handler: command, with: {run: [x]}, after: stage-2}
  - {name: "*", handler: command, with: {run: [x]}}
"""
SIGN_IN = {
    "GITPLOY_SERVER_PROTO": "http",
    "GITPLOY_GITHUB_CLIENT_ID": "Iv1.0123456789abcdef",
    "GITPLOY_GITHUB_CLIENT_SECRET": "0123456789abcdef0123456789abcdef01234567",
}
ADDRESSES = {
    "board": "/",
    "board, search": "/?q=production+octocat",
    "board, failed": "/?state=failed",
    "environment": "/environments/acme/app-1/production",
    "deployment": f"/deployments/acme/app-1/{FIRST_ID + 5}",
    "deliveries": "/deliveries",
    "deliveries, none": "/deliveries?event=installation",
    "deliveries, text": "/deliveries?q=nothing",
    "dead letters": "/deliveries?tab=dead",
    "insights": "/insights",
    "insights of one": "/insights?repo=acme/app-1",
    "health": "/health",
    "audit": "/audit",
}


class _Reader(PermissionCache):
    """Of one who administers the first repositories, as GitHub has said just now."""

    most: int = 0

    def permissions(
        self, person: Person, repo_ids: Iterable[int], *, for_act: bool = False
    ) -> dict[int, str]:
        return {one: "admin" if one <= self.most else "none" for one in repo_ids}


@dataclass(frozen=True, slots=True)
class Measured:
    """`kilobytes`: as sent, compressed. `milliseconds`: the median, `worst` the most, `cpu` those
    of this process alone, without PostgreSQL's."""

    name: str
    status: int
    kilobytes: float
    milliseconds: float
    worst: float
    cpu: float


def _services(pool: SyncPool, repositories: int) -> PageServices:
    services = page_services(pool, None, **SIGN_IN)
    config = load(
        DEPLOY_YML,
        source="deploy.yml",
        environ={},
        handler_options={name: handler.Options for name, handler in HANDLERS.items()},
        gates=tuple(GATES.values()),
    )
    reader = _Reader(pool, GitHubCalls(services.settings, services.clock), services.clock)
    reader.most = repositories
    return replace(services, permissions=reader, config=CurrentConfig(config))


def _browser(services: PageServices) -> FlaskClient:
    app = RelayFlask("benchmark", static_folder=None)
    serve(app, blueprint(services), ERRORS)
    response = Response()
    services.sessions.begin(Person(1, "octocat"), response)
    browser = app.test_client(use_cookies=False)
    browser.environ_base["HTTP_COOKIE"] = response.headers["Set-Cookie"].partition(";")[0]
    browser.environ_base["HTTP_ACCEPT"] = "text/html"
    browser.environ_base["HTTP_ACCEPT_ENCODING"] = "gzip"
    return browser


def _measure(browser: FlaskClient, name: str, address: str, repeat: int) -> Measured:
    browser.get(address)
    times = []
    cpu = process_time()
    for _ in range(repeat):
        begun = perf_counter()
        response = browser.get(address)
        times.append((perf_counter() - begun) * 1000)
    return Measured(
        name=name,
        status=response.status_code,
        kilobytes=len(response.data) / 1000,
        milliseconds=statistics.median(times),
        worst=max(times),
        cpu=(process_time() - cpu) * 1000 / repeat,
    )


def measure(folder: Path, size: int, repositories: int, repeat: int) -> list[Measured]:
    with server(folder) as url:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            if not connection.execute("select 1 from deployments limit 1").fetchone():
                fill(connection, size)
        with sync_pool(url, 3) as pool:
            browser = _browser(_services(pool, repositories))
            _settle()
            return [_measure(browser, *one, repeat) for one in ADDRESSES.items()]


def _settle() -> None:
    """As webhook.app does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="script/bench --pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", type=int, default=1_000_000, help="deployments in the store")
    parser.add_argument("--repositories", type=int, default=200, help="that the reader may see")
    parser.add_argument("--repeat", type=int, default=20, help="the median of so many counts")
    parser.add_argument("--stores", type=Path, help="keep the store here, to use it again")
    parser.add_argument("--json", action="store_true", help="print one object")
    given = parser.parse_args(arguments)
    folder = given.stores or Path(tempfile.mkdtemp(prefix="relay-pages-"))
    try:
        found = measure(folder / str(given.size), given.size, given.repositories, given.repeat)
    finally:
        if given.stores is None:
            shutil.rmtree(folder)
    if given.json:
        rows = [{name: getattr(one, name) for name in Measured.__slots__} for one in found]
        print(json.dumps(rows, indent=1))  # noqa: T201 - for programs
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{'page':20}{'status':>8}{'kB':>10}{'ms':>10}{'worst':>10}{'cpu':>10}")
    for one in found:
        console.print(
            f"{one.name:20}{one.status:>8}{one.kilobytes:10.1f}{one.milliseconds:10.1f}"
            f"{one.worst:10.1f}{one.cpu:10.1f}"
        )
