"""`python -m webhook reload`: all processes of this machine read deploy.yml again.

They are found by what they keep in the data directory (webhook.presence), and are sent SIGHUP.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from webhook import presence, startup
from webhook.config.changes import Changes
from webhook.errors import ConfigErrors, UserError
from webhook.presence import RelayProcess
from webhook.startup import Setup, set_up_command

# Seconds. Jobs and requests that are under way are finished first.
_WITHIN = 60.0
_ASKED_EVERY = 0.1


@click.command()
def reload() -> None:
    """Make the relay's processes on this machine read deploy.yml again.

    A file with errors changes nothing: they are printed, and the exit code is 1. It is 0 once all
    processes use the file. What runs keeps the environment with which it began. Variables are read
    at a restart only; other machines read their own file.
    """
    setup = set_up_command()
    data_dir = setup.settings.data_dir
    found = presence.running(data_dir)
    reading = [one for one in found if one.reloads and one.is_reachable]
    if not found:
        text = f"{setup.config.source} has no errors, but no relay runs with {_data_dir(data_dir)}"
        raise UserError(f"{text}; it is read when one starts")
    _print_changes(setup, found)
    since = time.time()
    for one in reading:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGHUP)
    left = _wait(data_dir, setup.config.digest, since)
    left += [one for one in found if one.reloads and _is_left(one, setup.config.digest)]
    for one in left:
        _print_left(one)
    if left:
        sys.exit(1)
    click.echo(f"In use by {', '.join(one.name for one in reading)}.")


def _is_left(process: RelayProcess, digest: str) -> bool:
    return not process.is_reachable and process.digest != digest


def _data_dir(path: Path) -> str:
    return f"GITPLOY_DATA_DIR {path}"


def _wait(data_dir: Path, digest: str, since: float) -> list[RelayProcess]:
    """Those that do not use it by then, or do not take it."""
    until = time.monotonic() + _WITHIN
    while True:
        left = [
            one
            for one in presence.running(data_dir)
            if one.is_reachable and (one.digest != digest or one.read_at < since)
        ]
        rejecting = [one for one in left if one.errors and one.read_at >= since]
        if rejecting or not left or time.monotonic() >= until:
            return rejecting or left
        time.sleep(_ASKED_EVERY)


def _print_left(process: RelayProcess) -> None:
    if not process.is_reachable:
        text = f"{process.kind} runs in another container, where no signal leads from here"
        text = f"{text}; run this there too, or send it SIGHUP"
    elif process.errors:
        text = "\n  ".join((f"{process.name} goes on with the older file:", *process.errors))
    else:
        text = f"{process.name} does not use it after {_WITHIN:.0f} s"
        text = f"{text}; read its log, or restart it"
    click.echo(text, err=True)


def _print_changes(setup: Setup, found: Sequence[RelayProcess]) -> None:
    used = {one.digest: one.text for one in found if one.reloads and one.is_reachable}
    new = setup.config
    if {*used} == {new.digest}:
        click.echo(f"{new.source} has not changed.")
    used.pop(new.digest, None)
    for text in used.values():
        try:
            old = startup.parse_config(text, new.source, setup.environ)
        except ConfigErrors:
            click.echo("The file in use cannot be compared: it needs other variables.")
            continue
        click.echo(f"{new.source}: {Changes.between(old, new)}.")
