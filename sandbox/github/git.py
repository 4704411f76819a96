"""The commits of one repository, and how two of them compare."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

FULL_SHA, SHORT_SHA = "[0-9a-f]{40}", "[0-9a-f]{7,40}"
NAMESPACES = ("refs/heads/", "refs/tags/", "heads/", "tags/")
ComparisonStatus = Literal["ahead", "behind", "diverged", "identical"]


@dataclass(frozen=True, slots=True)
class Symlink:
    target: str


@dataclass(frozen=True, slots=True)
class Submodule:
    url: str


File = str | bytes | Symlink | Submodule
Files = Mapping[str, File]
NO_FILES: Files = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Commit:
    """`author` is a login or, if no user has that login, a name. `files`: all, by their paths."""

    sha: str
    message: str
    author: str
    parents: tuple[str, ...]
    at: datetime
    files: Files = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ahead` and `behind`: the commits of one side only, oldest first."""

    base: Commit
    head: Commit
    merge_base: Commit
    ahead: Sequence[Commit]
    behind: Sequence[Commit]

    @property
    def status(self) -> ComparisonStatus:
        if self.ahead:
            return "diverged" if self.behind else "ahead"
        return "behind" if self.behind else "identical"


@dataclass(slots=True)
class Git:
    """`commits` are in order of creation, parents before children. `pulls`: refs/pull/N/head."""

    refs: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def commit(
        self,
        message: str,
        author: str,
        ref: str,
        parents: Sequence[str],
        at: datetime | None,
        *,
        changes: Mapping[str, File | None] = NO_FILES,
    ) -> str:
        """`changes`: files that are not as in the first parent; None removes one."""
        content = f"{len(self.commits)} {message} {author} {ref} {parents}"
        sha = hashlib.sha1(content.encode()).hexdigest()
        files = self.commits[parents[0]].files if parents else NO_FILES
        if changes:
            every = {**files, **changes}
            files = {path: file for path, file in every.items() if file is not None}
        at = at or datetime.now(UTC)
        commit = Commit(sha, message, author, tuple(parents), at, files)
        self.commits[sha] = commit
        self.refs[ref] = sha
        return sha

    def sha(self, ref: str) -> str | None:
        """The commit of a ref, of a sha or of an abbreviated sha; None if it is not known."""
        if named := self.refs.get(ref) or self.pulls.get(ref):
            return named
        if re.fullmatch(SHORT_SHA, ref):
            found = [sha for sha in self.commits if sha.startswith(ref)]
            return found[0] if len(found) == 1 else None
        bare = next((ref.removeprefix(n) for n in NAMESPACES if ref.startswith(n)), ref)
        return self.refs.get(bare)

    def find(self, ref: str) -> Commit | None:
        return self.commits.get(self.sha(ref) or "")

    def ancestors(self, commit: Commit) -> set[str]:
        """The shas of a commit and of all its ancestors."""
        found: set[str] = set()
        pending = [commit.sha]
        while pending:
            sha = pending.pop()
            if sha not in found:
                found.add(sha)
                pending += self.commits[sha].parents
        return found

    def compare(self, base: Commit, head: Commit) -> Comparison | None:
        """None without a common ancestor."""
        before, after = self.ancestors(base), self.ancestors(head)
        common = self._ordered(before & after)
        if not common:
            return None
        ahead, behind = self._ordered(after - before), self._ordered(before - after)
        return Comparison(base, head, common[-1], ahead, behind)

    def changed(self, commit: Commit) -> dict[str, Literal["added", "modified", "removed"]]:
        """The paths in which it differs from its first parent."""
        before = self.commits[commit.parents[0]].files if commit.parents else NO_FILES
        after = commit.files
        found: dict[str, Literal["added", "modified", "removed"]] = {}
        for path in sorted(before.keys() | after.keys()):
            if path not in before:
                found[path] = "added"
            elif path not in after:
                found[path] = "removed"
            elif before[path] != after[path]:
                found[path] = "modified"
        return found

    def _ordered(self, shas: set[str]) -> list[Commit]:
        return [commit for sha, commit in self.commits.items() if sha in shas]
