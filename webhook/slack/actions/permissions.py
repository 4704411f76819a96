"""Conditions of an action that a person requested in Slack or on a page.

Errors: `Declined`, with a message for that person; `RetryAt` and `UnknownOutcome` where it cannot
be found out now. Where GitHub cannot say whether somebody may do it, they may not.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Literal

import structlog

from webhook.config.environments import Environment
from webhook.config.routing import no_route_message, route
from webhook.deployments.models import Repository
from webhook.engine.locks import LATELY
from webhook.engine.services import scope
from webhook.errors import (
    BAD_APP_KEY,
    LACKS_PERMISSION,
    Rejected,
    RelayError,
    RetryAt,
    UnknownOutcome,
)
from webhook.github import repositories
from webhook.github import users as github_people
from webhook.github.repositories import PERMISSIONS, Access
from webhook.github.tokens import Scope
from webhook.slack.actions.services import ActionServices
from webhook.slack.identity import is_deactivated, login_of, mapped_login, shows_emails
from webhook.store import actions, deployments, environments, repository_names
from webhook.store.actions import COMMAND_LINE, PAGE, ActionRow
from webhook.store.deployments import DeploymentRow

log = structlog.get_logger()

Permission = Literal["admin", "write", "read"]
# It was not confirmed in time.
EXPIRED: Final = "confirmation_expired"
# Why an action is not done.
Code = Literal[
    "too_late",
    "unknown_deployment",
    "unknown_requester",
    "no_access",
    "lacks_permission",
    "no_workspace",
    "no_route",
    "not_possible",
    "confirmation_expired",
    "github_rejected",
    "github_unclear",
    "slack_rejected",
]
_MAY_WRITE = ("admin", "write")
# Repositories in which somebody is looked for.
_MOST_RECENT = 10
_MAY = {"read": "read", "write": "write to"}
_GIVE_PERMISSION = (
    "give the App Deployments: read and write on GitHub, and accept that where it is installed"
)


class Declined(RelayError):
    """An action is not done. `refused`: it is not allowed, or not possible. `failed`: GitHub or
    Slack rejected it."""

    def __init__(
        self, code: Code, message: str, outcome: Literal["refused", "failed"] = "refused"
    ) -> None:
        super().__init__(message, code=code)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorized:
    """`login` has the permission on GitHub; `login_id` is the number of that account, 0 where
    GitHub does not say it. `deployment`: the one whose button was pressed. `default_branch`: ""
    where GitHub was not asked for it."""

    login: str
    login_id: int
    repository: Scope
    deployment: DeploymentRow | None
    default_branch: str = ""

    @property
    def pressed_on(self) -> DeploymentRow:
        assert self.deployment is not None, "the action has no button"
        return self.deployment


async def authorize(services: ActionServices, action: ActionRow, needed: Permission) -> Authorized:
    if action.source == COMMAND_LINE:
        return await _operator(services, action)
    require_in_time(services, action)
    deployment = await _deployment_of(services, action)
    repository, branch = await _repository(services, action, deployment)
    await _require_workspace(services, action)
    login = await login_at_any(services, action, [repository])
    access = await _access(services, repository, login)
    _require_same_account(action, access)
    await _set_login(services, action, login, access.user_id)
    if access.permission == "none":
        await _require_account(services, action, repository, login)
        raise Declined("no_access", no_access(action.repo or repository.repo))
    if PERMISSIONS.index(access.permission) > PERMISSIONS.index(needed):
        message = f"{login} may only {_MAY[access.permission]} {repository.repo}"
        raise Declined("lacks_permission", f"{message}; this needs {needed} permission on GitHub")
    if deployment is not None:
        deployment = await _as_called_now(services, deployment)
        repository = scope(deployment)
    await _set_repository(services, action, repository)
    return Authorized(
        login=login,
        login_id=access.user_id,
        repository=repository,
        deployment=deployment,
        default_branch=branch,
    )


async def _operator(services: ActionServices, action: ActionRow) -> Authorized:
    """Whoever may write to the store may do anything: GitHub is not asked who that is. A new name
    of the repository counts where GitHub says it now."""
    require_in_time(services, action)
    deployment = await _deployment_of(services, action)
    assert deployment is not None, "it is about one"
    with suppress(Declined, RetryAt, UnknownOutcome):
        deployment = await _as_called_now(services, deployment)
    repository = scope(deployment)
    await _set_repository(services, action, repository)
    return Authorized(login=action.login, login_id=0, repository=repository, deployment=deployment)


async def authorize_everywhere(services: ActionServices, action: ActionRow) -> Authorized:
    """For what concerns all repositories: an admin of the relay, or who may write to one of those
    that were deployed to most recently. `repository`: that one."""
    require_in_time(services, action)
    await _require_workspace(services, action)
    repositories = await recent_repositories(services)
    login = await login_at_any(services, action, repositories)
    unclear: Declined | None = None
    for repository in repositories:
        try:
            access = await access_in(services, repository, login)
        except Declined as declined:
            unclear = declined
            continue
        if access.permission in _MAY_WRITE and _is_same_account(action, access):
            await _set_login(services, action, login, access.user_id)
            return _everywhere(login, access.user_id, repository)
    if login.lower() in services.admins:
        return _everywhere(login, 0, Scope(0, "", 0))
    if unclear is not None:
        raise unclear
    who = "somebody who may write to a repository that was deployed to lately"
    message = f"{login} may not stop everything, or let it go on; that is for {who}"
    raise Declined("lacks_permission", f"{message}, or whom GITPLOY_ADMIN_USERS names")


def _everywhere(login: str, login_id: int, repository: Scope) -> Authorized:
    return Authorized(login=login, login_id=login_id, repository=repository, deployment=None)


async def login_at_any(
    services: ActionServices, action: ActionRow, repositories: Sequence[Scope]
) -> str:
    """Of its requester, by what the App may read in any of these. Raises `Declined`."""
    if action.source == PAGE:
        return action.login  # GitHub has said it at the sign-in
    login = mapped_login(services.people, action.team, action.slack_user)
    if login:
        await _set_login(services, action, login)
        await _require_active(services, action)
    for repository in repositories:
        login = login or await login_of(services.people, repository, action.team, action.slack_user)
    if not login:
        by_email = await shows_emails(services.people, action.team, action.slack_user)
        raise Declined("unknown_requester", _how_to_be_known(action, by_email=by_email))
    await _set_login(services, action, login)
    return login


async def recent_repositories(services: ActionServices) -> list[Scope]:
    """Those that were deployed to most recently, the newest first."""
    async with services.pool.connection() as connection:
        lately = await environments.lately_deployed_to(connection, 0, services.clock(), LATELY)
    found = {one.repo_id: one for one in reversed(lately)}
    newest = [found[repo_id] for repo_id in dict.fromkeys(one.repo_id for one in lately)]
    return [Scope(one.installation_id, one.repo, one.repo_id) for one in newest[:_MOST_RECENT]]


async def access_in(services: ActionServices, repository: Scope, login: str) -> Access:
    """Raises `Declined` where GitHub does not say it."""
    return await _access(services, repository, login)


async def _require_active(services: ActionServices, action: ActionRow) -> None:
    """deploy.yml may still have a person whose account was deactivated meanwhile."""
    if await is_deactivated(services.people, action.team, action.slack_user):
        message = "Your account in Slack is deactivated, so nothing was done"
        raise Declined("unknown_requester", message)


def require_in_time(services: ActionServices, action: ActionRow) -> None:
    waited = services.clock() - action.at
    if waited > services.timing.action_begins_within:
        minutes = int(waited.total_seconds() / 60)
        message = f"This was requested {minutes} minutes ago, which is too late; nothing was done"
        raise Declined("too_late", f"{message}. Please try again", "failed")


async def scope_of(services: ActionServices, action: ActionRow) -> Scope:
    """The repository that the action is about."""
    deployment = await _deployment_of(services, action)
    return (await _repository(services, action, deployment))[0]


def routed(services: ActionServices, repo: str, environment: str) -> Environment:
    found = route(services.config, repo, environment)
    if found is None:
        raise Declined("no_route", no_route_message(services.config, repo, environment))
    return found


def rejected(error: Rejected, repo: str, start: str) -> Declined:
    return Declined("github_rejected", f"{start} {rejection(error, repo)}", "failed")


def rejection(error: Rejected, repo: str) -> str:
    """GitHub's no and its remedy; no full stop ends it, because more may follow."""
    reason = str(error).rstrip(". ")
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return no_access(repo)
        case HTTPStatus.GONE:
            return f"{reason}; {repo} takes no deployments any more: check it on GitHub"
        case HTTPStatus.FORBIDDEN if error.code == LACKS_PERMISSION:
            return f"{reason}; {_GIVE_PERMISSION}"
    if error.code == BAD_APP_KEY:
        return f"{reason}; set GITPLOY_GITHUB_PRIVATE_KEY to a new key of this App"
    return reason


