"""Who can hear of deployments, by the key that deploy.yml gives them."""

from collections.abc import Mapping

from webhook.notifiers.contract import Notifier

NOTIFIERS: Mapping[str, type[Notifier]] = {}
