"""What people can request in Slack: a class for each action, and a line here.

In this order, which never changes under somebody's finger, the buttons stand below a message.
"""

from webhook.slack.actions.cancel import Cancel
from webhook.slack.actions.contract import Action, Actions
from webhook.slack.actions.deploy import Deploy
from webhook.slack.actions.explain import Explain
from webhook.slack.actions.list_locks import ListLocks
from webhook.slack.actions.locks import (
    Lock,
    LockAfterRollback,
    TakeOverLock,
    TakeOverUnlock,
    Unlock,
    UnlockButton,
)
from webhook.slack.actions.modal import OpenForm
from webhook.slack.actions.override import OpenOverrideForm, Override
from webhook.slack.actions.promote import Promote, PromoteByName
from webhook.slack.actions.reject import Reject
from webhook.slack.actions.retry import Retry
from webhook.slack.actions.review import Approve
from webhook.slack.actions.rollback import Rollback
from webhook.slack.actions.status import Status
from webhook.slack.actions.stop import Go, Stop, TakeOverGo, TakeOverStop

__all__ = ["ACTIONS", "Action", "Actions", "registry"]


def registry(*actions: Action) -> Actions:
    return {action.name: action for action in actions}


ACTIONS = registry(
    Approve(),
    Reject(),
    Cancel(),
    OpenOverrideForm(),
    Promote(),
    Retry(),
    Rollback(),
    Deploy(),
    PromoteByName(),
    Override(),
    Status(),
    Explain(),
    Lock(),
    TakeOverLock(),
    Unlock(),
    TakeOverUnlock(),
    Stop(),
    TakeOverStop(),
    Go(),
    TakeOverGo(),
    ListLocks(),
    UnlockButton(),
    LockAfterRollback(),
    OpenForm(),
)