def no_access(repo: str) -> str:
    """The same for both, so that it does not reveal which repositories exist."""
    return f"Either the App is not installed in {repo}, or you may not write to it"


async def _deployment_of(services: ActionServices, action: ActionRow) -> DeploymentRow | None:
    """None of a command, which names a repository instead."""
    if action.repo and action.deployment_id is None:
        return None
    row = await services.read(action.deployment_id) if action.deployment_id else None
    if row is None:
        message = "The relay does not know this deployment any more"
        raise Declined("unknown_deployment", message)
    return row


async def _repository(
    services: ActionServices, action: ActionRow, deployment: DeploymentRow | None
) -> tuple[Scope, str]:
    """With its default branch, where GitHub had to be asked for the repository."""
    if deployment is not None:
        return scope(deployment), ""
    github, repo, repo_id = services.github, action.repo, action.repo_id
    try:
        if repo_id:  # whatever has that name now
            return Scope(await repositories.installed_at(github, repo, repo_id), repo, repo_id), ""
        found_scope, found = await repositories.resolve(github, repo)
    except Rejected as error:
        if action.claimed:
            raise  # it may have been done
        login = mapped_login(services.people, action.team, action.slack_user)
        await _set_login(services, action, login)
        if error.status == HTTPStatus.NOT_FOUND:
            raise Declined("no_access", no_access(action.repo)) from error
        raise rejected(error, action.repo, "Nothing was done.") from error
    same = found.full_name.lower() == repo.lower()
    return replace(found_scope, repo=repo) if same else found_scope, found.default_branch


