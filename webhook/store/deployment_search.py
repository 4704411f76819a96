"""Deployments by what people know of them: where, how they are, how old."""

from dataclasses import dataclass
from datetime import datetime

from webhook.deployments.phases import Phase
from webhook.store.ages import first_since
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow, read_where_sync


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSelection:
    """What is None or empty selects all. `repo` and `environment`: names, or patterns with `*` and
    `?`. `unended`: only those that somebody requested and that have not ended."""

    repo: str = ""
    environment: str = ""
    phase: Phase | None = None
    unended: bool = False
    since: datetime | None = None


def find(connection: Sync, selection: DeploymentSelection, limit: int) -> list[DeploymentRow]:
    """The newest first."""
    conditions = ["true"]
    if selection.repo:
        conditions.append(_repo(selection.repo))
    if selection.environment:
        conditions.append(_matches("environment", selection.environment))
    if selection.phase is not None:
        conditions.append("phase = %(phase)s")
    if selection.unended:
        conditions.append("ended_at is null and requested_at is not null")
    if selection.since is not None:
        conditions.append("id >= %(first)s and created_at >= %(since)s")
    values = {
        "repo": _pattern(selection.repo),
        "environment": _pattern(selection.environment),
        "phase": selection.phase,
        "since": selection.since,
        "first": first_since(connection, "deployments", selection.since) if selection.since else 0,
        "limit": limit,
    }
    where = f"{' and '.join(conditions)} order by id desc limit %(limit)s"
    return read_where_sync(connection, where, values)


def _repo(name: str) -> str:
    """By any name that it has had, unless that is a pattern."""
    if _is_pattern(name):
        return _matches("repo", name)
    known = "select repo_id from repository_names where lower(full_name) = %(repo)s"
    return f"repo_id = any(array({known}))"


def _matches(column: str, name: str) -> str:
    operator = "like" if _is_pattern(name) else "="
    return f"lower({column}) {operator} %({column})s"


def _pattern(name: str) -> str:
    name = name.lower()
    if not _is_pattern(name):
        return name
    for character in ("\\", "%", "_"):
        name = name.replace(character, f"\\{character}")
    return name.replace("*", "%").replace("?", "_")


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name
