"""The same person in Slack and on GitHub, by deploy.yml's `slack_users`, else by an e-mail
address that both have verified.

Source: docs.slack.dev/reference/methods/users.info and users.lookupByEmail. Both need the scopes
users:read and users:read.email; without them only deploy.yml is used.
Errors: `login_of` raises `RetryAt` and `UnknownOutcome` where it cannot be found out now; a mention
is left out then. A person whom Slack or GitHub rejects to look up is unknown.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import structlog
from cachetools import TTLCache

from webhook.config.environments import Config
from webhook.deployments.announcement import Announcement
from webhook.deployments.notice import DeploymentNotice
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github import users as github_people
from webhook.github.client import GitHub
from webhook.github.repositories import Access
from webhook.github.tokens import Scope
from webhook.slack.client import Slack
from webhook.slack.destination import Destination
from webhook.slack.manifest import EMAIL
from webhook.slack.workspaces import Workspaces
from webhook.store import deployments
from webhook.store.database import AsyncPool
from webhook.timing import Clock, Timing

log = structlog.get_logger()

# Entries of each caches.
MOST = 10_000
# Of those who are asked for an answer; each may have to be looked up.
MOST_MENTIONED = 10

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Caches:
    """Of one process. `members`: (team, T…/U…) -> the same person in that workspace; `logins`:
    (team, user) -> GitHub login; `mentions`: (team, login) -> how Slack mentions that person, empty
    for nobody; `permissions`: (repo_id, login) -> what they may do there. `unknown_…`: not looked
    up again for a while."""

    members: TTLCache[Pair, str, datetime]
    logins: TTLCache[Pair, str, datetime]
    unknown_logins: TTLCache[Pair, str, datetime]
    mentions: TTLCache[Pair, str, datetime]
    unknown_mentions: TTLCache[Pair, str, datetime]
    permissions: TTLCache[tuple[int, str], Access, datetime]

    @classmethod
    def empty(cls, timing: Timing, clock: Clock) -> Self:
        def pairs(during: timedelta) -> TTLCache[Pair, str, datetime]:
            return TTLCache(MOST, during, clock)

        return cls(
            members=pairs(timing.person_cached),
            logins=pairs(timing.person_cached),
            unknown_logins=pairs(timing.nobody_cached),
            mentions=pairs(timing.person_cached),
            unknown_mentions=pairs(timing.nobody_cached),
            permissions=TTLCache(MOST, timing.permission_cached, clock),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """What is needed to look up a person."""

    config: Config
    slack: Workspaces | None
    github: GitHub
    caches: Caches
    timing: Timing


async def known_as(people: People, team: str, user: str) -> str:
    """How that workspace itself knows a user: U… of its members, T…/U… of people of another
    organization.

    In Enterprise Grid a press names the workspace that is the person's own, a command the one in
    which it was typed. Source: docs.slack.dev/enterprise/enterprise-grid, "User IDs".
    """
    if people.slack is None or not _is_foreign(user):
        return user
    known = people.caches.members.get((team, user))
    if known is not None:
        return known
    home, _, plain = user.rpartition("/")
    try:
        profile = await people.slack.using(team, lambda slack: _profile(slack, plain))
    except Rejected as rejection:
        log.info("a person of another workspace in Slack", error=str(rejection))
        return user
    # Their own workspace must agree: others may have another person with that ID.
    is_theirs = _is_member(profile, team) and home in _teams(profile)
    people.caches.members[team, user] = plain if is_theirs else user
    return people.caches.members[team, user]


async def login_of(people: People, scope: Scope, team: str, user: str) -> str:
    """The GitHub login of a Slack user: U… in that workspace, or T…/U… of another one."""
    if login := mapped_login(people, team, user):
        return login
    caches, key = people.caches, (team, user)
    known = caches.logins.get(key, caches.unknown_logins.get(key))
    if known is not None:
        return known
    try:
        login = await _login_by_profile(people, scope, team, user)
    except Rejected as rejection:
        log.warning("a person in Slack cannot be looked up", error=str(rejection))
        return ""
    (caches.logins if login else caches.unknown_logins)[key] = login
    return login


def mapped_login(people: People, team: str, user: str) -> str:
    """By deploy.yml alone."""
    for login, users in people.config.slack_users.items():
        if user in users or f"{team}/{user}" in users:
            return login
    return ""


async def is_deactivated(people: People, team: str, user: str) -> bool:
    """Whether that member of the workspace may use Slack no more; False where nobody knows."""
    if people.slack is None or _is_foreign(user):
        return False
    try:
        profile = await people.slack.using(team, lambda slack: _profile(slack, user))
    except Rejected as rejection:
        log.info("a person in Slack cannot be looked up", error=str(rejection))
        return False
    return bool(profile.get("deleted"))


async def shows_emails(people: People, team: str, user: str) -> bool:
    """Whether that user could be known by their e-mail address."""
    if people.slack is None or _is_foreign(user):
        return False
    try:
        return await people.slack.using(team, _shows_emails)
    except (RetryAt, UnknownOutcome, Rejected):
        return False


async def mention_of(
    people: People, slack: Slack, team: str, login: str, scope: Scope | None = None
) -> str:
    """How Slack mentions that person; empty if unknown, or for a team. Without `scope` only
    deploy.yml is used."""
    for user in people.config.slack_users.get(login.lower(), ()):
        home, _, plain = user.rpartition("/")
        if home in ("", team):
            return f"<@{plain}>"
    caches, key = people.caches, (team, login.lower())
    known = caches.mentions.get(key, caches.unknown_mentions.get(key))
    if known is not None or scope is None or not login:
        return known or ""
    try:
        mention = await _mention_by_email(people, slack, team, login, scope)
    except (RetryAt, UnknownOutcome) as error:
        log.info("a person on GitHub cannot be looked up in Slack", error=str(error))
        caches.unknown_mentions[key] = ""
        return ""
    except Rejected:  # no user has that address there
        mention = ""
    caches.mentions[key] = mention
    return mention


async def _login_by_profile(people: People, scope: Scope, team: str, user: str) -> str:
    if people.slack is None or _is_foreign(user):
        return ""
    profile = await people.slack.using(team, lambda slack: _profile(slack, user))
    if not _is_member(profile, team):
        return ""
    for other in _teams(profile):  # deploy.yml may have their own workspace
        if login := mapped_login(people, other, user):
            return login
    email = _email_of(profile)
    return await github_people.login_of(people.github, scope, email) if email else ""


async def _profile(slack: Slack, user: str) -> Mapping[str, Any]:
    """Empty where the scope for it is not granted."""
    scopes = (await slack.bot()).scopes
    if scopes is not None and "users:read" not in scopes:
        return {}
    response = await slack.call(lambda: slack.client.users_info(user=user))
    found: Mapping[str, Any] = response["user"]
    return found


def _email_of(profile: Mapping[str, Any]) -> str:
    """Only one that is known to be theirs."""
    if profile.get("is_email_confirmed") is not True:
        return ""
    return str(profile.get("profile", {}).get("email") or "")


async def _mention_by_email(
    people: People, slack: Slack, team: str, login: str, scope: Scope
) -> str:
    if not await _shows_emails(slack):
        return ""
    email = await github_people.email_of(people.github, scope, login)
    if not email:
        return ""
    response = await slack.call(lambda: slack.client.users_lookupByEmail(email=email))
    user = response["user"]
    confirmed = user.get("is_email_confirmed") is not False
    return f"<@{user['id']}>" if confirmed and _is_member(user, team) else ""


def _is_foreign(user: str) -> bool:
    """The e-mail addresses of another workspace are not trusted."""
    return "/" in user


async def _shows_emails(slack: Slack) -> bool:
    return ((await slack.bot()).scopes or frozenset()) >= EMAIL


def _is_member(user: Mapping[str, Any], team: str) -> bool:
    """An active person of this workspace."""
    others = ("deleted", "is_bot", "is_stranger", "is_workflow_bot", "is_connector_bot")
    return team in _teams(user) and not any(user.get(name) for name in others)


def _teams(user: Mapping[str, Any]) -> set[str]:
    """The workspaces of a user: in Enterprise Grid there may be several."""
    grid = user.get("enterprise_user") or {}
    return {str(user.get("team_id")), *grid.get("teams", ())}


_GROUP_ID = re.compile(r"S[A-Z0-9]{6,}")


@dataclass(frozen=True, slots=True)
class Mention:
    """`by_name`: Slack is to make a mention of a plain @name."""

    text: str = ""
    by_name: bool = False


async def mention(
    people: People,
    workspaces: Workspaces,
    pool: AsyncPool,
    destination: Destination,
    notice: DeploymentNotice,
    *,
    asks: bool,
) -> Mention:
    """`asks`: of those who are asked for an answer, if anybody is."""
    mentioned = destination.mentions or "author"
    if mentioned == "none":
        return Mention()
    asked = notice.asks if asks else ()
    concerned = asked[:MOST_MENTIONED] or (notice.requested_by,)
    if mentioned != "author" and not asked:
        return _group(mentioned.removeprefix("@"))
    try:
        slack = await workspaces.of(destination.workspace or "")
        async with asyncio.timeout(people.timing.details_within.total_seconds()):
            team = (await slack.bot()).team
            scope = await _scope(pool, notice.deployment_id)
            found = [await mention_of(people, slack, team, who, scope) or who for who in concerned]
    # The post itself reports the error.
    except (Rejected, RetryAt, UnknownOutcome, TimeoutError):
        found = list(concerned)
    return Mention(" ".join(found))


async def mentions(
    people: People,
    workspaces: Workspaces,
    pool: AsyncPool,
    destination: Destination,
    announcement: Announcement,
) -> Mention:
    """Of all whom it concerns. Who cannot be mentioned is named, unless the text does so."""
    logins = announcement.mentions
    found: dict[str, str] = {}
    if logins and destination.mentions != "none":
        with suppress(Rejected, RetryAt, UnknownOutcome, TimeoutError):
            slack = await workspaces.of(destination.workspace or "")
            async with asyncio.timeout(people.timing.details_within.total_seconds()):
                team = (await slack.bot()).team
                scope = await _any_scope(pool)
                for login in logins:
                    found[login] = await mention_of(people, slack, team, login, scope)
    text = announcement.text.lower()
    shown = (found.get(one) or ("" if one.lower() in text else one) for one in logins)
    return Mention(" ".join(one for one in shown if one))


async def _any_scope(pool: AsyncPool) -> Scope | None:
    """For GitHub's API, where any repository will do."""
    async with pool.connection() as connection:
        row = await deployments.newest(connection)
    return None if row is None else Scope(row.installation_id, row.repo, row.repo_id)


async def _scope(pool: AsyncPool, deployment_id: int) -> Scope | None:
    """For GitHub's API, of the deployment's repository."""
    async with pool.connection() as connection:
        row = await deployments.read(connection, deployment_id)
    return None if row is None else Scope(row.installation_id, row.repo, row.repo_id)


def _group(name: str) -> Mention:
    if name in ("here", "channel"):
        return Mention(f"<!{name}>")
    if _GROUP_ID.fullmatch(name):
        return Mention(f"<!subteam^{name}>")
    return Mention(f"@{name}", by_name=True)
