"""The data of the stand-in for GitHub, and its error responses."""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self
from urllib.parse import parse_qs

from sandbox.github.git import FULL_SHA, NO_FILES, Commit, File, Files, Git

Json = dict[str, Any]

DOCS = "https://docs.github.com/rest"
LEVELS = ("none", "read", "write", "admin")
NO_COMMIT = "0" * 40
# The worst one of its runs is that of a check suite.
CONCLUSIONS = (
    "failure",
    "timed_out",
    "action_required",
    "cancelled",
    "stale",
    "success",
    "neutral",
    "skipped",
)
# GitHub's legacy `permission` of each role.
BASE_OF = {"admin": "admin", "maintain": "write", "write": "write", "triage": "read"}


class ErrorResponse(Exception):
    """A response of 4xx, with GitHub's document."""

    def __init__(self, status: int, message: str, errors: list[Any] | None = None) -> None:
        super().__init__(f"{status} {message} {errors or ''}".rstrip())
        self.status = status
        self.document: Json = {"message": message}
        if errors is not None:
            self.document["errors"] = errors
        self.document |= {"documentation_url": DOCS, "status": str(status)}


class Renamed(Exception):
    """The name in the path is an earlier one of this repository."""

    def __init__(self, repository: "Repository") -> None:
        super().__init__(repository.full_name)
        self.repository = repository


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: Literal["User", "Organization", "Bot"] = "User"


@dataclass(frozen=True, slots=True)
class User:
    """`name` and `email` are those of the public profile."""

    account: Account
    token: str
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Team:
    """`members`: login (lower case) -> active, or pending while the invitation is not accepted."""

    id: int
    organization: Account
    slug: str
    members: dict[str, str]


@dataclass(frozen=True, slots=True)
class Role:
    """A user's role in a repository; an organization can have roles with names of its own."""

    name: str
    permission: str

    @classmethod
    def named(cls, name: str, permission: str | None = None) -> Self:
        return cls(name, permission or BASE_OF.get(name, name))


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
    client_secret: str = "a-client-secret-of-the-sandbox"
    callback_urls: list[str] = field(default_factory=list)
    user_tokens_expire: bool = True

    @property
    def name(self) -> str:
        return self.slug.replace("-", " ").title()


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """One report of a context; the newest of a context counts."""

    id: int
    sha: str
    context: str
    state: str
    description: str | None = None
    target_url: str | None = None
    creator: Account | None = None
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class CheckApp:
    """The App that check runs and suites are of."""

    id: int
    slug: str


@dataclass(slots=True)
class CheckRun:
    id: int
    suite: "CheckSuite"
    app: CheckApp
    head_sha: str
    name: str
    status: str = "queued"
    conclusion: str | None = None
    external_id: str = ""
    details_url: str = ""
    started_at: datetime = field(default_factory=now)
    completed_at: datetime | None = None
    output: Json = field(default_factory=dict)
    annotations: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class CheckSuite:
    """The check runs of one App on one commit. GitHub opens an empty one for each App that may
    write checks; it stays queued for as long as the App reports nothing."""

    id: int
    app: CheckApp
    head_sha: str
    head_branch: str | None
    runs: list[CheckRun] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)

    @property
    def latest(self) -> list[CheckRun]:
        """The newest of each name."""
        return list({run.name: run for run in self.runs}.values())

    @property
    def status(self) -> str:
        if not self.latest or all(run.status == "queued" for run in self.latest):
            return "queued"
        done = all(run.status == "completed" for run in self.latest)
        return "completed" if done else "in_progress"

    @property
    def conclusion(self) -> str | None:
        if self.status != "completed":
            return None
        found = {run.conclusion for run in self.latest}
        return next((one for one in CONCLUSIONS if one in found), None)


@dataclass(frozen=True, slots=True)
class Push:
    """What a push changed: a ref by its full name. `after` is the id of the tag object where an
    annotated tag was pushed, and `head` its commit; None: the ref was deleted."""

    repository: "Repository"
    ref: str
    before: str
    after: str
    head: Commit | None
    pusher: str
    forced: bool = False


