"""Each function that takes a connection, called with what a filled store holds.

What a function is given is found by the type of its parameter, then by its name: a new function is
measured without a word here, or fails for want of one. What is not to be measured has its reason.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, cast, get_args

import psycopg

import webhook.store
from benchmarks import filling
from benchmarks.plans import ExplainingAsyncConnection, ExplainingConnection, Recorder, Statement
from webhook.config.environments import Environment
from webhook.deployments.actions import ActionRequest, Reply, Requester
from webhook.deployments.announcement import Announcement
from webhook.deployments.changelog import Changelog
from webhook.deployments.locks import Lock
from webhook.deployments.models import GitHubDeployment, Repository
from webhook.deployments.phases import Phase
from webhook.errors import Conflict
from webhook.gates.chains import PromotionKeys
from webhook.gates.contract import Policy
from webhook.store import actions, audit, deployments, outbox
from webhook.store.actions import ActionRow, Subject
from webhook.store.approvals import NewApproval
from webhook.store.audit import NewAct
from webhook.store.automatic import AutomaticDeployment, Proposal
from webhook.store.deliveries import Received, Selection
from webhook.store.delivery_requests import NewRequest
from webhook.store.deployment_search import DeploymentSelection
from webhook.store.deployments import DeploymentRow
from webhook.store.environment_history import HistoryFilter
from webhook.store.environments import EnvironmentKey
from webhook.store.file_checks import FileCheck, NewFileCheck
from webhook.store.gates import Prospective
from webhook.store.insights import Scope
from webhook.store.locks import NewLock
from webhook.store.outbox import Entry
from webhook.store.overrides import NewOverride
from webhook.store.recovery import Missed, MissedSelection, Scan
from webhook.store.repository_files import HEAD, RepositoryFile
from webhook.store.schedule import Due, Finished, Key, Kind, Task
from webhook.store.slack_installations import NewInstallation
from webhook.store.timeline import NewEntry
from webhook.store.tool_events import EventSubject
from webhook.store.unreceived import ListedUntil
from webhook.store.workers import WorkerProcess

# Functions that are not measured, each with its reason.
EXCEPTIONS: Mapping[str, str] = {
    "deployments.read_with": "a part of notices.read",
    "deployments.read_with_sync": "a part of notices.read_sync",
    "deployments.read_where_sync": "a part of deployment_search.find",
    "deployments.read_where": "a part of protection_rules.siblings",
    "outbox.keep": "it is entry_of, or nothing",
    "restores.record": "made once, in a store with which nobody works",
}
# An environment that comes after others.
PROMOTED = PromotionKeys.model_validate({"after": ["stage-2", "unrouted"]})
KINDS: list[Kind] = [(task, urgent) for task in get_args(Task) for urgent in (True, False)]
# What grows with something else than the deployments.
GROWS: Mapping[str, str] = {
    "deliveries.count_since": "with what came since then",
    "audit.search": "up to the 20,000 that are searched",
    "delivery_search.candidates": "up to the 50,000 that are searched",
    "delivery_search.page": "up to the 20,000 that are searched",
    "health.queued": "up to the 10,000 that are counted",
    "insights.read": "with what ended in the period, up to 5,000",
    "insights.facts": "with what was repaired in the period",
    "open_deployments.unscheduled": "with the open deployments, each of which it finds by an index",
    "outbox.lately_failed": "with the channels in which a message ever failed",
    "repository_names.rename": "up to the 200 deployments that it renames",
    "outbox.unsent_statuses": "with the repositories of which a status failed in seven days",
    "retention.commands": "up to the 500 that are deleted at once",
    "retention.deployments": "up to the 100 that are deleted at once",
    "locks.active": "with the locks that hold",
    "locks.held_by": "with what waits or runs in its scope",
    "repositories.every": "with the repositories, of each of which it finds one deployment",
    "restores.held": "with what waits for its gates",
    "schedule.bring_forward": "with what waits of that task",
    "schedule.load": "with the runs that are waited for, which it counts",
}


class Unmeasured(Exception):
    """Nothing is known to give to a function's parameter."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`name`: of the function, and of the deployment that it is about."""

    function: str
    case: str
    statement: Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A deployment, and what belongs to it."""

    name: str
    row: DeploymentRow
    action: ActionRow
    status: Entry
    message: Entry | None
    destination: str

    @property
    def keys(self) -> list[Key]:
        """What the deployment's row of the schedule is, among others."""
        claimed = [Key("notify", number, "slack:#deploys") for number in range(1, 20)]
        return [Key("advance", self.row.id), Key("send_statuses", self.row.id), *claimed]

    @property
    def finished(self) -> list[Finished]:
        """Every other one is done again later."""
        later = datetime.now(UTC) + timedelta(minutes=1)
        return [
            Finished(
                due=Due(**key._asdict(), wanted=1, urgent=False, attempts=0),
                again=later if number % 2 else None,
                machine_id="machine-1" if number % 3 else "",
            )
            for number, key in enumerate(self.keys)
        ]

    @property
    def head(self) -> dict[str, Any]:
        """Of a pull request in its repository."""
        row = self.row
        repository = {"repo_id": row.repo_id, "repo": row.repo}
        where = {**repository, "installation_id": row.installation_id}
        return {**where, "number": 7, "sha": row.sha, "base": "main"}

    @property
    def values(self) -> dict[str, Any]:
        """By the type of a parameter, its name, or where it means something else, by both names."""
        row, now = self.row, datetime.now(UTC)
        repository = Repository(row.repo_id, row.repo, row.repo_url)
        subject = Subject(repo=row.repo, repo_id=row.repo_id, environment="stage-1", ref="main")
        return {
            "DeploymentRow": row,
            "ActionRow": self.action,
            "Entry": self.status,
            "Repository": repository,
            "Subject": subject,
            "GitHubDeployment": GitHubDeployment(
                id=row.id + 1_000_000_000,
                environment=row.environment,
                ref="main",
                sha=row.sha,
                task="deploy",
                created_at=now,
            ),
            "ActionRequest": ActionRequest(
                key="new press",
                kind="rollback",
                requester=Requester("T1", "U1", "mona"),
                reply=Reply(),
                deployment_id=row.id,
            ),
            "NewEntry": NewEntry(actor="relay", state="success", description="", github_id=1),
            "EventSubject": EventSubject(
                "workflow_run", row.id * 10, row.id * 10, row.sha, "Deploy", "2027"
            ),
            "NewInstallation": NewInstallation(
                team="T1",
                team_name="Acme",
                app_id="A1",
                bot_user="U1",
                scopes="chat:write",
                token=b"x",
                refresh_token=None,
                expires_at=None,
                installed_by="octocat",
            ),
            "WorkerProcess": WorkerProcess(
                id="worker-1", machine_id="machine-1", config_digest="", version="1"
            ),
            "configs.keep.text": b"encrypted",
            "Announcement": Announcement(key="a freeze", text="Frozen from 18:00 UTC"),
            "AutomaticDeployment": _automatic(row, now),
            "Proposal": Proposal(
                cause="push",
                repo=row.repo,
                repo_id=row.repo_id,
                installation_id=row.installation_id,
                environment=row.environment,
                sha="new",
            ),
            "NewAct": NewAct(actor="octocat", source="slack", action="lock"),
            "Policy": Policy(cast("Environment", PROMOTED)),
            "Prospective": Prospective(
                repo=row.repo,
                repo_id=row.repo_id,
                environment=row.environment,
                ref="main",
                sha=row.sha,
                asker="octocat",
                asker_id=1,
            ),
            "NewFileCheck": NewFileCheck(**self.head),
            "FileCheck": FileCheck(**self.head, id=1, external_id="x", at=now, over=False),
            "NewApproval": NewApproval(
                policy="x",
                user_id=1,
                login="octocat",
                approved=True,
                comment="",
                source="slack",
                at=now,
                lasts=None,
            ),
            "NewOverride": NewOverride(
                deployment_id=row.id,
                gates=("lock",),
                login="octocat",
                reason="x",
                source="slack",
                at=now,
                expires_at=now,
            ),
            "Changelog": Changelog("since", 0, 0, ()),
            "datetime": now,
            "EnvironmentKey": EnvironmentKey(0, ""),
            "ended_in": EnvironmentKey(row.repo_id, row.environment),
            "timedelta": timedelta(seconds=1),
            "deployment_id": row.id,
            "created_deployment_id": row.id + 1,
            "repo": row.repo,
            "repo_id": row.repo_id,
            "repo_ids": [row.repo_id],
            "installation_id": row.installation_id,
            "account": "acme",
            "login_id": 1,
            "user_id": 1,
            "handler": row.handler,
            "sha": row.sha,
            "run_id": str(row.id * 10),
            "title": f"Deploy {row.id}",
            "since": row.sha,
            "action_id": self.action.id,
            "confirms": self.action.id,
            "entry_id": self.status.id,
            "destination": self.destination,
            "position": self.status.position,
            "positions": [self.status.position],
            "deployment_ids": [row.id],
            "github_id": filling.FIRST_STATUS + 1,
            "states": ["success", "failure"],
            "after": 0,
            "limit": 20,
            "seconds": 60,
            "kind": "status",
            "purpose": "main",
            "outcome": "done",
            "state": "waiting",
            "lookups": 1,
            "counted": True,
            "only": row.id - 5,
            "ref": {"id": "1"},
            "task": "advance",
            "keys": self.keys,
            "notified": [row.id],
            "chained_in": row.repo_id,
            "free": dict.fromkeys(KINDS, 20),
            "worker": "worker-1",
            "finished": self.finished,
            "delivery_id": row.id - filling.FIRST_ID,
            "delivery_ids": [row.id - filling.FIRST_ID],
            "at_byte": 100,
            "chunk": b"Deployed.",
            "machine_id": "machine-1",
            "watcher": "machine-2",
            "team": "T1",
            "token": b"x",
            "refresh_token": None,
            "rotate": lambda token: token,
            "browser": "cookie",
            "document": {},
            "announcement_id": 1,
            "check_id": 1,
            "automatic_id": 1,
            "at": now,
            "deadline": now,
            "context": "build",
            "contexts": ["build"],
            "created": row.id,
            "automatic.of_commit.environment": row.environment,
            "NewLock": NewLock(
                repo_id=row.repo_id,
                repo=row.repo,
                environment="new",
                owner="octocat",
                reason="x",
                lets=(),
                source="slack",
                created_at=now,
                expires_at=None,
            ),
            "Lock": Lock(
                id=1,
                repo_id=row.repo_id,
                repo=row.repo,
                environment="*",
                owner="octocat",
                reason="x",
                lets=(),
                created_at=now,
                expires_at=None,
            ),
            "lock_id": 1,
            "NewRequest": NewRequest(
                key="new form",
                kind="replay",
                login="octocat",
                user_id=1,
                deliveries=[row.id - filling.FIRST_ID],
            ),
            "request_id": 1,
            "count": 1,
            "skipped": 0,
            "before": 2**62,
            "least": 0,
            "longest": 100_000,
            "delivery_requests.end.state": "done",
            "restore_id": 1,
            "how": "unlocked",
            "by": "octocat",
            "locks.in_scope.environment": row.environment,
            "locks.active_in.environment": row.environment,
            "repository_names.id_of.name": row.repo,
            "destinations": [self.destination],
            "environments": ["stage-2", "unrouted"],
            "shas": (row.sha,),
            "RepositoryFile": RepositoryFile(
                repo_id=row.repo_id, ref=HEAD, state="missing", read_at=now
            ),
            "repository_files.is_recent.ref": HEAD,
            "repository_files.is_recent.since": now,
            "board.environments.names": ["production", "unrouted"],
            "board.successes.keys": [EnvironmentKey(row.repo_id, row.environment)],
            "board.answered.deployment_ids": [row.id],
            "open_deployments.waiting_in.environment": row.environment,
            "audit.search.wanted": audit.Filter(actor="octo", repo_ids=[row.repo_id]),
            "HistoryFilter": HistoryFilter(phases=(Phase.FAILURE,), who="octocat"),
            **{
                f"{function}.environment": row.environment
                for function in (
                    "environment_history.history",
                    "environment_history.newest_begun",
                    "environment_history.newest_success",
                    "environment_history.refs",
                    "environment_history.spelling",
                    "locks.active_in_sync",
                    "queue.of_environment",
                )
            },
            "environment_history.history.before": row.id,
            "environment_history.repositories_named.name": row.repo,
            "deployment_order.requested_after.environment": row.environment,
            "approvals.newest_waiting.environment": row.environment,
            "audit.newest.since": None,
            "Selection": Selection(since=now - timedelta(days=1)),
            "kept_since": now - timedelta(days=3),
            "recovery.open_missed.named": None,
            "MissedSelection": MissedSelection(event="deployment"),
            "DeploymentSelection": DeploymentSelection(
                repo=row.repo, environment=row.environment, since=now - timedelta(days=1)
            ),
            "ages.first_since.table": "deployments",
            "Scope": Scope(
                repo_ids=(row.repo_id,),
                environment=row.environment,
                before=now - timedelta(days=2),
                since=now - timedelta(days=1),
                until=now,
            ),
            "insights.read.environments": 50,
            "insights.facts.kind": "bad",
            "insights.facts.after": (now, 1),
            "deliveries.newest.before": 2**62,
            "deliveries.count_since.since": now - timedelta(minutes=5),
            "most": 100,
            "prefix": "0123456789",
            "ListedUntil": ListedUntil(
                repo_id=row.repo_id, since=now, listed_until=now, etag="x", listed_at=now
            ),
            "unreceived.deliver.body": b"{}",
            "batch": [Received(1, "new", "deployment", b"{}")],
            "received": Received(1, "missed", "deployment", b"{}"),
            "Scan": NO_SCAN,
            "missed": _missed(now),
            "recovery.keep_page.missed": [_missed(now)],
            "recovery.keep_last_page.missed": [_missed(now)],
            "guid": "missed",
            "guids": ["missed"],
            "cursor": "v1_1",
            "tries": 1,
            **dict.fromkeys(("user", "login", "message", "code", "error", "call", "reason"), "x"),
            **dict.fromkeys(("key", "digest", "description", "value", "name"), "x"),
            "outbox.keep_doubted.since": now,
            "outbox.keep.entry": Entry.new(
                "message", row.id, destination=self.destination, purpose="main", position=0
            ),
            "schedule.bring_forward.task": "notify",
            "deployments.is_in.repo": "acme/other",
            "protection_rules.waiting_in_run.run": str(row.id),
            "timeline.add_answer.kind": "comment",
            "timeline.add_answer.most": 9,
            "oauth_states.add.purpose": "link",
            "oauth_states.is_valid.purpose": "link",
            "oauth_states.consume.purpose": "link",
            "repository_names.rename.repository": Repository(row.repo_id, "acme/new", row.repo_url),
            "tool_events.knows_run.run_id": row.id * 10,
            "deployments.save_changelog.since": "",
            "committed_at": [now],
            "deployments.change.columns": {"phase": Phase.IN_PROGRESS, "status_description": "x"},
        }


