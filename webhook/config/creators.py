"""Whose deployments an environment takes.

Apps that deploy by themselves (Vercel, GitHub Pages) create deployments on GitHub to show what they
did. Their own statuses follow, so that the relay must neither run anything nor write an error.

Source: docs.github.com/rest/deployments/deployments: `creator`, `performed_via_github_app`.
"""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from webhook.config.errors import invalid
from webhook.deployments.models import GitHubDeployment

PEOPLE = "people"
ANYBODY = "*"
# A workflow that calls the API with its GITHUB_TOKEN wants the deployment to be carried out.
DEFAULT_CREATORS = (PEOPLE, "github-actions")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")


def _creator(value: str) -> str:
    if value != ANYBODY and not _NAME.fullmatch(value):
        text = "is neither a GitHub login nor the name of an App in its URL (vercel)"
        raise invalid(f"{text}; write people for all people, * for anybody")
    return value


CreatorName = Annotated[str, AfterValidator(_creator)]


def leaves_people_out(creators: Sequence[str]) -> bool:
    return not {PEOPLE, ANYBODY} & {name.lower() for name in creators}


def takes(creators: Sequence[str], deployment: GitHubDeployment) -> bool:
    """Upper and lower case are alike, as in GitHub's logins."""
    names = {name.lower() for name in creators}
    login = deployment.creator.lower()
    known = {ANYBODY, login}
    if deployment.app is not None or deployment.creator_type == "Bot":
        slug = deployment.app.slug if deployment.app else ""
        known |= {slug.lower(), login.removesuffix("[bot]")}
    else:
        known.add(PEOPLE)
    return bool(names & (known - {""}))


def left_alone_message(deployment: GitHubDeployment) -> str:
    """Why nothing happens; an operator finds it in the list of deliveries."""
    name = deployment.app.slug if deployment.app else deployment.creator
    kind = "the App" if deployment.app or deployment.creator_type == "Bot" else "the user"
    return (
        f"created by {kind} '{name}', whose deployments are left alone: the environment's"
        " 'creators' in deploy.yml do not name it"
    )
