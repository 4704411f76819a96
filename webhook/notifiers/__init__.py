"""Who can hear of deployments, by the key that deploy.yml gives them."""

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


# What their destinations look like in deploy.yml.
DESTINATIONS: Mapping[str, type[Destination]] = {
    name: notifier.Destination for name, notifier in NOTIFIERS.items()
}


def title_of(destination: str) -> tuple[str, str]:
    """Of "slack:#deploys": Slack and #deploys, as people are told."""
    name, _, place = destination.partition(":")
    return NOTIFIERS[name].title if name in NOTIFIERS else name, place
