"""What GitHub has of deployments already: their statuses, and newer ones.

Source: docs.github.com/rest/deployments/statuses#list-deployment-statuses and
docs.github.com/rest/deployments/deployments#list-deployments: the newest first, a hundred a page.
Errors: those of `GitHub`.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from webhook.deployments.models import GitHubDeployment
from webhook.errors import UnknownOutcome
from webhook.github.client import GitHub
from webhook.github.events import DeploymentStatus, storable
from webhook.github.tokens import Scope

_STATUSES = TypeAdapter(list[DeploymentStatus])
_DEPLOYMENT = TypeAdapter(GitHubDeployment)


async def statuses_of(github: GitHub, scope: Scope, deployment_id: int) -> list[DeploymentStatus]:
    """The newest hundred, the newest first."""
    path = f"/repos/{scope.repo}/deployments/{deployment_id}/statuses?per_page=100"

    def read(found: Any) -> list[DeploymentStatus]:
        return sorted(_STATUSES.validate_python(storable(found)), key=lambda one: -one.id)

    return await github.request(scope, "GET", path, read)


async def newest_after(
    github: GitHub,
    scope: Scope,
    deployment: GitHubDeployment,
    counts: Callable[[GitHubDeployment], bool],
) -> int:
    """The newest one of its environment that was created after it and `counts`, whatever its task:
    a rollback has another one. 0 if there is none among the newest hundred."""
    query = urlencode({"environment": deployment.environment, "per_page": 100})
    path = f"/repos/{scope.repo}/deployments?{query}"

    def read(found: Any) -> int:
        every = map(as_deployment, as_list(found))
        newer = (one for one in every if one and one.id > deployment.id)
        return max((one.id for one in newer if counts(one)), default=0)

    return await github.request(scope, "GET", path, read)


def as_list(document: Any) -> list[dict[str, Any]]:
    """Raises `UnknownOutcome` for what is none: it must not be taken for an empty one."""
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise UnknownOutcome("GitHub gave no clear response (no list)")
    return document


def as_deployment(document: Any) -> GitHubDeployment | None:
    """None for one that has not what every deployment has."""
    try:
        return _DEPLOYMENT.validate_python(storable(document))
    except ValidationError:
        return None
