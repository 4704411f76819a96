"""A delivery's body -> a typed event.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
Units: times are timezone-aware; every string can be stored by PostgreSQL (see `storable`).
Errors: `UserError`, with the path that is missing or wrong. What the relay does not need may
be missing, new or malformed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
)

from webhook.deployments.models import (
    GitHubApp,
    GitHubDeployment,
    GitHubId,
    Login,
    Repository,
    Text,
    WebUrl,
    app_of,
)
from webhook.errors import MALFORMED, UserError
from webhook.github.commit_events import CommitReported, Pushed
from webhook.store.tool_events import EventSubject

_InstallationId = Annotated[GitHubId, Field(validation_alias=AliasPath("installation", "id"))]
_Sender = Annotated[Login, Field(validation_alias="sender")]
_Watched = Annotated[
    bool, BeforeValidator(lambda run: run is not None), Field(validation_alias="workflow_run")
]


def _ids(repositories: Any) -> tuple[Any, ...]:
    """Without what is malformed: these IDs only make sooner known what is found out anyway."""
    listed = repositories if isinstance(repositories, list) else ()
    ids = (one.get("id") for one in listed if isinstance(one, dict))
    return tuple(one for one in ids if isinstance(one, int) and 0 < one < 2**63)


_RepositoryIds = Annotated[
    tuple[int, ...],
    BeforeValidator(_ids),
    Field(validation_alias=AliasChoices("repositories", "repositories_added")),
]


def _of_run(key: str) -> Any:
    return Field(validation_alias=AliasPath("workflow_run", key))


def _of_job(key: str) -> Any:
    return Field(validation_alias=AliasPath("workflow_job", key))


def _own(document: Any) -> Any:
    """Without what it says of other things: the repository, the commit, people."""
    if not isinstance(document, dict):
        return {}
    return {key: value for key, value in document.items() if not isinstance(value, dict)}


_Document = Annotated[Mapping[str, Any], BeforeValidator(_own)]
# Of a run or a job; all others are before the first. A job that waits for an approval is queued
# afterwards, so that of these what came last counts.
_STATUSES = ("in_progress", "completed")


def _revision(document: Mapping[str, Any], updated_at: str) -> str:
    """Sorts later where the document is newer, or like it where nothing says so. A run that is
    done again has a new attempt."""
    attempt, status = document.get("run_attempt"), document.get("status")
    number = attempt if isinstance(attempt, int) else 1
    rank = 1 + _STATUSES.index(status) if status in _STATUSES else 0
    return f"{number:08} {rank == len(_STATUSES):d} {updated_at:.40} {rank}"


@dataclass(frozen=True, slots=True)
class Person:
    """An account on GitHub; `NOBODY` where it is a bot or an App, as nobody knows who asked it."""

    login: str
    id: int


NOBODY = Person("", 0)


def _person(value: Any) -> Person:
    login, number = (value.get("login"), value.get("id")) if isinstance(value, dict) else ("", 0)
    if not isinstance(login, str) or not isinstance(number, int) or not 0 < number < 2**63:
        return NOBODY
    is_bot = value.get("type") == "Bot" or login.endswith("[bot]")
    return NOBODY if is_bot or not login else Person(login, number)


def _starter(run: Any) -> Person:
    """Who started the workflow run, or started it again."""
    if not isinstance(run, dict):
        return NOBODY
    return _person(run.get("triggering_actor") or run.get("actor"))


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """`state` may be one that GitHub does not document."""

    id: GitHubId
    state: str
    created_at: AwareDatetime
    description: Text = ""
    log_url: WebUrl = ""
    environment_url: WebUrl = ""
    creator: Login = ""
    app: Annotated[
        GitHubApp | None,
        BeforeValidator(app_of),
        Field(validation_alias="performed_via_github_app"),
    ] = None


@dataclass(frozen=True, slots=True)
class DeploymentCreated:
    """`watched`: a GitHub Actions job created it and is deploying it already; `started_by`: who
    started that job's run."""

    deployment: GitHubDeployment
    repository: Repository
    installation_id: _InstallationId
    sender: _Sender = ""
    watched: _Watched = False
    started_by: Annotated[
        Person, BeforeValidator(_starter), Field(validation_alias="workflow_run")
    ] = NOBODY


@dataclass(frozen=True, slots=True)
class StatusCreated:
    """`watched`: as that of the deployment."""

    deployment: GitHubDeployment
    repository: Repository
    installation_id: _InstallationId
    status: Annotated[DeploymentStatus, Field(validation_alias="deployment_status")]
    watched: _Watched = False


