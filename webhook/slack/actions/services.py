"""What the job of an action needs besides what every job needs."""

from dataclasses import dataclass

from webhook.engine.services import Services
from webhook.slack.identity import People
from webhook.slack.response_url import Replies
from webhook.slack.workspaces import Workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionServices(Services):
    """`slack`: None where no token of Slack is set. `admins`: GitHub logins, in lower case, of
    those who may stop everything."""

    slack: Workspaces | None
    people: People
    replies: Replies
    admins: frozenset[str]
