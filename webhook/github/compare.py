"""The changelog of a deployment, by GitHub's comparison of two commits.

Source: docs.github.com/rest/commits/commits#compare-two-commits. Without paging the list is oldest
first, of the newest 250; so one call shows how many there are and the newest of them. It carries
the changed files too, up to GitHub's limit of a megabyte of patches.
Units: commits. Errors: those of `GitHub`. Needs the permission contents: read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """`committed_at`: of each new commit that GitHub lists, newest first; None: not known."""

    changelog: Changelog
    committed_at: tuple[datetime, ...] | None


async def compare(
    github: GitHub, scope: Scope, base: str, head: str, *, most: int = MOST_COMMITS
) -> Changelog | None:
    """As `comparison`, without times."""
    found = await comparison(github, scope, base, head, most=most)
    return found.changelog if found else None


async def comparison(
    github: GitHub, scope: Scope, base: str, head: str, *, most: int = MOST_COMMITS
) -> Comparison | None:
    """The commits of `head` since `base`, the newest `most` by name; None if GitHub does not know
    one of them (any more), or if they have no common ancestor."""
    if base == head:
        return Comparison(Changelog(since=base, total=0, behind=0, commits=()), ())

    def read(document: Mapping[str, Any]) -> Comparison:
        newest = document["commits"][::-1]
        commits = tuple(_commit(commit) for commit in newest[:most])
        total, behind = int(document["total_commits"]), int(document["behind_by"])
        changelog = Changelog(since=base, total=total, behind=behind, commits=commits)
        return Comparison(changelog, _commit_times(newest))

    path = f"/repos/{scope.repo}/compare/{_quoted(base)}...{_quoted(head)}"
    try:
        return await github.request(scope.only(contents="read"), "GET", path, read)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


async def merge_base(github: GitHub, scope: Scope, base: str, head: str) -> str | None:
    """The commit from which `head` goes its own way; None as for `compare`."""
    # What is on the first page alone, the changed files, may be large.
    between = f"{_quoted(base)}...{_quoted(head)}"
    path = f"/repos/{scope.repo}/compare/{between}?per_page=1&page=2"
    reading = scope.only(contents="read")
    try:
        return await github.request(reading, "GET", path, lambda found: str(_base_of(found)["sha"]))
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def _base_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["merge_base_commit"]
    return found


def _commit(document: Mapping[str, Any]) -> Commit:
    """`author` is null or empty if no account has the e-mail address of the commit."""
    commit = document["commit"]
    account, author = document.get("author") or {}, commit.get("author") or {}
    name = account.get("login") or author.get("name")
    title = str(commit.get("message") or "").strip().partition("\n")[0]
    return Commit(
        sha=str(document["sha"]),
        title=one_line(title, LONGEST_NAME),
        author=one_line(str(name or ""), LONGEST_NAME),
        url=str(document.get("html_url") or ""),
    )


def _commit_times(commits: Sequence[Mapping[str, Any]]) -> tuple[datetime, ...] | None:
    """By the committer: an author's date is as old as before a rebase."""
    try:
        texts = [str(commit["commit"]["committer"]["date"]) for commit in commits]
        times = [datetime.fromisoformat(text) for text in texts]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(at if at.tzinfo else at.replace(tzinfo=UTC) for at in times)


def _quoted(ref: str) -> str:
    return quote(ref, safe="")