@dataclass(frozen=True, slots=True)
class ProtectionRuleRequested:
    """A job with an `environment:` waits until the App has answered. `deployment`: None where the
    job has `deployment: false`. `callback_url`: where the answer goes."""

    environment: Annotated[str, Field(min_length=1)]
    repository: Repository
    installation_id: _InstallationId
    callback_url: Annotated[Text, Field(validation_alias="deployment_callback_url")] = ""
    deployment: GitHubDeployment | None = None
    sender: Annotated[Person, BeforeValidator(_person)] = NOBODY


@dataclass(frozen=True, slots=True)
class WorkflowRunUpdated:
    """A run of GitHub Actions began or ended.

    `event` started the run (deployment, workflow_dispatch, push, ...); `title` is its display
    title. `head_sha` of a dispatched run is that of the branch, which need not be the deployment's.
    """

    repository: Repository
    installation_id: _InstallationId
    run_id: Annotated[GitHubId, _of_run("id")]
    head_sha: Annotated[str, _of_run("head_sha")]
    event: Annotated[Text, _of_run("event")] = ""
    title: Annotated[Text, _of_run("display_title")] = ""
    document: Annotated[_Document, Field(validation_alias="workflow_run")] = field(
        default_factory=dict, compare=False
    )

    @property
    def ended(self) -> bool:
        return self.document.get("status") == "completed"

    @property
    def subject(self) -> EventSubject:
        updated_at = str(self.document.get("updated_at", ""))
        return EventSubject(
            "workflow_run",
            self.run_id,
            self.run_id,
            self.head_sha,
            self.title,
            _revision(self.document, updated_at),
        )


@dataclass(frozen=True, slots=True)
class WorkflowJobUpdated(WorkflowRunUpdated):
    """A job of such a run began, waits or ended; it has neither `event` nor `title`."""

    run_id: Annotated[GitHubId, _of_job("run_id")]
    head_sha: Annotated[str, _of_job("head_sha")]
    job_id: Annotated[GitHubId, _of_job("id")] = field(default=0, compare=False)
    document: Annotated[_Document, Field(validation_alias="workflow_job")] = field(
        default_factory=dict, compare=False
    )

    @property
    def subject(self) -> EventSubject:
        revision = _revision(self.document, "")
        return EventSubject("workflow_job", self.job_id, self.run_id, self.head_sha, "", revision)

    @property
    def ended(self) -> bool:
        """Not the run."""
        return False

    @property
    def waits(self) -> bool:
        """For an approval; GitHub has no such event of the run."""
        return self.document.get("status") == "waiting"


@dataclass(frozen=True, slots=True)
class InstallationChanged:
    """`account`: where the App is installed. `repository_ids`: those that the event names, which
    need not be all."""

    installation_id: _InstallationId
    action: str
    account: Annotated[Login, Field(validation_alias=AliasPath("installation", "account"))] = ""
    repository_ids: _RepositoryIds = ()

    @property
    def gives_access(self) -> bool:
        return self.action not in ("suspend", "deleted", "removed")


@dataclass(frozen=True, slots=True)
class AuthorizationRevoked:
    """A person has taken back that the App may say who they are."""

    user_id: Annotated[GitHubId, Field(validation_alias=AliasPath("sender", "id"))]
    login: Annotated[Login, Field(validation_alias=AliasPath("sender", "login"))]


@dataclass(frozen=True, slots=True)
class PullRequestChanged:
    """It was opened, pushed to, or is for another branch now, perhaps: `base`. `sha`: its head."""

    repository: Repository
    installation_id: _InstallationId
    number: GitHubId
    sha: Annotated[str, Field(validation_alias=AliasPath("pull_request", "head", "sha"))]
    base: Annotated[str, Field(validation_alias=AliasPath("pull_request", "base", "ref"))]


def _of_check(key: str) -> Any:
    choices = (AliasPath(event, key) for event in ("check_run", "check_suite"))
    return Field(validation_alias=AliasChoices(*choices))


@dataclass(frozen=True, slots=True)
class CheckRerequested:
    """A person wants to have check runs of the App again, of the commit `sha`."""

    repository: Repository
    installation_id: _InstallationId
    sha: Annotated[str, _of_check("head_sha")]


@dataclass(frozen=True, slots=True)
class Ping:
    hook_id: GitHubId
    zen: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


