"""What people can request in Slack: a class for each action, and a line here.

In this order, which never changes under somebody's finger, the buttons stand below a message.
"""

from webhook.slack.actions.cancel import Cancel
from webhook.slack.actions.contract import Action, Actions
from webhook.slack.actions.deploy import Deploy
from webhook.slack.actions.modal import OpenForm
from webhook.slack.actions.override import OpenOverrideForm, Override
from webhook.slack.actions.retry import Retry
from webhook.slack.actions.rollback import Rollback
from webhook.slack.actions.status import Status

__all__ = ["ACTIONS", "Action", "Actions", "registry"]


def registry(*actions: Action) -> Actions:
    return {action.name: action for action in actions}


ACTIONS = registry(
    Cancel(),
    OpenOverrideForm(),
    Retry(),
    Rollback(),
    Deploy(),
    Override(),
    Status(),
    OpenForm(),
)
