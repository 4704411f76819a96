"""The relay as one of the receivers: this code or an earlier one, each with a data directory and an
embedded PostgreSQL of its own. No worker runs, so that deliveries are stored and nothing more."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.deliveries import SECRET
from sandbox.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
WEB = (sys.executable, "-m", "webhook", "web")
_NOWHERE = "http://127.0.0.1:9"
_DEPLOY_YML = "envs: [{name: x, handler: command, with: {run: ['true']}}]\n"
# By that code itself, which may set up its PostgreSQL and its tables in another way.
_STORE = """
import sys
from pathlib import Path
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate
postgres = EmbeddedPostgres(Path(sys.argv[1]))
url = postgres.start()
migrate(url)
print(url, flush=True)
sys.stdin.read()
postgres.stop()
"""


@dataclass(frozen=True)
class Relay:
    """`environ` lacks PORT and WEB_CONCURRENCY."""

    code: Path
    store: str
    environ: dict[str, str]

    def stored(self, guids_like: str) -> int:
        """Deliveries whose GUID begins so."""
        with psycopg.connect(self.store) as connection:
            row = connection.execute(
                "select count(*) from deliveries where guid like %s", [f"{guids_like}%"]
            ).fetchone()
        return row[0] if row else 0

    def empty(self) -> None:
        """So that a round finds the store that the one before it found."""
        with psycopg.connect(self.store) as connection:
            for table in ("deliveries", "schedule", "procrastinate_jobs"):  # of earlier code, too
                if connection.execute("select to_regclass(%s)", [table]).fetchone() != (None,):
                    connection.execute(sql.SQL("truncate {} cascade").format(sql.Identifier(table)))


@contextlib.contextmanager
def relay(code: Path = ROOT) -> Iterator[Relay]:
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        config = folder / "deploy.yml"
        config.write_text(_DEPLOY_YML)
        with _store(code, folder / "data") as url:
            environ = Sandbox().environ(folder / "data", config, 0) | {
                "GITPLOY_GITHUB_BASE_URL": _NOWHERE,
                "GITPLOY_SLACK_BASE_URL": _NOWHERE,
                "GITPLOY_WEBHOOK_SECRET": SECRET,
                "GITPLOY_STORE_SOURCE": url,
            }
            yield Relay(code, url, environ)


@contextlib.contextmanager
def _store(code: Path, data_dir: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _STORE, str(data_dir)],
        cwd=code,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"PostgreSQL of {code} does not start")
        yield url
    finally:
        process.stdin.close()
        process.wait()


class NoHistory(Exception):
    """Its text is the reason."""


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The code at a commit, from this repository's own history."""
    with tempfile.TemporaryDirectory(prefix="relay-before-") as name:
        archive = Path(name) / "code.tar"
        try:
            subprocess.run(
                ["git", "archive", "--output", str(archive), commit],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise NoHistory("git is not installed") from None
        except subprocess.CalledProcessError:
            raise NoHistory(f"the commit {commit} is not in the history of this checkout") from None
        subprocess.run(["tar", "-xf", str(archive), "-C", name], check=True)
        archive.unlink()
        yield Path(name)