NO_SCAN = Scan(
    watermark=None,
    begins=None,
    newest=None,
    known_since=None,
    cursor="",
    paused=timedelta(0),
    failing_for=timedelta(0),
)


def _missed(now: datetime) -> Missed:
    return Missed(
        guid="missed", event="deployment", github_id=2**62, attempted_at=now, delivered_at=now
    )


def _automatic(row: DeploymentRow, now: datetime) -> AutomaticDeployment:
    return AutomaticDeployment(
        id=2**62,
        at=now,
        cause="push",
        repo=row.repo,
        repo_id=row.repo_id,
        installation_id=row.installation_id,
        environment=row.environment,
        sha="new",
        ref="refs/heads/main",
        login="octocat",
        login_id=1,
        from_deployment_id=0,
        due_at=None,
        deadline=now,
        skips_checks="",
        state="waiting",
        code="",
        reason="",
        contexts=[],
        action_id=None,
        created_deployment_id=None,
        ended_at=None,
    )


_OTHERS = (filling.HOT, *filling.IN_THE_WAY)
# The deployments that differ in what a query about them has to read.
CASES = {
    "busy, newest": f"repo_id = {filling.HOT} and environment = 'stage-1' order by id desc",
    "busy, oldest": f"repo_id = {filling.HOT} and environment = 'stage-1' order by id",
    "no success": f"repo_id = {filling.HOT} and environment = 'unrouted' order by id desc",
    "in flight": f"repo_id = {filling.HOT} and phase = 'in_progress' order by id desc",
    "quiet": f"repo_id not in {_OTHERS} and environment = 'stage-1' order by id",
    "rejected": f"repo_id = {filling.REJECTING[0]} order by id desc",
}


