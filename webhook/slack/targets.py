"""Which channels are to hear of a deployment."""

from dataclasses import dataclass

from webhook.config.load import Config, Environment
from webhook.config.routing import holds, route
from webhook.slack.destination import Destination, destinations_of
from webhook.store.deployments import DeploymentRow


@dataclass(frozen=True, slots=True)
class Target:
    """A channel, as deploy.yml names it. `living`: it has the one message of a deployment, kept up
    to date; else it hears of failures only. `name` is unique among all workspaces."""

    name: str
    channel: str
    living: bool
    destination: Destination


def targets(config: Config, row: DeploymentRow) -> list[Target]:
    environment = route(config, row.repo, row.environment)
    return targets_in(environment, row.repo) if environment else []


def targets_in(environment: Environment, repo: str) -> list[Target]:
    """Each channel once, whatever names it; the first that names it counts."""
    found: dict[str, Target] = {}
    for living in (True, False):
        for one in destinations_of(environment):
            channel = one.channel if living else one.failures
            if channel and (one.repos is None or holds(one.repos, repo)):
                name = one.name(channel)
                found.setdefault(name, Target(name, channel, living, one))
    return list(found.values())
