"""Deployments: one row each; every decision is made from this row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, TypedDict, Unpack

from psycopg import sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from handlers.contract import Run, State
from webhook.deployments.blockers import Blocker
from webhook.deployments.changelog import Changelog
from webhook.deployments.lateness import Lateness
from webhook.deployments.models import GitHubDeployment, Repository, is_production, person_id
from webhook.deployments.phases import Phase
from webhook.errors import Conflict
from webhook.store import repository_names
from webhook.store.database import Async, Sync

# GitHub ends a job that nobody has let through after 30 days.
RULE_WAITS_AT_MOST = timedelta(days=29)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRow:
    """A deployment as the relay knows it.

    `requested_at`: None while only its statuses are known. `watched`: GitHub Actions runs it.
    `delivery`: GUID of the delivery that requested it. `production`: as deploy.yml says, else
    GitHub. `started_on`: the machine of the first start. `start_claimed_until`: until then a start
    whose response was lost may have worked although the tool does not show it. `possible_starts`:
    how many may have run, of a tool that would run each of them. `reported_at`: when
    the tool last reported a status. `polled_at`: when a tool that sends events was last asked all
    the same; `polled_events`: digest of those that were known then. `tool_error`: why the tool is
    unavailable now; `outage_announced`: the status says so. `rejected_call`: the call that is
    rejected in a way that does not count yet. `changelog`: commits since the last success, as JSON.
    `cancel_requested_by`: a login on GitHub. `ref_name`: the branch or tag of which a person
    requested this commit in Slack; GitHub knows only the commit then. `has_reports`: of its tool,
    that are not judged yet. `creator_id`: the account of the person who created it, 0 if that was
    nobody known. `blockers`: what kept it from starting when its gates were asked last.
    `superseded_by`: the newer deployment that went instead, 0 if there is none. `lateness`: what
    was done about it because the relay learned of it late. `rule_run_id`: the workflow run that
    waits on GitHub for the relay's answer to its protection rule, or has waited;
    0: none. `rule_check_at`: when GitHub is asked what became of that run. `asker`: login of the
    person who started that run, `asker_id` the account. `config_digest`: of the deploy.yml with
    which it began; "" where that is not known.
    """

    id: int
    repo: str
    repo_id: int
    repo_url: str
    installation_id: int
    environment: str
    ref: str
    sha: str
    task: str
    payload: Any
    description: str
    creator: str
    creator_id: int
    production: bool
    production_on_github: bool
    transient: bool
    created_at: datetime
    requested_at: datetime | None = None
    delivery: str = ""
    watched: bool = False
    rule_run_id: int = 0
    rule_check_at: datetime | None = None
    asker: str = ""
    asker_id: int = 0
    phase: Phase
    phase_at: datetime
    status_description: str = ""
    handler: str = ""
    run: Run | None = None
    environment_url: str = ""
    started_at: datetime | None = None
    started_on: str | None = None
    config_digest: str = ""
    deadline: datetime | None = None
    ended_at: datetime | None = None
    start_claimed_until: datetime | None = None
    possible_starts: int = 0
    reported_at: datetime | None = None
    polled_at: datetime | None = None
    polled_events: str = ""
    tool_error: str = ""
    tool_error_since: datetime | None = None
    rejected_call: str = ""
    rejected_since: datetime | None = None
    rejected_at: datetime | None = None
    outage_announced: bool = False
    changelog: dict[str, Any] | None = None
    cancel_requested_by: str | None = None
    blockers: tuple[Blocker, ...] = ()
    superseded_by: int = 0
    lateness: Lateness = Lateness.NONE
    version: int = 0
    ref_name: str = ""
    has_reports: bool = False

    @property
    def shown_ref(self) -> str:
        """What people call it."""
        return self.ref_name or self.ref

    def waits_until(self, limit: timedelta) -> datetime | None:
        """When its wait for gates is over."""
        if self.requested_at is None:
            return None
        over = self.requested_at + limit
        return min(over, self.created_at + RULE_WAITS_AT_MOST) if self.rule_run_id else over

    @property
    def gated(self) -> bool:
        """Its start passes gates."""
        return not self.watched or self.rule_run_id > 0

    @property
    def waits_for_rule(self) -> bool:
        """Its job waits on GitHub for the relay's answer."""
        return self.rule_run_id > 0 and self.started_at is None and self.ended_at is None


# By name: during an update, processes of this version meet the columns of the next one.
REF_NAME = (
    "coalesce((select ref_name from actions where created_deployment_id = deployments.id"
    " order by actions.id limit 1), '') as ref_name"
)
_COMPUTED = {
    "ref_name": REF_NAME,
    "has_reports": "exists (select from timeline where deployment_id = deployments.id"
    " and not judged) as has_reports",
}
_COLUMNS = ", ".join(_COMPUTED.get(field.name, field.name) for field in fields(DeploymentRow))
_SELECT = f"select {_COLUMNS} from deployments"


