"""A repository on GitHub: the App's installation in it, its name and branch, people's permissions.

Source: docs.github.com/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app,
docs.github.com/rest/collaborators/collaborators, docs.github.com/rest/commits/commits#get-a-commit.
Errors: those of `GitHub`. Needs the permission metadata: read, which every App has.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from webhook.errors import NOT_INSTALLED, Forbidden, Rejected, UnknownOutcome
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.github.transport import NOT_MODIFIED
from webhook.github.users import is_login

PERMISSIONS = ("admin", "write", "read", "none")
# A name of dots would change the path.
_NAME = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,100}"
_FULL_NAME = re.compile(f"{_NAME}/{_NAME}")


@dataclass(frozen=True, slots=True)
class Repository:
    """`full_name`: as GitHub spells it, after renames too."""

    id: int
    default_branch: str
    full_name: str
    url: str


def is_full_name(text: str) -> bool:
    """OWNER/NAME, whether there is one or not."""
    return _FULL_NAME.fullmatch(text) is not None


async def resolve(github: GitHub, repo: str) -> tuple[Scope, Repository]:
    """What that name stands for now; it may be an earlier name. `Forbidden` if the App is not
    installed there."""
    installation = await installed_at(github, repo)
    # GitHub gives no token for an earlier name.
    anywhere = Scope(installation, "", 0).only(metadata="read")
    found = await _get(github, anywhere, repo)
    return Scope(installation, found.full_name, found.id), found


async def installed_at(github: GitHub, repo: str, repo_id: int = 0) -> int:
    """The id of the installation that the repository is in, by its ID where that is known;
    `Forbidden` if there is none."""
    if not is_full_name(repo):
        raise _not_installed(repo)
    try:
        return await github.installation_of(Scope(0, repo, repo_id))
    except Forbidden as error:
        if error.code == NOT_INSTALLED:
            raise _not_installed(repo) from error
        raise


async def repository(github: GitHub, scope: Scope) -> Repository:
    return await _get(github, scope.only(metadata="read"), scope.repo)


async def _get(github: GitHub, scope: Scope, repo: str) -> Repository:
    try:
        return await github.request(scope, "GET", f"/repos/{repo}", _read)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise _not_installed(repo) from error
        raise


@dataclass(frozen=True, slots=True)
class Access:
    """What a person may do in a repository: one of `PERMISSIONS`, however they got it (maintain is
    write, triage read). `user_id`: the number of the account, 0 if GitHub does not say it."""

    permission: str
    user_id: int = 0


NO_ACCESS = Access("none")


async def access_of(github: GitHub, scope: Scope, login: str) -> Access:
    """None for a login that GitHub does not know."""
    if not is_login(login):
        return NO_ACCESS

    path = f"/repos/{scope.repo}/collaborators/{login}/permission"
    try:
        return await github.request(scope.only(metadata="read"), "GET", path, _read_access)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return NO_ACCESS
        raise


async def access_if_changed(
    github: GitHub, scope: Scope, login: str, known: tuple[Access, str]
) -> tuple[Access, str]:
    """The same with its ETag; `known`: what was true with that ETag, "" for none. Where it still
    is, the call does not count against the rate limit. One token serves all repositories of the
    installation, which a page of many asks about at once."""
    if not is_login(login):
        return NO_ACCESS, ""
    reading = Scope(scope.installation_id, "", 0).only(metadata="read")
    path = scope.address(f"/repos/{scope.repo}/collaborators/{login}/permission")
    access, etag = known
    try:
        document, new_etag = await github.get_if_changed(reading, path, etag)
        return (access, etag) if document is NOT_MODIFIED else (_read_access(document), new_etag)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return NO_ACCESS, ""
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnknownOutcome("GitHub gave no clear response (no permission)") from error


def _read_access(document: Any) -> Access:
    known = PERMISSIONS[PERMISSIONS.index(document["permission"])]
    return Access(known, int((document.get("user") or {}).get("id") or 0))


async def commit_of(github: GitHub, scope: Scope, ref: str) -> str:
    """The sha of a branch, tag or commit; `Rejected` with code `INVALID` if there is none. Needs
    the permission contents: read."""
    # Its files come too, so as few as possible.
    path = f"/repos/{scope.repo}/commits/{quote(ref, safe='')}?per_page=1"
    reading = scope.only(contents="read")
    return await github.request(reading, "GET", path, lambda commit: str(commit["sha"]))


def _read(document: Any) -> Repository:
    return Repository(
        id=int(document["id"]),
        default_branch=str(document["default_branch"]),
        full_name=str(document["full_name"]),
        url=str(document["html_url"]),
    )


def _not_installed(repo: str) -> Forbidden:
    return Forbidden(
        f"the App is not installed in {repo}", HTTPStatus.NOT_FOUND, code=NOT_INSTALLED
    )