@dataclass(slots=True)
class Repository:
    """`roles`: login (lower case) -> role. `statuses` and `suites`: what was reported of commits,
    oldest first. `behind` and `conflicting` are refs that lack commits of the default branch, which
    can or cannot be merged into them; `missing_refs` do not exist, and with `only_pushed` none that
    was not pushed. `on_push` hears of pushes."""

    id: int
    owner: Account
    name: str
    private: bool = True
    default_branch: str = "main"
    git: Git = field(default_factory=Git)
    roles: dict[str, Role] = field(default_factory=dict)
    statuses: list[CommitStatus] = field(default_factory=list)
    suites: list[CheckSuite] = field(default_factory=list)
    on_push: Callable[[Push], None] = field(default=lambda push: None)
    behind: set[str] = field(default_factory=set)
    conflicting: set[str] = field(default_factory=set)
    missing_refs: set[str] = field(default_factory=set)
    only_pushed: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"

    @property
    def refs(self) -> dict[str, str]:
        return self.git.refs

    @property
    def history(self) -> list[Commit]:
        """The commits of the default branch, oldest first."""
        tip = self.git.find(self.default_branch)
        known = self.git.ancestors(tip) if tip else ()
        return [commit for sha, commit in self.git.commits.items() if sha in known]

    @property
    def files(self) -> Files:
        """At the head of the default branch."""
        tip = self.git.find(self.default_branch)
        return tip.files if tip else NO_FILES

    def sha(self, ref: str) -> str:
        """The commit of a ref; an unknown ref has a generated, stable one."""
        if re.fullmatch(FULL_SHA, ref):
            return ref
        return self.git.sha(ref) or hashlib.sha1(ref.encode()).hexdigest()

    def lacks(self, ref: str) -> bool:
        return ref in self.missing_refs or (self.only_pushed and self.git.find(ref) is None)

    def push(
        self,
        message: str,
        author: str = "octocat",
        ref: str = "main",
        *,
        at: datetime | None = None,
        onto: str | None = None,
        files: Mapping[str, File | None] = NO_FILES,
    ) -> str:
        """A commit on a branch, `onto` its tip or another commit; a new branch starts at the tip of
        the default one. Its author pushes it. `files`: those that it changes; None removes one."""
        before = self.git.refs.get(ref)
        tip = self.git.find(onto or ref) or self.git.find(self.default_branch)
        parents = [tip.sha] if tip else []
        sha = self.git.commit(message, author, ref, parents, at, changes=files)
        head = self.git.commits[sha]
        forced = before is not None and before not in self.git.ancestors(head)
        full = f"refs/heads/{ref}"
        self.on_push(Push(self, full, before or NO_COMMIT, sha, head, author, forced))
        return sha

    def tag(
        self, name: str, sha: str | None = None, pusher: str = "octocat", *, annotated: bool = False
    ) -> str:
        """A tag of that commit, or of the newest of the default branch; returns what the push event
        has as `after`: for an annotated tag, which is an object of its own, the id of that."""
        commit = self.git.commits[sha or self.git.refs[self.default_branch]]
        self.git.refs[name] = commit.sha
        target = hashlib.sha1(f"tag {name} {commit.sha}".encode()).hexdigest()
        after = target if annotated else commit.sha
        self.on_push(Push(self, f"refs/tags/{name}", NO_COMMIT, after, commit, pusher))
        return after

    def delete_branch(self, name: str, pusher: str = "octocat") -> None:
        before = self.git.refs.pop(name)
        self.missing_refs |= {name, f"heads/{name}", f"refs/heads/{name}"}
        self.on_push(Push(self, f"refs/heads/{name}", before, NO_COMMIT, None, pusher))

    def set_check(self, ref: str, context: str, state: str) -> None:
        """A commit status of which no event is sent: success, failure, pending, error."""
        number = self.id * 10_000 + len(self.statuses)
        self.statuses.append(CommitStatus(number, self.sha(ref), context, state))

    def contexts(self, sha: str) -> dict[str, str]:
        """Each context of a commit, a status's or a check run's, with its state."""
        found = {one.context: one.state for one in self.statuses if one.sha == sha}
        suites = (suite for suite in self.suites if suite.head_sha == sha)
        runs = (run for suite in suites for run in suite.latest)
        return found | {run.name: run.conclusion or "pending" for run in runs}


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
    """An installation's token. `repositories` is None for all of the installation's."""

    installation: Installation
    repositories: frozenset[int] | None
    permissions: dict[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class UserToken:
    """With which the App acts for a person who authorized it; `user_id` is the person's."""

    user_id: int
    expires_at: datetime | None


@dataclass(slots=True)
class Status:
    """`workflow_run` is set if a job of GitHub Actions created it."""

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
    """One attempt to deliver an event; all attempts of one event have the same guid. `listed_at`:
    when it appears in the list. `forgotten`: GitHub has neither its payload nor its headers."""

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
    listed_at: datetime | None = None
    forgotten: bool = False

    @property
    def payload(self) -> Json:
        """As GitHub shows it, however it was sent."""
        if self.headers["Content-Type"] == "application/json":
            return dict(json.loads(self.body))
        return dict(json.loads(parse_qs(self.body.decode())["payload"][0]))


@dataclass(slots=True)
class World:
    """All data of the server. `url` is its address once it listens. `former_names`: of renamed
    repositories, until another takes the name. `ahead`: by how much its clock is ahead of ours."""

    app: App
    url: str = ""
    ahead: timedelta = timedelta(0)
    installations: dict[int, Installation] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    former_names: dict[str, Repository] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    teams: list[Team] = field(default_factory=list)
    tokens: dict[str, Token] = field(default_factory=dict)
    user_tokens: dict[str, UserToken] = field(default_factory=dict)
    deployments: dict[int, Deployment] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1_000_001))

    def id(self) -> int:
        return next(self.ids)

    def now(self) -> datetime:
        return now() + self.ahead

    def repository(self, full_name: str) -> Repository:
        """Raises `Renamed` for an earlier name."""
        found = self.repositories.get(full_name.lower())
        if found is None and (renamed := self.former_names.get(full_name.lower())):
            raise Renamed(renamed)
        if found is None:
            raise ErrorResponse(404, "Not Found")
        return found

    def repository_by_id(self, repository_id: int) -> Repository | None:
        found = (r for r in self.repositories.values() if r.id == repository_id)
        return next(found, None)

    def user(self, login: str) -> User | None:
        users = self.users.values()
        return next((u for u in users if u.account.login.lower() == login.lower()), None)

    def user_by_id(self, user_id: int) -> User | None:
        return next((u for u in self.users.values() if u.account.id == user_id), None)

    def installation_of(self, repository: Repository) -> Installation | None:
        return next((i for i in self.installations.values() if repository in i.repositories), None)


def covers(granted: dict[str, str], permission: str, level: str) -> bool:
    """Whether the granted permissions include that one at that level or above."""
    if level not in LEVELS:
        return False
    return LEVELS.index(granted.get(permission, "none")) >= LEVELS.index(level)
