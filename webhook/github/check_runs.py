"""Check runs that the App writes.

Source: docs.github.com/rest/checks/runs. Needs the permission checks: write, which only an App has.
Units: lines from 1. Errors: those of `GitHub`. After `UnknownOutcome` it may have been written:
`find_check_run` searches for its `external_id`, and says how many of its annotations are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlencode

from webhook.github.client import GitHub
from webhook.github.tokens import Scope

Conclusion = Literal["success", "neutral", "failure"]
Level = Literal["notice", "warning", "failure"]

# GitHub's: annotations of one call, and characters of a title.
ANNOTATIONS_AT_ONCE = 50
LONGEST_TITLE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A plain text at a line of a file."""

    path: str
    line: int
    level: Level
    message: str

    def as_request(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "start_line": self.line,
            "end_line": self.line,
            "annotation_level": self.level,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckRun:
    """One that is completed. `summary` is Markdown. `external_id`: ours, by which it is found."""

    name: str
    head_sha: str
    external_id: str
    conclusion: Conclusion
    title: str
    summary: str
    annotations: tuple[Annotation, ...] = ()

    def as_request(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "head_sha": self.head_sha,
            "external_id": self.external_id,
            "status": "completed",
            "conclusion": self.conclusion,
            "output": self.output(self.annotations[:ANNOTATIONS_AT_ONCE]),
        }

    def output(self, annotations: Sequence[Annotation]) -> dict[str, Any]:
        return {
            "title": self.title,
            "summary": self.summary,
            "annotations": [one.as_request() for one in annotations],
        }


@dataclass(frozen=True, slots=True)
class CheckRun:
    """As it is on GitHub. `annotations`: how many it has."""

    id: int
    annotations: int

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        return cls(int(document["id"]), int(document["output"]["annotations_count"]))


async def require_access(github: GitHub, scope: Scope) -> None:
    """Raise `Forbidden` if the App may not write check runs there."""
    await github.require_access(_writing(scope))


async def create_check_run(github: GitHub, scope: Scope, new: NewCheckRun) -> CheckRun:
    """With its first annotations; `add_annotations` adds the others."""
    path = f"/repos/{scope.repo}/check-runs"
    return await github.request(_writing(scope), "POST", path, CheckRun.read, new.as_request())


async def add_annotations(
    github: GitHub, scope: Scope, new: NewCheckRun, written: CheckRun
) -> CheckRun:
    """The next ones. GitHub adds those of an update to those that are there."""
    following = new.annotations[written.annotations :][:ANNOTATIONS_AT_ONCE]
    path = f"/repos/{scope.repo}/check-runs/{written.id}"
    body = {"output": new.output(following)}
    return await github.request(_writing(scope), "PATCH", path, CheckRun.read, body)


async def find_check_run(github: GitHub, scope: Scope, new: NewCheckRun) -> CheckRun | None:
    """If it is among the newest hundred of its name and commit."""

    def read(document: Mapping[str, Any]) -> CheckRun | None:
        ours = (one for one in document["check_runs"] if one["external_id"] == new.external_id)
        return next(map(CheckRun.read, ours), None)

    query = urlencode({"check_name": new.name, "filter": "all", "per_page": 100})
    path = f"/repos/{scope.repo}/commits/{new.head_sha}/check-runs?{query}"
    return await github.request(_writing(scope), "GET", path, read)


def _writing(scope: Scope) -> Scope:
    return scope.only(checks="write")