async def _case(name: str, connection: psycopg.Connection[Any], asynchronous: Any) -> Case:
    one = connection.execute(f"select id from deployments where {CASES[name]} limit 1").fetchone()
    row = deployments.read_sync(connection, one["id"]) if one else None
    assert row is not None, f"no deployment is {name}"
    newest = connection.execute(
        "select max(position) as position from timeline where deployment_id = %s", [row.id]
    ).fetchone()
    action = connection.execute(
        "select id from actions order by deployment_id = %s desc nulls last, id desc limit 1",
        [row.id],
    ).fetchone()
    assert newest
    assert action
    pressed = await actions.read(asynchronous, action["id"])
    assert pressed
    named = {"quiet": "slack:#new", "rejected": "slack:#archived"}
    messages = outbox.messages_of(connection, row.id)
    return Case(
        name=name,
        row=row,
        action=pressed,
        status=await outbox.entry_of(asynchronous, "status", row.id, position=newest["position"]),
        message=messages[0] if messages else None,
        destination=named.get(name, f"slack:#deploys-{row.repo_id % filling.CHANNELS}"),
    )


def functions() -> dict[str, Callable[..., Any]]:
    """Of the store, those that take a connection."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(webhook.store.__path__):
        if not module.ispkg:
            loaded = import_module(f"webhook.store.{module.name}")
            members = inspect.getmembers(loaded, inspect.isfunction)
            found |= {
                f"{module.name}.{name}": function
                for name, function in members
                if function.__module__ == loaded.__name__
            }
    return {
        name: function
        for name, function in found.items()
        if not name.partition(".")[2].startswith("_")
        and "connection" in inspect.signature(function).parameters
    }


def calls_of(name: str, function: Callable[..., Any], case: Case) -> Iterator[dict[str, Any]]:
    """The arguments of each call: with all defaults, without each of them, and without any."""
    values = case.values
    given: dict[str, list[Any]] = {}
    extra: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = values[f"{name}.{parameter.name}"]
        elif parameter.name != "connection":
            given[parameter.name] = list(_values(name, parameter, values))
    first = {name: one[0] for name, one in given.items()} | extra
    others = {name: one[1] for name, one in given.items() if len(one) > 1}
    yield first
    yield from (first | {key: other} for key, other in others.items())
    if len(others) > 1:
        yield first | others


def _values(name: str, parameter: inspect.Parameter, values: dict[str, Any]) -> Iterator[Any]:
    has_default = parameter.default is not parameter.empty
    if has_default:
        yield parameter.default
    if isinstance(parameter.default, bool):
        yield not parameter.default
        return
    keys = (f"{name}.{parameter.name}", *_types(parameter.annotation), parameter.name)
    known = [values[key] for key in keys if key in values]
    if known:
        yield known[0]
    elif not has_default:
        raise Unmeasured(f"benchmarks/calls.py has no value for `{parameter.name}` of {name}")


def _types(annotation: Any) -> Iterator[str]:
    """A class's name; of a union, those of its members."""
    for member in getattr(annotation, "__args__", (annotation,)):
        if inspect.isclass(member):
            yield member.__name__


