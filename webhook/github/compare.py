"""The changelog of a deployment, by GitHub's comparison of two commits.

Source: docs.github.com/rest/commits/commits#compare-two-commits. Lists are oldest first, and the
first page carries the changed files with their patches, which may be megabytes.
Units: commits. Errors: those of `GitHub`. Needs the permission contents: read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from webhook.deployments.changelog import MOST_COMMITS, Changelog, Commit
from webhook.errors import Rejected
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.text import one_line

# Of a title or an author. A first line may be a whole essay.
LONGEST_NAME = 200
MOST_ON_A_PAGE = 100


@dataclass(frozen=True, slots=True)
class _Part:
    """One page of a comparison; `commits` are oldest first."""

    total: int
    behind: int
    commits: tuple[Commit, ...]


async def compare(github: GitHub, scope: Scope, base: str, head: str) -> Changelog | None:
    """The commits of `head` since `base`; None if GitHub does not know one of them (any more), or
    if they have no common ancestor."""
    if base == head:
        return Changelog(since=base, total=0, behind=0, commits=())
    try:
        part = await _part(github, scope, f"{_quoted(base)}...{_quoted(head)}")
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    newest = part.commits[::-1][:MOST_COMMITS]
    return Changelog(since=base, total=part.total, behind=part.behind, commits=newest)


async def _part(github: GitHub, scope: Scope, between: str) -> _Part:
    """The page with the newest commits. The second page has all numbers and no files."""

    async def page(size: int, number: int) -> _Part:
        path = f"/repos/{scope.repo}/compare/{between}?per_page={size}&page={number}"
        return await github.request(scope.only(contents="read"), "GET", path, _read)

    part = await page(MOST_COMMITS, 2)
    if part.total in (0, 2 * MOST_COMMITS):
        return part
    size, number = _last(part.total)
    return await page(size, number)


def _last(total: int) -> tuple[int, int]:
    """Size and number of a page that ends with the newest commit and has all commits to show."""
    for size in range(MOST_COMMITS, MOST_ON_A_PAGE):
        count = (total - 1) % size + 1
        if count >= min(total, MOST_COMMITS):
            break
    return size, (total - 1) // size + 1


def _read(document: Mapping[str, Any]) -> _Part:
    commits = tuple(_commit(commit) for commit in document["commits"])
    return _Part(int(document["total_commits"]), int(document["behind_by"]), commits)


def _commit(document: Mapping[str, Any]) -> Commit:
    """`author` is null or empty if no account has the e-mail address of the commit."""
    commit = document["commit"]
    name = (document["author"] or {}).get("login") or (commit["author"] or {}).get("name")
    title = commit["message"].strip().partition("\n")[0]
    return Commit(
        sha=str(document["sha"]),
        title=one_line(title, LONGEST_NAME),
        author=one_line(str(name or ""), LONGEST_NAME),
        url=str(document["html_url"]),
    )


def _quoted(ref: str) -> str:
    return quote(ref, safe="")
