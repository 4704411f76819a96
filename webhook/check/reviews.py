"""Reviews in deploy.yml: whether the teams exist, the App may see who is in them, and enough people
may approve."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from webhook.check import Finding
from webhook.check.github import covers
from webhook.config.environments import Config, Environment
from webhook.errors import RelayError
from webhook.gates.approval import Review, review_of
from webhook.github.client import GitHub, Installation
from webhook.github.teams import Team, size
from webhook.github.tokens import Scope

_SUBJECT = "review"


async def check_reviews(github: GitHub, config: Config | None) -> list[Finding]:
    reviewed = [env for env in config.envs if review_of(env).enabled] if config else []
    if not reviewed:
        return []
    try:
        installations = [one for one in await github.installations() if not one.suspended]
    except RelayError:
        return []  # the check of GitHub says that
    by_account = {one.account.lower(): one for one in installations}
    teams = list(dict.fromkeys(team for env in reviewed for team in _teams(env, installations)))
    found = dict(
        zip(
            teams,
            await asyncio.gather(*(_size(github, by_account, team) for team in teams)),
            strict=True,
        )
    )
    errors = [one for one in found.values() if isinstance(one, Finding)]
    sizes = {team: one for team, one in found.items() if isinstance(one, int)}
    few = [one for env in reviewed for one in _too_few(env, installations, sizes)]
    return [*errors, *few] or [Finding("ok", _SUBJECT, ", ".join(env.name for env in reviewed))]


def _teams(env: Environment, installations: Iterable[Installation]) -> Iterator[Team]:
    """Of each owner whose repositories the environment has."""
    for name in review_of(env).teams:
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
    review, teams = review_of(env), list(_teams(env, installations))
    if any(team not in sizes for team in teams):
        return  # that is an error of its own
    people = len(review.people) + sum(sizes[team] for team in teams)
    count = f"{review.count} must approve"
    if people < review.count:
        message = f"{env.name}: {count}, and only {people} may; name more people"
        yield Finding("error", _SUBJECT, message)
    elif people == review.count and not review.own:
        message = f"{env.name}: {count}, and just {people} may: {_refused(review)}"
        yield Finding("note", _SUBJECT, f"{message}; name more people")


def _refused(review: Review) -> str:
    them = "that person asks" if review.count == 1 else "one of them asks"
    return f"what {them} for is refused, and so is what a bot creates"