Event = (
    DeploymentCreated
    | StatusCreated
    | ProtectionRuleRequested
    | WorkflowRunUpdated
    | InstallationChanged
    | AuthorizationRevoked
    | PullRequestChanged
    | CheckRerequested
    | Pushed
    | CommitReported
    | Ping
    | Ignored
)

# The values of `action` in each event; empty: it has none.
_ACTIONS: dict[str, tuple[str, ...]] = {
    "deployment": ("created",),
    "deployment_protection_rule": ("requested",),
    "deployment_status": ("created",),
    "github_app_authorization": ("revoked",),
    "installation": ("created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"),
    "installation_repositories": ("added", "removed"),
    "ping": (),
    "pull_request": ("opened", "synchronize", "reopened", "edited"),
    "push": (),
    "status": (),
    "check_run": ("completed", "rerequested"),
    "check_suite": ("completed", "rerequested"),
    "workflow_run": ("requested", "in_progress", "completed"),
    "workflow_job": ("queued", "waiting", "in_progress", "completed"),
}
# Of which the relay acts on some.
EVENTS = tuple(_ACTIONS)
# By an event, or an action of it.
SHAPES: dict[str, TypeAdapter[Event]] = {
    "deployment": TypeAdapter(DeploymentCreated),
    "deployment_protection_rule": TypeAdapter(ProtectionRuleRequested),
    "deployment_status": TypeAdapter(StatusCreated),
    "github_app_authorization": TypeAdapter(AuthorizationRevoked),
    "installation": TypeAdapter(InstallationChanged),
    "installation_repositories": TypeAdapter(InstallationChanged),
    "ping": TypeAdapter(Ping),
    "pull_request": TypeAdapter(PullRequestChanged),
    "push": TypeAdapter(Pushed),
    "status": TypeAdapter(CommitReported),
    "check_run": TypeAdapter(CommitReported),
    "check_suite": TypeAdapter(CommitReported),
    "check_run rerequested": TypeAdapter(CheckRerequested),
    "check_suite rerequested": TypeAdapter(CheckRerequested),
    "workflow_run": TypeAdapter(WorkflowRunUpdated),
    "workflow_job": TypeAdapter(WorkflowJobUpdated),
}


def may_act_on(event: str, action: str) -> bool:
    """Whether the relay may act on such an event. An event without an action may have any."""
    known = _ACTIONS.get(event)
    return known is not None and event != "ping" and (not action or not known or action in known)


def parse(event: str, body: bytes) -> Event:
    """`event` is the X-GitHub-Event header, `body` the JSON that came with it."""
    if event not in _ACTIONS:
        return Ignored(f"the relay does not act on '{event}' events")
    content = _read(body)
    # GitHub Enterprise Server sends deployments and their statuses without an action.
    action = content.get("action", "created")
    if _ACTIONS[event] and action not in _ACTIONS[event]:
        return Ignored(f"the relay does not act on '{event}' events with action '{action}'")
    try:
        shape = SHAPES.get(f"{event} {action}") or SHAPES[event]
        return shape.validate_python(content)
    except ValidationError as error:
        raise UserError(f"not a '{event}' event: {_message(error)}", code=MALFORMED) from None


_MESSAGES = {"missing": " is missing", "dataclass_type": " is not an object"}


def _message(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(step) for step in first["loc"])
    if path == "installation.id" and first["type"] == "missing":
        return f"{path} is missing; a hook of a repository or organization sent it, not the App's"
    return path + _MESSAGES.get(first["type"], f": {first['msg']}")


def _read(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(
            body.decode(), parse_int=_int, parse_float=_float, parse_constant=_reject
        )
    except RecursionError:
        raise UserError("the body is JSON nested too deeply", code=MALFORMED) from None
    except ValueError as error:
        raise UserError("the body is not JSON in UTF-8", code=MALFORMED) from error
    if not isinstance(content, dict):
        raise UserError("the body is JSON, but not an object", code=MALFORMED)
    return {key: storable(value) for key, value in content.items()}


# A number that Python or PostgreSQL cannot represent stays text.
def _int(text: str) -> int | str:
    return int(text) if len(text) <= 4300 else text


def _float(text: str) -> float | str:
    number = float(text)
    return number if isfinite(number) else text


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_DEEPEST = 100


def storable(value: Any, depth: int = 0) -> Any:
    """The JSON value without what PostgreSQL cannot store: NUL, lone surrogates, deep nesting."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict | list) and depth >= _DEEPEST:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {storable(key): storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    return value
