"""Reads deploy.yml.

Errors: `ConfigErrors`, with all errors in the file, each with line, column and remedy.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pydantic import ValidationError

from webhook.config import source as yaml_source
from webhook.config.automatic import errors_of_automatic
from webhook.config.creation import errors_of_secrets
from webhook.config.destinations import Notifiers, filled_in, unreachable_destinations
from webhook.config.environments import (
    Config,
    Environment,
    File,
    HandlerOptions,
    file_model,
    known_keys,
    slack_user_errors,
)
from webhook.config.errors import errors_of, unreachable_environments
from webhook.config.gates import GateKeys, ineffective, of_file, without_environment
from webhook.config.source import ConfigError, Path, Source
from webhook.errors import ConfigErrors
from webhook.values import without


def load(
    text: str | bytes,
    *,
    source: str,
    environ: Mapping[str, str],
    handler_options: HandlerOptions,
    notifiers: Notifiers = MappingProxyType({}),
    gates: Sequence[GateKeys] = (),
) -> Config:
    """`source`: the file's name in errors. `notifiers`: the model of destinations, by notifier."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigErrors([f"{source}:{line}:1: is not UTF-8; save it as UTF-8"]) from None
    read = yaml_source.read(text, environ)
    if read.value is None:
        errors = read.errors or [ConfigError(1, 1, (), "is empty; it needs 'envs:'")]
        raise _located(errors, source, read)
    _add_options(read)
    errors = [
        *read.errors,
        *unreachable_environments(read),
        *unreachable_destinations(read, notifiers),
        *slack_user_errors(read),
        *errors_of_secrets(read),
    ]
    try:
        file = file_model(handler_options, notifiers, gates).model_validate_json(
            json.dumps(read.value),
            context={"environ": environ, "handlers": tuple(handler_options)},
        )
    except ValidationError as error:
        known = known_keys(handler_options, notifiers, gates)
        raise _located([*errors, *errors_of(error, read, known)], source, read) from None
    if errors:
        raise _located(errors, source, read)
    envs = tuple(_with_defaults(env, file, notifiers, gates) for env in file.envs)
    if errors := [
        *_incomplete(envs, read),
        *_ineffective(envs, gates, read),
        *errors_of_automatic(envs, read),
        *without_environment(file, [(env.repos, env.name) for env in envs], gates, read),
        *(error for gate in gates for error in gate.errors(envs, read)),
    ]:
        raise _located(errors, source, read)
    users = {login.lower(): ids for login, ids in file.slack_users.items()}
    digest = hashlib.sha256(text.encode()).hexdigest()
    lines = tuple(_lines(read, index) for index in range(len(envs)))
    return Config(
        envs=envs,
        unrouted=file.unrouted,
        slack_users=users,
        secrets=frozenset(read.secrets),
        text=text,
        digest=digest,
        source=source,
        lines=lines,
    )


def _lines(read: Source, index: int) -> dict[str, int]:
    """Of the keys that an environment has, and of those at the top of the file."""
    top = {str(path[0]): line for path, (line, _) in read.keys.items() if len(path) == 1}
    own = {
        str(path[2]): line
        for path, (line, _) in read.keys.items()
        if len(path) == 3 and path[:2] == ("envs", index)
    }
    return top | own


def _add_options(read: Source) -> None:
    """A missing `with:` becomes an empty one, so that the handler's model says what is missing."""
    envs = read.value.get("envs") if isinstance(read.value, dict) else None
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        if isinstance(env, dict) and "with" not in env:
            env["with"] = {}
            read.positions["envs", index, "with"] = read.positions["envs", index]


def _with_defaults(
    env: Environment, file: File, notifiers: Notifiers, gates: Sequence[GateKeys]
) -> Environment:
    filled = {name: filled_in(getattr(env, name), getattr(file, name)) for name in notifiers}
    return env.model_copy(update=filled | of_file(env, file, gates))


def _ineffective(
    envs: Iterable[Environment], gates: Sequence[GateKeys], read: Source
) -> Iterator[ConfigError]:
    for index, env in enumerate(envs):
        yield from ineffective(env, index, env.options, gates, read)


def _incomplete(envs: Iterable[Environment], read: Source) -> Iterator[ConfigError]:
    """Destinations that lack something, at their position in the file; each position once."""
    seen: set[Path] = set()
    for index, env in enumerate(envs):
        for name, one in env.destinations():
            own: Path = ("envs", index, name)
            path = own if own in read.positions else (name,)
            if path not in seen and (message := one.incomplete()):
                seen.add(path)
                yield ConfigError(*read.positions[path], path, message)


def _located(errors: list[ConfigError], source: str, read: Source) -> ConfigErrors:
    """Messages of validators may quote the value, and with it a secret that was filled in."""
    safe = (replace(one, message=without(read.secrets, one.message)) for one in sorted(errors))
    return ConfigErrors(f"{source}:{error}" for error in safe)