class Caller:
    """Calls each function in a transaction of its own, which is taken back."""

    def __init__(self, url: str, repeat: int = 1) -> None:
        self._url = url
        self._recorder = Recorder(repeat)
        self.measured: list[Measured] = []

    async def call_all(self, names: Iterable[str] = CASES) -> list[Measured]:
        with ExplainingConnection.open(self._url, self._recorder) as sync:
            async with await ExplainingAsyncConnection.open(self._url, self._recorder) as other:
                for case in [await _case(name, sync, other) for name in names]:
                    for name, function in functions().items():
                        if name not in EXCEPTIONS:
                            await self._call(name, function, case, sync, other)
        return self.measured

    async def _call(
        self,
        name: str,
        function: Callable[..., Any],
        case: Case,
        sync: ExplainingConnection,
        asynchronous: ExplainingAsyncConnection,
    ) -> None:
        for arguments in calls_of(name, function, case):
            self._recorder.statements.clear()
            # Of what another process did before, the statement is measured.
            with suppress(Conflict):
                if inspect.iscoroutinefunction(function):
                    async with asynchronous.transaction(force_rollback=True):
                        await function(asynchronous, **arguments)
                else:
                    with sync.transaction(force_rollback=True):
                        function(sync, **arguments)
            self._keep(name, case.name)

    def _keep(self, name: str, case: str) -> None:
        self.measured += [Measured(name, case, one) for one in self._recorder.statements]
