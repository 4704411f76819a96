"""What every process does first: read the settings and deploy.yml, report all errors at once, and
create the machine's own files in the data directory."""

import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from handlers import HANDLERS
from handlers.contract import Handler
from webhook import logs, presence
from webhook.config import load as config
from webhook.config.environments import Config
from webhook.errors import ConfigErrors
from webhook.gates import GATES
from webhook.gates.contract import Gates
from webhook.notifiers import DESTINATIONS
from webhook.settings import Settings, config_path
from webhook.store.owner import ROOT, foreign_owner, hand_over, owner, remedy
from webhook.store.unavailable import disk_reason, is_of_disk
from webhook.values import names_secret, shown

log = structlog.get_logger()

_SHORTEST_SECRET = 8
# The file of the process to which this one belongs (webhook.presence): it uses the deploy.yml that
# the other one has read and checked, whatever stands in the operator's by now.
IN_USE = "RELAY_CONFIG_IN_USE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that is known before the store is used."""

    settings: Settings
    config: Config
    environ: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)
    machine_id: str
    secret_keys: tuple[str, ...] = field(repr=False)


def set_up(environ: Mapping[str, str]) -> Setup:
    """Read and check all of it; raises `ConfigErrors` with all errors."""
    settings, deploy, errors = read(environ)
    if settings is None or deploy is None or errors:
        raise ConfigErrors(errors)
    keys = secret_keys(settings)
    secret = settings.secrets | deploy.secrets | {*keys} | secret_values(environ)
    logs.set_up(secret)
    return Setup(
        settings=settings,
        config=deploy,
        environ=environ,
        secrets=frozenset(secret),
        machine_id=_created_once(settings.data_dir / "machine_id"),
        secret_keys=keys,
    )


def set_up_command() -> Setup:
    """For a command, from its environment. Warnings about the settings are logged."""
    setup = set_up(dict(os.environ))
    for warning in setup.settings.warnings:
        log.warning(warning)
    return setup


def read_again(setup: Setup) -> Setup:
    """With deploy.yml as it is now, and all else as it was. Errors: `ConfigErrors`."""
    deploy = read_config(setup.environ)
    logs.redactor.hide(deploy.secrets)
    # What is under way with the older one still uses its secrets.
    return replace(setup, config=deploy, secrets=setup.secrets | deploy.secrets)


def read(environ: Mapping[str, str]) -> tuple[Settings | None, Config | None, list[str]]:
    """Settings and deploy.yml as far as they can be read, and all errors in them."""
    settings = deploy = None
    errors: list[str] = []
    try:
        settings = Settings.from_environ(environ)
    except ConfigErrors as found:
        errors += found.errors
    try:
        deploy = read_config(environ)
    except ConfigErrors as found:
        errors += found.errors
    if settings is not None:
        errors += data_dir_errors(settings)
    return settings, deploy, errors


def secret_keys(settings: Settings) -> tuple[str, ...]:
    """Those in the settings, else the one that was created here."""
    return settings.secret_keys or (_created_once(settings.data_dir / "secret_key"),)


def user_to_be(settings: Settings) -> int | None:
    """Another user, to whom the data directory belongs: nothing is to be done with it then."""
    embedded = settings.store_source is None
    return foreign_owner(settings.data_dir, os.geteuid(), embedded=embedded)


def data_dir_errors(settings: Settings) -> list[str]:
    """Creates the directory if it is missing, readable by its owner only."""
    path, user = settings.data_dir, user_to_be(settings)
    if user is not None:
        name = shown(str(path))
        other = f"; {hand_over(name, os.geteuid())}" if user == ROOT else ""
        return [f"GITPLOY_DATA_DIR {name} is another user's; {remedy(user)}{other}"]
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        if is_of_disk(error):
            return [f"GITPLOY_DATA_DIR: {disk_reason(error.errno, path)}"]
        message = f"{shown(str(path))} cannot be written to: {error.strerror}"
        user = owner(path) if isinstance(error, PermissionError) else None
        other = "" if user is None else f"; or {remedy(user)}"
        return [f"GITPLOY_DATA_DIR {message}; set a directory that the relay may write to{other}"]
    return []


def read_config(environ: Mapping[str, str]) -> Config:
    path, in_use = config_path(environ), environ.get(IN_USE)
    if in_use and (text_in_use := presence.text_of(Path(in_use))) is not None:
        return parse_config(text_in_use, str(path), environ)
    try:
        text = path.read_bytes()
    except OSError as error:
        name = shown(str(path)).strip("'")
        message = f"{name} cannot be read: {error.strerror}; write it, or set GITPLOY_CONFIG"
        raise ConfigErrors([message]) from None
    return parse_config(text, str(path), environ)


def parse_config(
    text: str | bytes,
    source: str,
    environ: Mapping[str, str],
    *,
    handlers: Mapping[str, type[Handler]] = HANDLERS,
    gates: Gates = GATES,
) -> Config:
    return config.load(
        text,
        source=source,
        environ=environ,
        handler_options={name: handler.Options for name, handler in handlers.items()},
        notifiers=DESTINATIONS,
        gates=tuple(gates.values()),
    )


def secret_values(environ: Mapping[str, str]) -> set[str]:
    """What counts as secret by the variable's name, in the output of commands too."""
    return {
        value
        for name, value in environ.items()
        if names_secret(name) and len(value) >= _SHORTEST_SECRET
    }


def _created_once(path: Path) -> str:
    """A random value, created once and kept in a file that only its owner can read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(32))
    try:
        os.link(draft, path)  # the first process wins if several start at once
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()
