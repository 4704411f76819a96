"""All that take the same deliveries, by the names that `script/bench` knows them by."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.deliveries import SECRET
from benchmarks.peers import install
from benchmarks.peers.install import MissingPeer
from benchmarks.relay_receiver import ROOT, WEB, NoHistory, Relay, checkout, relay
from sandbox.sandbox import Sandbox

NAMES = {
    "relay": "this code: on disk before the 202",
    "relay-before": "an earlier commit: the same promise",
    "probot": "Probot with its logs, as it comes",
    "octokit": "@octokit/webhooks on node's server",
    "adnanh": "adnanh/webhook, which runs `true` for each",
    "flask-githubapp": "on granian",
    "gidgethub": "on aiohttp",
    "flask": "on granian, verifies the signature and stores nothing",
    "flask-commit-each": "the same with a transaction for each",
}
_NODE = ("probot", "octokit")
_PYTHON = ("flask-githubapp", "gidgethub", "flask", "flask-commit-each")
_EACH = """
create table each_delivery (
    id bigserial primary key, guid text unique, event text, body bytea,
    received_at timestamptz default now()
)
"""


@dataclass(frozen=True)
class Receiver:
    """`command` with PORT and WEB_CONCURRENCY in its environment listens there, in so many
    processes. `relay`: where it stores, if it is one."""

    name: str
    command: Callable[[int], Sequence[str]]
    environ: Mapping[str, str]
    folder: Path = ROOT
    relay: Relay | None = None
    varies: Callable[[int], Mapping[str, str]] = field(default=lambda _: {})


@contextlib.contextmanager
def receivers(
    names: Collection[str], before: str, missing: dict[str, str]
) -> Iterator[list[Receiver]]:
    """Ready to be started; `missing` gets the reason for each that cannot be."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-peers-")))
        current = stack.enter_context(relay())
        found = []
        for name in NAMES:
            if name not in names:
                continue
            try:
                found.append(_receiver(name, stack, current, before, folder))
            except (MissingPeer, NoHistory) as reason:
                missing[name] = str(reason)
        yield found


def _receiver(
    name: str, stack: contextlib.ExitStack, current: Relay, before: str, folder: Path
) -> Receiver:
    if name == "relay":
        return _of_relay(name, current)
    if name == "relay-before":
        return _of_relay(name, stack.enter_context(relay(stack.enter_context(checkout(before)))))
    if name in _NODE:
        return _of_node(name)
    if name == "adnanh":
        return _of_adnanh(folder)
    return _of_python(name, current)


def _of_relay(name: str, served: Relay) -> Receiver:
    return Receiver(name, lambda _: WEB, served.environ, served.code, served)


def _of_node(name: str) -> Receiver:
    folder = install.npm()
    environ = {
        "NODE_ENV": "production",
        "SECRET": SECRET,
        "APP_ID": "1",
        "PRIVATE_KEY": Sandbox().github.private_key_pem,
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_PATH": "/webhook",
        "HOST": "127.0.0.1",
    }
    return Receiver(name, lambda _: ("node", f"{name}.mjs"), environ, folder)


def _of_adnanh(folder: Path) -> Receiver:
    """One process by its nature: two are two cores for Go's threads."""
    hooks = folder / "hooks.json"
    signature = {
        "type": "payload-hmac-sha256",
        "secret": SECRET,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    }
    hook = {"id": "webhook", "execute-command": "true", "trigger-rule": {"match": signature}}
    hooks.write_text(json.dumps([hook]))
    program = str(install.adnanh())
    arguments = ("-hooks", str(hooks), "-ip", "127.0.0.1", "-urlprefix", "")
    return Receiver(
        "adnanh",
        lambda port: (program, *arguments, "-port", str(port)),
        {},
        folder,
        varies=lambda processes: {"GOMAXPROCS": str(processes)},
    )


def _of_python(name: str, current: Relay) -> Receiver:
    environ = {"SECRET": SECRET, "STORE": current.store}
    if name == "flask-githubapp":
        environ["PYTHONPATH"] = os.pathsep.join([str(install.flask_githubapp())])
    if name == "flask-commit-each":
        with psycopg.connect(current.store) as connection:
            connection.execute(_EACH)
    return Receiver(
        name, lambda _: (sys.executable, "-m", "benchmarks.peers.python", name), environ
    )