class Columns(TypedDict, total=False):
    """Columns that `change` may set; it also sets `phase_at` and `version`."""

    requested_at: datetime
    delivery: str
    watched: bool
    rule_run_id: int
    rule_check_at: datetime | None
    asker: str
    asker_id: int
    production: bool
    phase: Phase
    status_description: str
    environment_url: str
    ended_at: datetime
    cancel_requested_by: str | None
    handler: str
    run: Run
    blockers: tuple[Blocker, ...]
    superseded_by: int
    lateness: Lateness
    started_at: datetime | None
    started_on: str | None
    config_digest: str
    starting: bool
    deadline: datetime | None
    start_claimed_until: datetime | None
    possible_starts: int
    reported_at: datetime
    polled_at: datetime
    polled_events: str
    tool_error: str
    tool_error_since: datetime | None
    rejected_call: str
    rejected_since: datetime | None
    rejected_at: datetime | None
    outage_announced: bool


def _row(values: DictRow) -> DeploymentRow:
    run = values["run"]
    typed = {
        "phase": Phase(values["phase"]),
        "lateness": Lateness(values["lateness"]),
        "run": None if run is None else Run(**{**run, "state": State(run["state"])}),
        "blockers": tuple(Blocker.from_json(one) for one in values["blockers"]),
    }
    return DeploymentRow(**{**values, **typed})


def new_row(
    deployment: GitHubDeployment, repository: Repository, installation_id: int
) -> DeploymentRow:
    """As it is inserted."""
    production = is_production(deployment.environment, deployment.production_environment)
    return DeploymentRow(
        id=deployment.id,
        repo=repository.full_name,
        repo_id=repository.id,
        repo_url=repository.html_url,
        installation_id=installation_id,
        environment=deployment.environment,
        ref=deployment.ref,
        sha=deployment.sha,
        task=deployment.task,
        payload=deployment.payload,
        description=deployment.description,
        creator=deployment.creator,
        creator_id=person_id(deployment),
        production=production,
        production_on_github=production,
        transient=bool(deployment.transient_environment),
        created_at=deployment.created_at,
        phase=Phase.SEEN,
        phase_at=deployment.created_at,
    )


# In the place of the table: one row alone, which need not be there.
IMAGINED = "jsonb_populate_record(null::deployments, %(row)s) deployments"


def imagined(row: DeploymentRow) -> Jsonb:
    """What `IMAGINED` takes as `row`."""
    own = (field.name for field in fields(DeploymentRow) if field.name not in _COMPUTED)
    document = {name: getattr(row, name) for name in own}
    document["run"] = row.run and asdict(row.run)
    document["blockers"] = [one.to_json() for one in row.blockers]
    return Jsonb(document, dumps=partial(json.dumps, default=datetime.isoformat))


async def get_or_create(
    connection: Async,
    deployment: GitHubDeployment,
    repository: Repository,
    installation_id: int,
    at: datetime | None = None,
) -> DeploymentRow:
    """The row of GitHub's deployment, inserted if it is new; locked until the transaction ends.
    `at`: when the repository had that name; by default, when the deployment was created."""
    if (row := await _insert(connection, deployment, repository, installation_id)) is not None:
        return row
    at = at or deployment.created_at
    repository = await repository_names.current(connection, repository, at)
    await _insert(connection, deployment, repository, installation_id)
    row = await read(connection, deployment.id, lock=True)
    assert row is not None
    return row


async def _insert(
    connection: Async, deployment: GitHubDeployment, repository: Repository, installation_id: int
) -> DeploymentRow | None:
    """None where it is there already, or its repository's name is not the newest that is known."""
    new = new_row(deployment, repository, installation_id)
    cursor = await connection.execute(
        "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref,"
        " sha, task, payload, description, creator, creator_id, production, production_on_github,"
        " transient, created_at, phase)"
        " select %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s"
        f" from ({repository_names.NEWEST}) newest where full_name = %s and html_url = %s"
        f" on conflict (id) do nothing returning {_COLUMNS}",
        [
            new.id,
            new.repo,
            new.repo_id,
            new.repo_url,
            new.installation_id,
            new.environment,
            new.ref,
            new.sha,
            new.task,
            Jsonb(new.payload),
            new.description,
            new.creator,
            new.creator_id,
            new.production,
            new.production_on_github,
            new.transient,
            new.created_at,
            new.phase,
            new.repo_id,
            new.repo,
            new.repo_url,
        ],
    )
    values = await cursor.fetchone()
    return _row(values) if values else None


async def read(
    connection: Async, deployment_id: int, *, lock: bool = False
) -> DeploymentRow | None:
    query = f"{_SELECT} where id = %s" + (" for update" if lock else "")
    cursor = await connection.execute(query, [deployment_id])
    values = await cursor.fetchone()
    return _row(values) if values else None


async def read_where(
    connection: Async, condition: str, values: Mapping[str, object]
) -> list[DeploymentRow]:
    cursor = await connection.execute(f"{_SELECT} where {condition}", values)
    return [_row(found) async for found in cursor]


def read_where_sync(
    connection: Sync, condition: str, values: Mapping[str, object]
) -> list[DeploymentRow]:
    return [_row(found) for found in connection.execute(f"{_SELECT} where {condition}", values)]


