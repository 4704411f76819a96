"""What must hold before anything is done that somebody asked for in Slack.

Errors: `NotDone`, with words for that person; `Later` and `Unsure` where it cannot be found out
now. Where GitHub cannot say whether somebody may do it, they may not.
"""

from datetime import timedelta
from http import HTTPStatus
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
from webhook.work.answer_words import not_there, refused_words, unknown
from webhook.work.clock import now
from webhook.work.people import login_of, mapped_login, shows_emails
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
        if action.claimed:
            raise  # it may have been done
        await _know(relay, action, mapped_login(relay, action.team, action.slack_user))
        if refused.status == HTTPStatus.NOT_FOUND:
            raise NotDone(not_there(action.repo)) from refused
        words = refused_words(refused, action.repo)
        raise NotDone(f"Nothing was done. {words}", "failed") from refused
    return Scope(installation, action.repo, 0)


async def allowed(relay: Relay, action: Action, repository: Scope) -> str:
    """The GitHub login of who asked; nothing more is to be asked about whether they may."""
    await _require_workspace(relay, action.team)
    login = await login_of(relay, repository, action.team, action.slack_user)
    if not login:
        by_email = await shows_emails(relay, action.team, action.slack_user)
        raise NotDone(unknown(action, by_email=by_email))
    await _know(relay, action, login)
    permission = await _permission(relay, repository, login)
    if permission == "none":
        raise NotDone(not_there(repository.repo))
    if permission not in MAY_DEPLOY:
        words = f"{login} may only read {repository.repo}; this needs write permission on GitHub"
        raise NotDone(words)
    return login


async def _require_workspace(relay: Relay, team: str) -> None:
    """The app may be in workspaces that this relay was not installed in, or not any more."""
    words = "The relay has no good token of this Slack workspace, so nothing was done"
    if relay.slack is None:
        raise NotDone(words)
    try:
        await relay.slack.of(team)
    except Refused as refused:
        log.warning("asked for from a workspace without a token", team=team, words=str(refused))
        raise NotDone(words) from refused


async def _know(relay: Relay, action: Action, login: str) -> None:
    """For the audit, whatever becomes of it."""
    async with relay.pool.connection() as connection:
        await actions.know(connection, action.id, login)


async def _permission(relay: Relay, repository: Scope, login: str) -> str:
    key = (repository.repo.lower(), login.lower())
    known = relay.recall.permissions.get(key)
    if known is not None:
        return known
    try:
        found = await github_repository.permission(relay.github, repository, login)
    except Refused as refused:
        log.warning("GitHub does not say what somebody may do", words=str(refused))
        words = refused_words(refused, repository.repo)
        raise NotDone(f"Nothing was done. {words}", "failed") from refused
    except Unsure as trouble:
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
