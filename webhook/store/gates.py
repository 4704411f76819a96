"""What gates decide from: a deployment, and what the store says about its environment, at one
moment and by one statement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from webhook.config.destinations import Strict
from webhook.deployments.locks import Lock, covers
from webhook.gates.chains import promotion_of
from webhook.gates.contract import Candidate, Neighbour, Policy, Snapshot
from webhook.gates.serialization import ONE_AT_A_TIME
from webhook.store import approvals, deployments, promotions
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow

T = TypeVar("T", Lock, Neighbour)

# Of those that wait; no gate needs more.
_MOST_WAITING = 50

_HERE = (
    "other.repo_id = deployments.repo_id"
    " and lower(other.environment) = lower(deployments.environment)"
)
_NEIGHBOUR = (
    f"other.followed and {_HERE} and other.id <> deployments.id"
    " and other.requested_at is not null and other.gated"
    # Other jobs of its run, and the deployment whose tool is that run.
    " and (deployments.rule_run_id = 0 or (other.rule_run_id <> deployments.rule_run_id"
    " and (other.run is null or not deployments.rule_run_id::text"
    " = any(string_to_array(other.run->>'id', ' ')))))"
    " and (other.rule_run_id > 0 or not %(only_rules)s)"
)
_READY = (
    "other.waiting and not exists (select from jsonb_array_elements(other.blockers) blocker"
    f" where blocker->>'gate' <> '{ONE_AT_A_TIME}')"
)


def names(model: type) -> str:
    """The columns of its fields."""
    return ", ".join(field.name for field in fields(model))


_ROLLS_BACK = f"""exists (select from deployments other
        where {_HERE} and other.sha = deployments.sha and other.id < deployments.id
        and other.succeeded and other.run->>'state' = 'success')"""
_ASKER = """
    coalesce(asked.login, asking.login, nullif(deployments.asker, ''), starting.login,
        case when creator_id > 0 and not watched then creator end, '') as asker_login,
    coalesce(asked.login_id, asking.login_id, nullif(deployments.asker_id, 0), starting.login_id,
        case when watched then 0 else creator_id end) as asker_number,
    coalesce(nullif(asked.ref_name, ''), nullif(asking.ref_name, ''), ref) as asked_ref
"""
_AROUND = f"""
    {_ROLLS_BACK} as rolls_back,
    array(select to_jsonb(one) from (select {names(Lock)} from locks
        where ended_at is null and repo_id in (0, deployments.repo_id)
        and (expires_at is null or expires_at > %(now)s) order by locks.id) one) as locks,
    array(select full_name from repository_names
        where repository_names.repo_id = deployments.repo_id order by full_name) as former_names,
    {approvals.ABOUT} as approvals,
    array(select distinct unnest(gates) from overrides
        where deployment_id = deployments.id and expires_at > %(now)s) as skipped,
    array(select to_jsonb(one) from (select id, ref, true as running, true as ready
        from deployments other where {_NEIGHBOUR} and other.started_at is not null
        order by id desc) one)
    || array(select to_jsonb(one) from (select id, ref, false as running, {_READY} as ready
        from deployments other where {_NEIGHBOUR} and other.started_at is null
        order by id desc limit {_MOST_WAITING}) one) as neighbours,
    {promotions.OF_DEPLOYMENT} as upstreams
"""
# Not of a job that waits on GitHub: that knows whether it has run.
_RESTORED_FROM = """
    (select backup_at from restores where restored_at > deployments.created_at
        and deployments.rule_run_id = 0 and not exists (select from restored_deployments
            where deployment_id = deployments.id and restore_id = restores.id
            and released_at is not null)
        order by restores.id desc limit 1) as restored_from
"""
# In the place of a deployment's row, one that is not there; it would be the newest.
_NOT_THERE = """(select %(repo_id)s::bigint as repo_id, %(environment)s::text as environment,
    %(sha)s::text as sha, %(id)s::bigint as id, 0::bigint as rule_run_id) deployments"""
_NEWEST = 2**63 - 1
# The second: GitHub's event may be quicker than the response by which the action becomes known as
# the one that created it (webhook.engine.creation). The third: of a job, whose run was started by a
# deployment that somebody requested from the relay.
_JOINS = r"""
    left join lateral (
        select login, login_id, ref_name from actions where created_deployment_id = deployments.id
        order by actions.id limit 1
    ) asked on true
    left join lateral (
        select login, login_id, ref_name from actions
        where id = substring(deployments.description from '\(relay action (\d{1,18})-')::bigint
        and right(deployments.description, 10) = '-' || left(key, 8) || ')'
        and creator_id = 0 and created_deployment_id is null
        and actions.repo_id = deployments.repo_id
        and lower(actions.environment) = lower(deployments.environment)
    ) asking on true
    left join lateral (
        select login, login_id from deployments other
        join actions on created_deployment_id = other.id
        where deployments.rule_run_id > 0 and other.repo_id = deployments.repo_id
        and other.sha = deployments.sha
        and lower(other.environment) = lower(deployments.environment)
        and deployments.rule_run_id::text = any(string_to_array(other.run->>'id', ' '))
        order by actions.id limit 1
    ) starting on true
