"""What an installation of the App has: its repositories, and their deployments.

Source: docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation
and docs.github.com/rest/deployments/deployments#list-deployments, the newest first; "Use
conditional requests if appropriate" in the best practices: a 304 counts against no limit.
Errors: those of `GitHub`. One token serves all repositories of the installation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhook.deployments.models import GitHubDeployment
from webhook.github.client import GitHub, Installation
from webhook.github.deployment_history import as_deployment, as_list
from webhook.github.tokens import Scope
from webhook.github.transport import NOT_MODIFIED

PAGE = 100
MOST_REPOSITORIES = 10_000


@dataclass(frozen=True, slots=True)
class ListedRepository:
    """`url`: its page. `writable`: deployments there can get a status."""

    installation_id: int
    id: int
    full_name: str
    url: str
    writable: bool


@dataclass(frozen=True, slots=True)
class ListedDeployment:
    """`document`: as GitHub shows it."""

    deployment: GitHubDeployment
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListPage:
    """`etag`: "" if it has none. `last`: there are no older ones."""

    deployments: tuple[ListedDeployment, ...]
    etag: str
    last: bool


def may_list(installation: Installation) -> bool:
    granted = installation.permissions.get("deployments") in ("read", "write")
    return granted and not installation.suspended


async def repositories_of(github: GitHub, installation_id: int) -> list[ListedRepository]:
    """At most `MOST_REPOSITORIES`."""
    found: list[ListedRepository] = []

    def read(document: Any) -> list[ListedRepository]:
        return [_repository(installation_id, one) for one in document["repositories"]]

    scope = Scope(installation_id, "", 0).only(metadata="read")
    for number in range(1, MOST_REPOSITORIES // PAGE + 1):
        path = f"/installation/repositories?per_page={PAGE}&page={number}"
        some = await github.request(scope, "GET", path, read)
        found += some
        if len(some) < PAGE:
            break
    return found


def _repository(installation_id: int, document: Mapping[str, Any]) -> ListedRepository:
    return ListedRepository(
        installation_id=installation_id,
        id=int(document["id"]),
        full_name=str(document["full_name"]),
        url=str(document["html_url"]),
        writable=not (document.get("archived") or document.get("disabled")),
    )


def _scope(repository: ListedRepository) -> Scope:
    return Scope(repository.installation_id, "", 0).only(deployments="read")


async def deployments_page(
    github: GitHub, repository: ListedRepository, number: int, etag: str = ""
) -> ListPage | None:
    """None: it is still the page that had `etag`."""
    path = f"/repos/{repository.full_name}/deployments?per_page={PAGE}&page={number}"
    document, new_etag = await github.get_if_changed(_scope(repository), path, etag)
    if document is NOT_MODIFIED:
        return None
    listed = as_list(document)
    parsed = ((as_deployment(one), one) for one in listed)
    found = tuple(ListedDeployment(one, raw) for one, raw in parsed if one is not None)
    return ListPage(found, new_etag, last=len(listed) < PAGE)


async def has_status(github: GitHub, repository: ListedRepository, deployment_id: int) -> bool:
    path = f"/repos/{repository.full_name}/deployments/{deployment_id}/statuses?per_page=1"
    return await github.request(_scope(repository), "GET", path, lambda found: bool(as_list(found)))
