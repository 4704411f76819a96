"""Environments that are deployed by themselves (`auto_deploy_on`): what they need for that."""

from collections.abc import Iterable, Iterator

from webhook.config.creation import payload_of
from webhook.config.environments import Environment
from webhook.config.patterns import full_ref_error
from webhook.config.source import ConfigError, Path, Source
from webhook.deployments.locks import is_pattern


def errors_of_automatic(envs: Iterable[Environment], read: Source) -> Iterator[ConfigError]:
    for index, environment in enumerate(envs):
        if environment.auto_deploy_on and (message := _error(environment)):
            path: Path = ("envs", index, "auto_deploy_on")
            yield ConfigError(*read.keys[path], path, message)


def _error(environment: Environment) -> str:
    """ "" without one."""
    if is_pattern(environment.name):
        return (
            f"needs one environment, and '{environment.name}' stands for many; write an entry"
            " with the whole name before this one, and have it there"
        )
    for pattern in environment.auto_deploy_on:
        if error := full_ref_error(pattern):
            return error
    try:
        payload_of(environment, {})
    except ValueError as error:
        return (
            f"leaves nobody to give the inputs of dynamic_payload: {error}; give each required one"
            " a default, or remove this"
        )
    return ""
