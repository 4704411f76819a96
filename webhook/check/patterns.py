"""Patterns in deploy.yml that are found in more refs than they seem to be."""

from collections.abc import Iterator

from webhook.check import Finding
from webhook.config.environments import Config, Environment
from webhook.config.patterns import warning_of
from webhook.gates.deployable_ref import deployable_refs


def check_patterns(config: Config) -> list[Finding]:
    return [
        Finding("note", "deploy.yml", f"{env.name}: {key} {pattern} {warning}")
        for env in config.envs
        for key, pattern in _patterns(env)
        if (warning := warning_of(pattern))
    ]


def _patterns(env: Environment) -> Iterator[tuple[str, str]]:
    yield from (("deployable_ref", one) for one in deployable_refs(env))
    yield from (("auto_deploy_on", one) for one in env.auto_deploy_on)