async def _as_called_now(services: ActionServices, row: DeploymentRow) -> DeploymentRow:
    """GitHub's events bring a new name only with the next deployment, and deploy.yml may have it
    already."""
    try:
        found = await repositories.repository(services.github, scope(row))
    except Rejected as error:
        raise rejected(error, row.repo, "Nothing was done.") from error
    if found.full_name == row.repo:
        return row
    named = Repository(row.repo_id, found.full_name, found.url)
    async with services.pool.connection() as connection, connection.transaction():
        current = await repository_names.current(connection, named, services.clock())
        await repository_names.rename(connection, current, row.id)
        return await deployments.read(connection, row.id) or row


async def _set_repository(services: ActionServices, action: ActionRow, found: Scope) -> None:
    if (action.repo, action.repo_id) == (found.repo, found.repo_id):
        return
    async with services.pool.connection() as connection:
        await actions.set_repository(connection, action.id, found.repo, found.repo_id)


async def _require_workspace(services: ActionServices, action: ActionRow) -> None:
    """The app may be in workspaces that this relay was not installed in, or not any more."""
    if action.source == PAGE:
        return
    team = action.team
    message = "The relay has no valid token for this Slack workspace, so nothing was done"
    if services.slack is None:
        raise Declined("no_workspace", message)
    try:
        await services.slack.of(team)
    except Rejected as error:
        log.warning("action requested in a workspace without a token", team=team, error=str(error))
        raise Declined("no_workspace", message) from error


def _is_same_account(action: ActionRow, access: Access) -> bool:
    """A login that its account has given up may be another's by now."""
    return action.source != PAGE or access.user_id == action.login_id


def _require_same_account(action: ActionRow, access: Access) -> None:
    if access.permission != "none" and not _is_same_account(action, access):
        message = f"On GitHub, {action.login} is not the account any more with which you signed in"
        raise Declined("unknown_requester", f"{message}; sign in again")


async def _set_login(
    services: ActionServices, action: ActionRow, login: str, login_id: int = 0
) -> None:
    """For the audit, whatever the outcome."""
    if action.source == PAGE:
        return  # known since it was requested
    async with services.pool.connection() as connection:
        await actions.set_login(connection, action.id, login, login_id)


async def _access(services: ActionServices, repository: Scope, login: str) -> Access:
    key = (repository.repo_id, login.lower())
    known = services.people.caches.permissions.get(key)
    if known is not None:
        return known
    try:
        found = await repositories.access_of(services.github, repository, login)
    except Rejected as error:
        log.warning("no permission from GitHub", error=str(error))
        raise rejected(error, repository.repo, "Nothing was done.") from error
    except UnknownOutcome as error:
        log.warning("no permission from GitHub", error=str(error))
        message = f"GitHub does not say now whether {login} may write to {repository.repo}"
        advice = "so nothing was done; try again in a minute"
        raise Declined("github_unclear", f"{message}, {advice}") from error
    services.people.caches.permissions[key] = found
    return found


async def _require_account(
    services: ActionServices, action: ActionRow, repository: Scope, login: str
) -> None:
    """deploy.yml may have the login from before a rename."""
    people = services.people
    if mapped_login(people, action.team, action.slack_user) != login:
        return
    try:
        known = await github_people.exists(services.github, repository, login)
    except Rejected as error:
        log.info("an account could not be looked up", error=str(error))
        return
    if not known:
        message = f"deploy.yml says that you are {login} on GitHub, which has no such account"
        advice = "if yours was renamed, ask for its new login in slack_users, and a restart"
        raise Declined("unknown_requester", f"{message} (any more); {advice}")


def _how_to_be_known(action: ActionRow, *, by_email: bool) -> str:
    """`by_email`: by the e-mail address too."""
    in_config = (
        "The relay does not know who you are on GitHub. Ask for this line in deploy.yml, with your"
        f" login, and a restart: slack_users: {{YOUR-GITHUB-LOGIN: {action.slack_user}}}"
    )
    if not by_email:
        return in_config
    return (
        f"{in_config}. Or make the e-mail address that you have in Slack public on your GitHub"
        " profile, and try again in a minute"
    )
