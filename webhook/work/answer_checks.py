"""What must hold before anything is done that somebody asked for in Slack.

Errors: `NotDone`, with words for that person; `Later` and `Unsure` where it cannot be found out
now. Where GitHub cannot say whether somebody may do it, they may not.
"""

from datetime import timedelta
from typing import Literal

import structlog

from webhook.deployments.config import Environment
from webhook.deployments.route import no_route_words, route
from webhook.errors import UserError
from webhook.outbound import github_repository
from webhook.outbound.app_tokens import Scope
from webhook.outbound.trouble import Refused, Unsure
from webhook.store import actions
from webhook.store.actions import Action
from webhook.store.deployments import DeploymentRow
from webhook.work.clock import now
from webhook.work.people import login_of
from webhook.work.recall import PERMISSION
from webhook.work.relay import Relay, scope

log = structlog.get_logger()

# What was not begun by then is not begun any more: nobody expects it.
TOO_LATE = timedelta(minutes=10)
MAY_DEPLOY = ("write", "admin")


class NotDone(UserError):
    """`refused`: it is not allowed, or makes no sense. `failed`: it did not work out."""

    def __init__(self, words: str, outcome: Literal["refused", "failed"] = "refused") -> None:
        super().__init__(words)
        self.outcome = outcome


def require_in_time(action: Action) -> None:
    if now() > action.at + TOO_LATE:
        minutes = int((now() - action.at).total_seconds() / 60)
        words = f"This came too late: it was asked for {minutes} minutes ago, and nothing was done"
        raise NotDone(f"{words}; ask again", "failed")


async def row_of(relay: Relay, action: Action) -> DeploymentRow:
    row = await relay.read(action.deployment_id) if action.deployment_id else None
    if row is None:
        raise NotDone("The relay does not know this deployment any more")
    return row


async def scope_of(relay: Relay, action: Action) -> Scope:
    """The repository that the action is about."""
    if action.deployment_id is not None:
        return scope(await row_of(relay, action))
    try:
        installation = await github_repository.installed_at(relay.github, action.repo)
    except Refused as refused:
        raise NotDone(_not_there(action.repo)) from refused
    return Scope(installation, action.repo, 0)


async def allowed(relay: Relay, action: Action, repository: Scope) -> str:
    """The GitHub login of who asked; nothing more is to be asked about whether they may."""
    login = await login_of(relay, repository, action.team, action.slack_user)
    if not login:
        raise NotDone(_unknown(action))
    async with relay.pool.connection() as connection:
        await actions.know(connection, action.id, login)
    permission = await _permission(relay, repository, login)
    if permission == "none":
        raise NotDone(_not_there(repository.repo))
    if permission not in MAY_DEPLOY:
        words = f"{login} may only read {repository.repo}; this needs write permission on GitHub"
        raise NotDone(words)
    return login


async def _permission(relay: Relay, repository: Scope, login: str) -> str:
    key = (repository.repo.lower(), login.lower())
    known = relay.recall.permissions.get(key)
    if known is not None:
        return known
    try:
        found = await github_repository.permission(relay.github, repository, login)
    except (Unsure, Refused) as trouble:
        log.warning("GitHub does not say what somebody may do", words=str(trouble))
        words = f"GitHub does not say now whether {login} may write to {repository.repo}"
        raise NotDone(f"{words}, so nothing was done; try again in a minute") from trouble
    relay.recall.permissions.keep(key, found, PERMISSION)
    return found


def routed(relay: Relay, repo: str, environment: str) -> Environment:
    found = route(relay.config, repo, environment)
    if found is None:
        raise NotDone(no_route_words(relay.config, repo, environment))
    return found


def _unknown(action: Action) -> str:
    return (
        "The relay does not know who you are on GitHub. Have this put into deploy.yml, with your"
        f" login: slack_users: {{YOUR-GITHUB-LOGIN: {action.slack_user}}}. Or, if the Slack app may"
        " read e-mail addresses (users:read.email), show the address that you have in Slack on"
        " your GitHub profile, and ask again in a minute"
    )


def _not_there(repo: str) -> str:
    """The same words for both, so that they do not tell what there is."""
    return f"Either the App is not installed in {repo}, or you may not write to it"
