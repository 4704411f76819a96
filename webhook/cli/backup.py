"""`python -m webhook backup` and `restore`: the store in one file, and from it.

See docs/how-to/backup.md.
"""

import asyncio
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from webhook import presence, startup
from webhook.cli.locks import person_of
from webhook.cli.up import lock
from webhook.engine.gates import ask_again
from webhook.errors import ConfigErrors, UserError
from webhook.invocation import COMMAND
from webhook.settings import Settings
from webhook.store import audit, backup, database, restores, schedule
from webhook.store.audit import NewAct
from webhook.store.backup import Backup, Key
from webhook.store.embedded import store_url
from webhook.store.restoring import IN_USE, Restored, Restoring
from webhook.store.schema import migrated_store

NOT_HELD, NONE_RESTORED, KEY_DIFFERS = "not_held", "never_restored", "key_differs"
_FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
_PERSON = click.option(
    "--as", "person", metavar="LOGIN", help="Your GitHub login; else the user of this machine."
)


@click.command("backup")
@_FILE
@click.option(
    "--without-key", is_flag=True, help="Leave out the key of Slack's tokens and of links."
)
def backup_command(file: Path, without_key: bool) -> None:
    """Write the store into FILE, while the relay runs.

    FILE is a secret, as the key in it opens Slack's tokens. It is read again before it gets its
    name, and is never written over another one.
    """
    _end_cleanly()
    settings = _settings()
    backup.require_free(file)
    key, secret_key = _key(settings, left_out=without_key)
    with store_url(settings) as url:
        machine_id = _text(settings.data_dir / "machine_id")
        taken = backup.write(file, url, machine_id=machine_id, key=key, secret_key=secret_key)
    size = file.stat().st_size / 1_000_000
    click.echo(
        f"{file}: {_deployments(taken.deployments)} as of {_moment(taken.taken_at)},"
        f" {size:.1f} MB, read again. {_ABOUT_KEY[key]}"
    )


_ABOUT_KEY: dict[Key, str] = {
    "included": "It has the key of Slack's tokens: keep it secret.",
    "environment": "GITPLOY_SECRET_KEY is not in it: keep that, too.",
    "left out": "The key of Slack's tokens and of links is not in it: keep GITPLOY_DATA_DIR's"
    " secret_key, too.",
}


class _FromFile(click.Group):
    """`restore FILE` is short for `restore from FILE`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["from", *args])


@click.group(cls=_FromFile)
def restore() -> None:
    """Make the store anew from a backup; release what waits after that."""


@restore.command("from")
@_FILE
@click.option(
    "--replace", is_flag=True, help="Also where the store has deployments: it is moved aside."
)
@_PERSON
def restore_from(file: Path, replace: bool, person: str | None) -> None:
    """Make the store from FILE, which `backup` has written. `restore FILE` does the same.

    The relay must not run. What had been asked for and may have run since the backup is held for a
    person: see `restore release`.
    """
    _end_cleanly()
    settings, actor = _settings(), person_of(person)
    with lock(settings.data_dir), _stopped(settings.data_dir), backup.opened(file) as opened:
        restoring = Restoring(opened, actor, datetime.now(UTC), replace)
        if settings.store_source:
            restored = restoring.into_external(settings.store_source)
        else:
            restored = restoring.into_embedded(settings.data_dir)
        about_key = _restore_key(settings, opened, restoring.at)
    for line in _said(opened, restored, about_key):
        click.echo(line)


@contextmanager
def _stopped(data_dir: Path) -> Iterator[None]:
    """A web process with nothing to do may have no connection to the store."""
    if found := presence.running(data_dir):
        named = ", ".join(one.name for one in found)
        raise UserError(f"The relay runs: {named}; stop it first", code=IN_USE)
    yield


@restore.command()
@click.argument("deployments", metavar="[ID...]", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="All that wait because of the restore.")
@_PERSON
def release(deployments: tuple[int, ...], everything: bool, person: str | None) -> None:
    """Let deployments start that were held because of a restore.

    Only what has not run since the backup: look at the tool first. What has run is cancelled
    instead.
    """
    if everything == bool(deployments):
        raise UserError("Name deployments by their numbers, or write --all")
    actor = person_of(person)
    with migrated_store(_settings()) as (url, _):
        released = asyncio.run(_release(url, deployments, actor, everything=everything))
    for deployment_id in released:
        click.echo(f"Deployment {deployment_id} may start now.")


async def _release(
    url: str, deployments: tuple[int, ...], actor: str, *, everything: bool
) -> list[int]:
    async with await database.connect_async(url) as connection, connection.transaction():
        newest = await restores.newest(connection)
        if newest is None:
            raise UserError("The store was never restored from a backup", code=NONE_RESTORED)
        asked = await restores.held(connection) if everything else deployments
        released = await restores.release(connection, newest.id, asked)
        if missing := sorted({*asked} - {*released}):
            named = ", ".join(map(str, missing))
            raise UserError(
                f"Not held because of a restore: {named}; nothing was released", code=NOT_HELD
            )
        if not released:
            raise UserError("Nothing is held because of a restore", code=NOT_HELD)
        for deployment_id in released:
            act = NewAct(
                actor=actor, source="command line", action="release", deployment_id=deployment_id
            )
            await audit.add(connection, act)
        await ask_again(connection, released)
        await schedule.wake_workers(connection)
    return sorted(released)


def _end_cleanly() -> None:
    """At SIGTERM as at Ctrl-C: nothing half-written stays."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def _settings() -> Settings:
    """A store can be saved whatever deploy.yml says."""
    settings = Settings.from_environ(os.environ)
    if errors := startup.data_dir_errors(settings):
        raise ConfigErrors(errors)
    return settings


def _key(settings: Settings, *, left_out: bool) -> tuple[Key, str]:
    if settings.secret_keys:
        return "environment", ""
    return ("left out", "") if left_out else ("included", startup.secret_keys(settings)[0])


def _restore_key(settings: Settings, opened: Backup, at: datetime) -> str:
    """The key of the backup is used from now on. What to do about it, if anything."""
    key, place = opened.secret_key, settings.data_dir / "secret_key"
    if not key:
        known = settings.secret_keys or _text(place)
        lacking = "the key of Slack's tokens and of links: set GITPLOY_SECRET_KEY to it"
        return "" if known else f"The backup does not have {lacking}."
    if settings.secret_keys:
        if key in settings.secret_keys:
            return ""
        shown = f"unzip -p {shlex.quote(str(opened.path))} secret_key"
        return f"GITPLOY_SECRET_KEY lacks the backup's key: add it there, after a comma ({shown})."
    present = _text(place)
    if present == key:
        return ""
    draft = place.with_name(f".secret_key.{os.getpid()}")
    descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as written:
        written.write(key)
        written.flush()
        os.fsync(descriptor)
    if present:
        place.rename(place.with_name(f"secret_key.before-restore-{at:%Y%m%d-%H%M%S}"))
    draft.rename(place)
    return ""


def _said(opened: Backup, restored: Restored, about_key: str) -> list[str]:
    manifest = opened.manifest
    aside = f" What was there before is in {restored.aside}." if restored.aside else ""
    return [
        f"Restored {_deployments(manifest.deployments)} as of {_moment(manifest.taken_at)}.{aside}",
        *([about_key] if about_key else []),
        "Start the relay. What was asked for before now and may have run since the backup waits"
        f" until somebody runs: {COMMAND} restore release ID",
    ]


def _deployments(count: int) -> str:
    return f"{count} deployment{'' if count == 1 else 's'}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
