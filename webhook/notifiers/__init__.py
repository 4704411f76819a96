"""Who can hear of deployments, by the key that deploy.yml gives them."""

from collections.abc import Mapping

from webhook.config.destinations import Destination
from webhook.notifiers.contract import Notifier
from webhook.slack.destination import Destination as SlackDestination

NOTIFIERS: Mapping[str, type[Notifier]] = {}

# What their destinations look like in deploy.yml.
DESTINATIONS: Mapping[str, type[Destination]] = {
    "slack": SlackDestination,
    **{name: notifier.Destination for name, notifier in NOTIFIERS.items()},
}
