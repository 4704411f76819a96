"""What must hold before anything is done that somebody asked for in Slack.

Errors: `NotDone`, with words for that person; `RetryAt` and `UnknownOutcome` where it cannot be
found out now. Where GitHub cannot say whether somebody may do it, they may not.
"""

from http import HTTPStatus
from typing import Literal

import structlog

from webhook.config.environments import Environment
from webhook.config.routing import no_route_message, route
from webhook.engine.services import Services, scope
from webhook.errors import Rejected, UnknownOutcome, UserError
from webhook.github import repositories
from webhook.github.tokens import Scope
from webhook.slack.actions.reasons import not_there, refused_words, unknown
from webhook.slack.identity import login_of, mapped_login, shows_emails
from webhook.store import actions
from webhook.store.actions import Action
from webhook.store.deployments import DeploymentRow

log = structlog.get_logger()

MAY_DEPLOY = ("write", "admin")


class NotDone(UserError):
    """`refused`: it is not allowed, or makes no sense. `failed`: it did not work out."""

    def __init__(self, words: str, outcome: Literal["refused", "failed"] = "refused") -> None:
        super().__init__(words)
        self.outcome = outcome


def require_in_time(services: Services, action: Action) -> None:
    waited = services.clock() - action.at
    if waited > services.timing.action_begins_within:
        minutes = int(waited.total_seconds() / 60)
        words = f"This came too late: it was asked for {minutes} minutes ago, and nothing was done"
        raise NotDone(f"{words}; ask again", "failed")


async def row_of(services: Services, action: Action) -> DeploymentRow:
    row = await services.read(action.deployment_id) if action.deployment_id else None
    if row is None:
        raise NotDone("The relay does not know this deployment any more")
    return row


async def scope_of(services: Services, action: Action) -> Scope:
    """The repository that the action is about."""
    if action.deployment_id is not None:
        return scope(await row_of(services, action))
    try:
        installation = await repositories.installed_at(services.github, action.repo)
    except Rejected as refused:
        if action.claimed:
            raise  # it may have been done
        await _know(services, action, mapped_login(services.people, action.team, action.slack_user))
        if refused.status == HTTPStatus.NOT_FOUND:
            raise NotDone(not_there(action.repo)) from refused
        words = refused_words(refused, action.repo)
        raise NotDone(f"Nothing was done. {words}", "failed") from refused
    return Scope(installation, action.repo, 0)


async def allowed(services: Services, action: Action, repository: Scope) -> str:
    """The GitHub login of who asked; nothing more is to be asked about whether they may."""
    await _require_workspace(services, action.team)
    login = await login_of(services.people, repository, action.team, action.slack_user)
    if not login:
        by_email = await shows_emails(services.people, action.team, action.slack_user)
        raise NotDone(unknown(action, by_email=by_email))
    await _know(services, action, login)
    permission = await _permission(services, repository, login)
    if permission == "none":
        raise NotDone(not_there(repository.repo))
    if permission not in MAY_DEPLOY:
        words = f"{login} may only read {repository.repo}; this needs write permission on GitHub"
        raise NotDone(words)
    return login


async def _require_workspace(services: Services, team: str) -> None:
    """The app may be in workspaces that this relay was not installed in, or not any more."""
    words = "The relay has no good token of this Slack workspace, so nothing was done"
    if services.slack is None:
        raise NotDone(words)
    try:
        await services.slack.of(team)
    except Rejected as refused:
        log.warning("asked for from a workspace without a token", team=team, words=str(refused))
        raise NotDone(words) from refused


async def _know(services: Services, action: Action, login: str) -> None:
    """For the audit, whatever becomes of it."""
    async with services.pool.connection() as connection:
        await actions.know(connection, action.id, login)


async def _permission(services: Services, repository: Scope, login: str) -> str:
    key = (repository.repo.lower(), login.lower())
    known = services.caches.permissions.get(key)
    if known is not None:
        return known
    try:
        found = await repositories.permission(services.github, repository, login)
    except Rejected as refused:
        log.warning("GitHub does not say what somebody may do", words=str(refused))
        words = refused_words(refused, repository.repo)
        raise NotDone(f"Nothing was done. {words}", "failed") from refused
    except UnknownOutcome as trouble:
        log.warning("GitHub does not say what somebody may do", words=str(trouble))
        words = f"GitHub does not say now whether {login} may write to {repository.repo}"
        raise NotDone(f"{words}, so nothing was done; try again in a minute") from trouble
    services.caches.permissions[key] = found
    return found


def routed(services: Services, repo: str, environment: str) -> Environment:
    found = route(services.config, repo, environment)
    if found is None:
        raise NotDone(no_route_message(services.config, repo, environment))
    return found
