"""What the stand-in for GitHub knows: plain data, and the refusals it answers with."""

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Json = dict[str, Any]

DOCS = "https://docs.github.com/rest"
LEVELS = ("none", "read", "write", "admin")


class RefusedError(Exception):
    """An answer of 4xx, with GitHub's document."""

    def __init__(self, status: int, message: str, errors: list[Any] | None = None) -> None:
        super().__init__(f"{status} {message} {errors or ''}".rstrip())
        self.status = status
        self.document: Json = {"message": message}
        if errors is not None:
            self.document["errors"] = errors
        self.document |= {"documentation_url": DOCS, "status": str(status)}


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: Literal["User", "Organization", "Bot"] = "User"


@dataclass(frozen=True, slots=True)
class User:
    account: Account
    token: str


@dataclass(slots=True)
class App:
    id: int
    client_id: str
    slug: str
    private_key_pem: str
    webhook_secret: str
    permissions: dict[str, str]
    events: list[str]
    owner: Account
    bot: Account


@dataclass(slots=True)
class Repository:
    id: int
    owner: Account
    name: str
    private: bool = True
    default_branch: str = "main"
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"

    def sha(self, ref: str) -> str:
        """The commit of a ref; a ref nobody told us of has a made-up, stable one."""
        if re.fullmatch("[0-9a-f]{40}", ref):
            return ref
        return self.refs.get(ref) or hashlib.sha1(ref.encode()).hexdigest()


@dataclass(slots=True)
class Installation:
    id: int
    account: Account
    repositories: list[Repository]
    permissions: dict[str, str]
    selection: Literal["all", "selected"] = "selected"
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """An installation's token: what it may, where, until when."""

    installation: Installation
    repositories: frozenset[int] | None
    permissions: dict[str, str]
    expires_at: datetime


@dataclass(slots=True)
class Status:
    """`workflow_run` is there where a job of GitHub Actions wrote it."""

    id: int
    state: str
    description: str
    environment: str
    environment_url: str
    log_url: str
    creator: Account
    by_app: bool
    workflow: Json | None = None
    workflow_run: Json | None = None
    created_at: datetime = field(default_factory=now)


@dataclass(slots=True)
class Deployment:
    id: int
    repository: Repository
    ref: str
    sha: str
    task: str
    environment: str
    original_environment: str
    payload: Any
    description: str | None
    production: bool
    transient: bool
    creator: Account
    by_app: bool
    workflow_run: Json | None = None
    statuses: list[Status] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(slots=True)
class Delivery:
    """One attempt at delivering an event; attempts of one event share its guid."""

    id: int
    guid: str
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    body: bytes
    headers: dict[str, str]
    redelivery: bool = False
    delivered_at: datetime = field(default_factory=now)
    duration: float = 0
    status: str = "pending"
    status_code: int = 0
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""


@dataclass(slots=True)
class World:
    """Everything on this server. `url` is its address once it listens."""

    app: App
    url: str = ""
    installations: dict[int, Installation] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    deployments: dict[int, Deployment] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1_000_001))

    def id(self) -> int:
        return next(self.ids)

    def repository(self, full_name: str) -> Repository:
        found = self.repositories.get(full_name.lower())
        if found is None:
            raise RefusedError(404, "Not Found")
        return found

    def installed(self, repository: Repository) -> Installation | None:
        return next((i for i in self.installations.values() if repository in i.repositories), None)


def covers(granted: dict[str, str], permission: str, level: str) -> bool:
    """Whether the granted permissions hold that one at that level or above."""
    if level not in LEVELS:
        return False
    return LEVELS.index(granted.get(permission, "none")) >= LEVELS.index(level)