"""


@dataclass(frozen=True, slots=True)
class Situation:
    """`skipped`: gates that somebody has overridden for it."""

    row: DeploymentRow
    snapshot: Snapshot
    skipped: frozenset[str]


async def lock_environment(connection: Async, row: DeploymentRow) -> None:
    """Until the transaction ends, nobody else starts anything in its environment; nor does anybody
    change the deployment, which is locked after that: who waits for one that has both has none."""
    await connection.execute(
        "select from (select pg_advisory_xact_lock(hashtextextended(%s || ' ' || lower(%s), 0)))"
        " environment cross join deployments where deployments.id = %s for update of deployments",
        [str(row.repo_id), row.environment, row.id],
    )


def asks_rules_only(environment: Strict) -> bool:
    """Where tools start by themselves, only what GitHub holds back waits for others."""
    return bool(getattr(getattr(environment, "options", None), "starts_by_itself", False))


async def rolls_back(connection: Async, deployment_id: int) -> bool:
    """As in `Candidate`."""
    query = f"select {_ROLLS_BACK} as rolls_back from deployments where id = %s"
    row = await (await connection.execute(query, [deployment_id])).fetchone()
    return bool(row and row["rolls_back"])


async def asker_of(connection: Async, deployment_id: int) -> tuple[str, int]:
    """Login and account of who asked for it, as in `Candidate`."""
    query = f"select {_ASKER} from deployments {_JOINS} where deployments.id = %s"
    row = await (await connection.execute(query, [deployment_id])).fetchone()
    login, number, *_ = row.values() if row else ("", 0)
    return login, number


async def read(
    connection: Async, deployment_id: int, policy: Policy, now: datetime
) -> Situation | None:
    values = {"id": deployment_id, **_given(policy, now)}
    columns = f"{_ASKER}, {_AROUND}, {_RESTORED_FROM}"
    found = await deployments.read_with(connection, columns, _JOINS, values)
    return _situation(*found, policy, now) if found else None


async def imagine(
    connection: Async, row: DeploymentRow, policy: Policy, now: datetime
) -> Situation:
    """As `read`, of a row that need not be in the store."""
    values = {"row": deployments.imagined(row), **_given(policy, now)}
    query = f"select {_ASKER}, {_AROUND} from {deployments.IMAGINED} {_JOINS}"
    other = await (await connection.execute(query, values)).fetchone()
    assert other is not None
    return _situation(row, other, policy, now)


def _situation(
    row: DeploymentRow, other: Mapping[str, Any], policy: Policy, now: datetime
) -> Situation:
    candidate = Candidate(
        id=row.id,
        repo=row.repo,
        repo_id=row.repo_id,
        environment=row.environment,
        ref=other["asked_ref"],
        sha=row.sha,
        requested_at=row.requested_at or now,
        asker=other["asker_login"],
        asker_id=other["asker_number"],
        rolls_back=other["rolls_back"],
        former_names=tuple(other["former_names"]),
    )
    snapshot = _snapshot(candidate, policy, now, other)
    return Situation(row, snapshot, frozenset(other["skipped"]))


def _given(policy: Policy, now: datetime) -> dict[str, Any]:
    return {
        "upstreams": list(promotion_of(policy.environment).after),
        "only_rules": asks_rules_only(policy.environment),
        "now": now,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospective:
    """A deployment that is not there yet. `sha`: "" where it is not known."""

    repo: str
    repo_id: int
    environment: str
    ref: str
    sha: str
    asker: str
    asker_id: int


async def foresee(
    connection: Async, prospective: Prospective, policy: Policy, now: datetime
) -> Snapshot:
    """As `read`, of one that would be asked for now."""
    values = {**asdict(prospective), "id": _NEWEST, **_given(policy, now)}
    cursor = await connection.execute(f"select {_AROUND} from {_NOT_THERE}", values)
    other = await cursor.fetchone()
    assert other is not None
    candidate = Candidate(
        id=_NEWEST,
        **asdict(prospective),
        requested_at=now,
        rolls_back=bool(prospective.sha) and other["rolls_back"],
        former_names=tuple(other["former_names"]),
    )
    return _snapshot(candidate, policy, now, other)


def _snapshot(
    candidate: Candidate, policy: Policy, now: datetime, other: Mapping[str, Any]
) -> Snapshot:
    repo_id, environment = candidate.repo_id, candidate.environment
    locks = (_typed(Lock, one) for one in other["locks"])
    return Snapshot(
        candidate=candidate,
        environment=policy.environment,
        now=now,
        file=policy.file,
        locks=tuple(one for one in locks if covers(one, repo_id, environment)),
        approvals=approvals.from_json(other["approvals"]),
        neighbours=tuple(_typed(Neighbour, one) for one in other["neighbours"]),
        upstreams=promotions.from_json(other["upstreams"]),
        restored_from=other.get("restored_from"),
    )


_TIMES = ("at", "created_at", "expires_at")


def _typed(model: type[T], document: Mapping[str, Any]) -> T:
    times = {name: datetime.fromisoformat(document[name]) for name in _TIMES if document.get(name)}
    values = {**document, **times}
    if "lets" in values:
        values["lets"] = tuple(values["lets"])
    return model(**values)
