"""Notifiers: each sends the messages of deployments to one kind of destination.

`NOTIFIERS` has them by their key in deploy.yml.
"""

from collections.abc import Mapping

from webhook.config.destinations import Destination
from webhook.notifiers.contract import Notifier
from webhook.notifiers.discord import Discord
from webhook.notifiers.slack import SlackNotifier
from webhook.notifiers.webhook import Webhook

NOTIFIERS: Mapping[str, type[Notifier]] = {
    "slack": SlackNotifier,
    "discord": Discord,
    "webhook": Webhook,
}


# The models of their destinations in deploy.yml.
DESTINATIONS: Mapping[str, type[Destination]] = {
    name: notifier.Destination for name, notifier in NOTIFIERS.items()
}


def title_of(destination: str) -> tuple[str, str]:
    """Of "slack:#deploys": Slack and #deploys, as people read it."""
    name, _, address = destination.partition(":")
    return NOTIFIERS[name].title if name in NOTIFIERS else name, address