async def wait_for_changes(connection: Async, deployment_id: int) -> None:
    """Whoever has the row locked now has committed then."""
    await connection.execute("select from deployments where id = %s for share", [deployment_id])


async def read_with(
    connection: Async, columns: str, joins: str, values: Mapping[str, object]
) -> tuple[DeploymentRow, DictRow] | None:
    """The row of the `id` in `values`, and what other rows say at the same moment."""
    found = await (await connection.execute(_with(columns, joins), values)).fetchone()
    return _parted(found) if found else None


def read_with_sync(
    connection: Sync, columns: str, joins: str, values: Mapping[str, object]
) -> tuple[DeploymentRow, DictRow] | None:
    found = connection.execute(_with(columns, joins), values).fetchone()
    return _parted(found) if found else None


def _with(columns: str, joins: str) -> str:
    return f"select {_COLUMNS}, {columns} from deployments {joins} where deployments.id = %(id)s"


def _parted(found: DictRow) -> tuple[DeploymentRow, DictRow]:
    own = {field.name: found.pop(field.name) for field in fields(DeploymentRow)}
    return _row(own), found


def read_sync(connection: Sync, deployment_id: int, *, lock: bool = False) -> DeploymentRow | None:
    query = f"{_SELECT} where id = %s" + (" for update" if lock else "")
    values = connection.execute(query, [deployment_id]).fetchone()
    return _row(values) if values else None


def is_in(connection: Sync, row: DeploymentRow, repo: str) -> bool:
    """Whether that is its repository's name, or was before a rename."""
    if row.repo.casefold() == repo.casefold():
        return True
    return repository_names.had_name(connection, row.repo_id, repo)


async def change(
    connection: Async, row: DeploymentRow, **columns: Unpack[Columns]
) -> DeploymentRow:
    """Set these columns; raises `Conflict` if the row was changed since it was read."""
    values: dict[str, object] = {**columns, "id": row.id, "version": row.version}
    if "run" in columns:
        values["run"] = Jsonb(asdict(columns["run"]))
    if "blockers" in columns:
        values["blockers"] = Jsonb([one.to_json() for one in columns["blockers"]])
    cursor = await connection.execute(_update(tuple(columns)), values)
    changed = await cursor.fetchone()
    if changed is None:
        raise Conflict(f"deployment {row.id} was changed by another process")
    return _row(changed)


@cache
def _update(columns: tuple[str, ...]) -> bytes:
    """One statement for each set of columns, which PostgreSQL prepares once."""
    assignments: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in columns
    ]
    if "phase" in columns:
        assignments.append(sql.SQL("phase_at = now()"))
    query = sql.SQL(
        "update deployments set version = version + 1, {} where id = %(id)s"
        f" and version = %(version)s returning {_COLUMNS}"
    )
    return query.format(sql.SQL(", ").join(assignments)).as_bytes(None)


async def set_installation(
    connection: Async, repo_ids: Sequence[int], installation_id: int
) -> None:
    """The App is in these repositories through that installation now. Of an older deployment, which
    hardly needs it any more, the next call to GitHub finds it out. No version: nothing is decided
    by it, and a deployment that changes at the same moment must not be disturbed."""
    await connection.execute(
        "update deployments set installation_id = %(installation)s where id = any(array("
        "select newest.id from unnest(%(repos)s::bigint[]) as asked (id) cross join lateral"
        " (select id from deployments where repo_id = asked.id order by id desc limit 50) newest"
        " union select id from deployments where repo_id = any(%(repos)s) and followed))"
        " and installation_id <> %(installation)s",
        {"installation": installation_id, "repos": list(repo_ids)},
    )


async def newest(connection: Async) -> DeploymentRow | None:
    """Of all."""
    cursor = await connection.execute(f"{_SELECT} order by id desc limit 1")
    values = await cursor.fetchone()
    return _row(values) if values else None


async def copy_changelog(
    connection: Async, deployment_id: int, repo_id: int, since: str, sha: str
) -> Changelog | None:
    """Save that of another deployment of the repository with the same two commits; None where there
    is none."""
    cursor = await connection.execute(
        "update deployments set changelog = known.changelog, committed_at = known.committed_at"
        " from (select changelog, committed_at from deployments"
        " where repo_id = %s and sha = %s and changelog->>'since' = %s"
        " and changelog ? 'total' limit 1) known where id = %s returning known.changelog",
        [repo_id, sha, since, deployment_id],
    )
    row = await cursor.fetchone()
    return Changelog.from_json(row["changelog"]) if row else None


async def save_changelog(
    connection: Async,
    deployment_id: int,
    since: str,
    changelog: Changelog | None,
    committed_at: Sequence[datetime] | None = None,
) -> None:
    """None: GitHub does not know the commits since `since`. It is saved whatever else changes the
    row meanwhile. `committed_at`: of each of the commits; None: not known."""
    document = changelog.to_json() if changelog else {"since": since}
    times = None if committed_at is None else list(committed_at)
    await connection.execute(
        "update deployments set changelog = %s, committed_at = %s::timestamptz[] where id = %s",
        [Jsonb(document), times, deployment_id],
    )
