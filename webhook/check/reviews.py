"""Reviews and break_glass in deploy.yml: whether people and teams exist, the App may see who is in
these, and enough people may approve."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from webhook.check import Finding
from webhook.check.github import covers
from webhook.config.environments import Config, Environment
from webhook.errors import RelayError
from webhook.gates.approval import review_of
from webhook.github.client import GitHub, Installation
from webhook.github.teams import Team, size
from webhook.github.tokens import Scope
from webhook.github.users import exists

_SUBJECT = "review"


async def check_reviews(github: GitHub, config: Config | None) -> list[Finding]:
    environments = [env for env in config.envs if _names_people(env)] if config else []
    if not environments:
        return []
    try:
        installations = [one for one in await github.installations() if not one.suspended]
    except RelayError:
        return []  # the check of GitHub says that
    by_account = {one.account.lower(): one for one in installations}
    every = (team for env in environments for team in _teams(env, installations))
    teams = list(dict.fromkeys(every))
    found = dict(
        zip(
            teams,
            await asyncio.gather(*(_size(github, by_account, team) for team in teams)),
            strict=True,
        )
    )
    errors = [one for one in found.values() if isinstance(one, Finding)]
    sizes = {team: one for team, one in found.items() if isinstance(one, int)}
    unknown = await _unknown(github, environments, installations)
    few = [one for env in environments for one in _too_few(env, installations, sizes)]
    names = ", ".join(env.name for env in environments)
    return [*errors, *unknown, *few] or [Finding("ok", _SUBJECT, names)]


def _names_people(env: Environment) -> bool:
    return review_of(env).enabled or bool(env.break_glass)


def _reviewers(env: Environment) -> tuple[str, ...]:
    return review_of(env).reviewers if review_of(env).enabled else ()


async def _unknown(
    github: GitHub, environments: Sequence[Environment], installations: Sequence[Installation]
) -> list[Finding]:
    """Logins that no account has: nobody could answer, or break the glass, as that person."""
    named = {
        one.lower(): one
        for env in environments
        for one in (*_reviewers(env), *env.break_glass)
        if "/" not in one
    }
    if not installations:
        return []
    scope = Scope(installations[0].id, "", 0)
    found = await asyncio.gather(*(_may_exist(github, scope, one) for one in named.values()))
    return [
        Finding("error", _SUBJECT, f"GitHub has no account '{login}'; correct it in deploy.yml")
        for login, known in zip(named.values(), found, strict=True)
        if not known
    ]


async def _may_exist(github: GitHub, scope: Scope, login: str) -> bool:
    try:
        return await exists(github, scope, login)
    except RelayError:
        return True  # nobody knows now


def _teams(env: Environment, installations: Sequence[Installation]) -> Iterator[Team]:
    yield from _review_teams(env, installations)
    yield from (Team.named(one, "") for one in env.break_glass if "/" in one)


def _review_teams(env: Environment, installations: Iterable[Installation]) -> Iterator[Team]:
    """Of each owner whose repositories the environment has."""
    review = review_of(env)
    for name in review.teams if review.enabled else ():
        owners = [one.account for one in installations if covers(env, one.account)]
        for owner in [""] if "/" in name else owners:
            yield Team.named(name, f"{owner}/")


async def _size(
    github: GitHub, installations: Mapping[str, Installation], team: Team
) -> int | Finding:
    installation = installations.get(team.organization.lower())
    if installation is None:
        message = f"team {team}: the App is not installed in {team.organization}"
        return Finding("error", _SUBJECT, message)
    if "members" not in installation.permissions:
        message = (
            f"team {team}: the App may not see who is in it; give it the organization permission"
            f" Members: read, which {team.organization} accepts at {installation.page}"
        )
        return Finding("error", _SUBJECT, message)
    try:
        found = await size(github, Scope(installation.id, "", 0), team)
    except RelayError as error:
        return Finding("note", _SUBJECT, f"team {team} could not be read: {error}")
    if found is None:
        message = f"team {team}: GitHub shows the App no such team; write it as in its page's URL"
        return Finding("error", _SUBJECT, message)
    return found


def _too_few(
    env: Environment, installations: Sequence[Installation], sizes: Mapping[Team, int]
) -> Iterator[Finding]:
    review, teams = review_of(env), list(_review_teams(env, installations))
    if not review.enabled or any(team not in sizes for team in teams):
        return  # that is an error of its own
    people = len(review.people) + sum(sizes[team] for team in teams)
    count = f"{review.count} must approve"
    if people < review.count:
        message = f"{env.name}: {count}, and only {people} may; name more people"
        yield Finding("error", _SUBJECT, message)
    elif people == review.count and not review.own:
        message = f"{env.name}: {count}, and just {people} may: {_refused(env)}"
        yield Finding("note", _SUBJECT, f"{message}; name more people")


def _refused(env: Environment) -> str:
    them = "that person asks" if review_of(env).count == 1 else "one of them asks"
    if env.break_glass:
        return f"what {them} for waits for an override, and so does what a bot creates"
    return f"what {them} for is refused, and so is what a bot creates"
