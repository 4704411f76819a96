"""What deployments amount to, from a narrow row for each that has ended (`deployment_facts`, which
triggers fill). The definitions are in docs/explanation/insights.md.

Units: seconds. Nothing here grows with the store: no more than the newest `MOST` deployments of
what is asked for are read.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from psycopg.rows import class_row

from webhook.store.database import Sync

MOST = 2_000
# Kinds of deployments behind a figure.
Kind: TypeAlias = Literal["all", "changes", "leads", "bad", "recoveries", "rework", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is counted. `repo_ids`: that may be seen; None: all. `environment`: its name, "" for all
    that are production, "*" for all. `since` until `until`, compared with what was after
    `before`. `bucket`: what the drawings count by."""

    repo_ids: tuple[int, ...] | None
    environment: str
    before: datetime
    since: datetime
    until: datetime
    bucket: Literal["day", "week"] = "week"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """`n` values: their median, and what nine of ten are not above (of durations, 19 of 20)."""

    n: int = 0
    median: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one period, week or environment. `changes`: successes with another commit than the one
    before. `bad`: changes that were rolled back or fixed by a hotfix. `rework`: changes that were
    rollbacks or hotfixes. `repeated`: successes with the same commit. `failed`: runs that failed.
    `not_run`: what ended before its tool was started. `leads`: of each commit; `leads_known`: of
    how many changes. `recoveries`: of bad deployments; `unrecovered`: those that still last."""

    current: bool = True
    bucket: datetime | None = None
    repo_id: int = 0
    repo: str = ""
    environment: str = ""
    changes: int = 0
    bad: int = 0
    rework: int = 0
    repeated: int = 0
    failed: int = 0
    not_run: int = 0
    leads: Spread = Spread()
    leads_known: int = 0
    recoveries: Spread = Spread()
    unrecovered: int = 0
    durations: Spread = Spread()
    days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long a gate has held deployments back that waited for it."""

    gate: str
    waited: Spread
    before: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """`kept`: the newest deployment is not deleted yet."""

    handler: str
    outcome: str
    reason: str
    failures: int
    before: int
    newest: int
    repo_id: int
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A deployment as it counts. `change`, `bad`, `rework`: as in `Figures`. `repo`: its name now.
    `commits`: None where it is not known when they were committed. `lead`: their median.
    `kept`: the deployment is not deleted yet."""

    deployment_id: int
    repo: str
    repo_id: int
    environment: str
    production: bool
    sha: str
    outcome: str
    ran: bool
    change: bool
    rework: bool
    bad: bool
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime
    commits: int | None
    lead: float | None
    duration: float | None
    recovery: float | None
    recovered: bool
    reason: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """`reaches`: the oldest deployment that was counted, None where that is all there are."""

    figures: tuple[Figures, ...]
    environments: tuple[Figures, ...]
    waits: tuple[Wait, ...]
    reasons: tuple[Reason, ...]
    reaches: datetime | None


_IS_CHANGE = "outcome = 'success' and since_sha is distinct from sha"
# Otherwise it was compared with another commit than the one that ran there.
_LEADS_KNOWN = f"{_IS_CHANGE} and committed_at is not null and commits_since = since_sha"
_LEAD = "greatest(0, extract(epoch from ended_at - committed))::float8"
_NAME = """
    select full_name as repo from repository_names where repo_id = known.repo_id
    order by seen_at desc, recorded_at desc limit 1
"""
# What a rollback or hotfix repairs: the deployment on which Roll back was pressed, else the one
# that ran before it. A repeated success is that which it repeats, and an attempt to repair that
# failed is not what is repaired.
_BLAMED = f"""
    select * from deployment_facts bad
    where bad.repo_id = repair.repo_id and lower(bad.environment) = lower(repair.environment)
        and bad.ran and bad.deployment_id <> repair.deployment_id
        and (bad.ended_at, bad.deployment_id) <= (select ended_at, deployment_id
            from deployment_facts
            where deployment_id = any(array[repair.blames, repair.deployment_id])
            order by deployment_id = repair.deployment_id limit 1)
        and case when outcome = 'success' then {_IS_CHANGE} else not rework end
    order by bad.ended_at desc, bad.deployment_id desc limit 1
"""
_RECOVERY = """
    select ended_at as recovered_at from deployment_facts
    where repo_id = bad.repo_id and lower(environment) = lower(bad.environment) and ran
        and (ended_at, deployment_id) > (bad.ended_at, bad.deployment_id)
        and outcome = 'success' and (rework or since_sha is distinct from sha)
    order by ended_at, deployment_id limit 1
"""


def _where(scope: Scope) -> str:
    where = ["ended_at >= %(before)s and ended_at < %(until)s"]
    if scope.repo_ids is not None:
        where.append("repo_id = any(%(repo_ids)s)")
    if scope.environment == "":
        where.append("production")
    elif scope.environment != "*":
        where.append("lower(environment) = lower(%(environment)s)")
    return " and ".join(where)


def _chosen(scope: Scope) -> str:
    return f"""chosen as materialized (
    select deployment_id, repo_id, lower(environment) as name, ended_at, outcome, ran, rework,
        {_IS_CHANGE} as change, ended_at >= %(since)s as current,
        case when ended_at >= %(since)s then date_trunc(%(bucket)s, ended_at) end as bucket,
        case when outcome = 'success' then extract(epoch from ended_at - started_at)::float8 end
            as duration,
        case when {_LEADS_KNOWN} then committed_at end as committed_at
    from deployment_facts where {_where(scope)} order by ended_at desc limit {MOST}
)"""


def _bad(scope: Scope, first: str = "%(before)s") -> str:
    """Also of what was repaired after the period. `first`: when the first repair may have ended."""
    repairs = _where(scope).replace("%(before)s and ended_at < %(until)s", first)
    return f"""bad as materialized (
    select distinct on (bad.deployment_id) bad.deployment_id, recovered_at,
        extract(epoch from coalesce(recovered_at, %(now)s) - bad.ended_at)::float8 as recovery
    from (select * from deployment_facts where rework and {repairs}
        order by ended_at desc limit {MOST}) repair
    cross join lateral ({_BLAMED}) bad left join lateral ({_RECOVERY}) after on true
)"""


_COUNTS = """
    count(*) filter (where change) as changes,
    count(*) filter (where change and recovery is not null) as bad,
    count(*) filter (where change and rework) as rework,
    count(*) filter (where outcome = 'success' and not change) as repeated,
    count(*) filter (where outcome <> 'success' and ran) as failed,
    count(*) filter (where not ran) as not_run,
    count(distinct date_trunc('day', ended_at)) filter (where change) as days,
    count(recovery) as recoveries,
    count(*) filter (where recovery is not null and recovered_at is null) as unrecovered,
    percentile_cont(array[0.5, 0.9]) within group (order by recovery) as recovery,
    count(duration) as durations,
    percentile_cont(array[0.5, 0.95]) within group (order by duration) as duration
"""


def _counted(scope: Scope) -> str:
    oldest = "(select min(ended_at) from chosen)"
    return f"""{_chosen(scope)}, {_bad(scope, oldest)}, counted as (
    select chosen.*, recovery, recovered_at from chosen left join bad using (deployment_id)
)"""


_LEADS = f"""
    count(*) as leads, count(distinct deployment_id) as leads_known,
    percentile_cont(array[0.5, 0.9]) within group (order by {_LEAD}) as lead
"""


def read(connection: Sync, scope: Scope, now: datetime, environments: int) -> Insights:
    """`environments`: so many have figures of their own, those of the oldest repositories."""
    values = {**_values(scope, now), "limit": environments}
    reaches = _reaches(connection, scope, values)
    # What is older does not count, and need not be read to find that out.
    values["before"] = reaches or scope.before
    figures, of_environments = _figures(connection, scope, values)
    return Insights(
        figures=figures,
        environments=of_environments,
        waits=_waits(connection, scope, values),
        reasons=_reasons(connection, scope, values),
        reaches=reaches,
    )


def _values(scope: Scope, now: datetime) -> dict[str, Any]:
    return {**asdict(scope), "repo_ids": list(scope.repo_ids or ()), "now": now}


# Both periods, each week or day of the current one, each environment that is shown.
_GROUPS = """
    group by grouping sets ((current), (current, bucket), (current, repo_id, shown))
    having not (grouping(bucket) = 0 and bucket is null)
        and not (grouping(shown) = 0 and (shown is null or not current))
"""
_KEYS = "current, bucket, repo_id, shown"


def _figures(
    connection: Sync, scope: Scope, values: Mapping[str, Any]
) -> tuple[tuple[Figures, ...], tuple[Figures, ...]]:
    """Of the periods and their parts; of environments."""
    shown = """shown as materialized (
    select distinct repo_id, name, name as shown from chosen where current
    order by repo_id, name limit %(limit)s
)"""
    joined = "left join shown using (repo_id, name)"
    counted = connection.execute(
        f"with {_counted(scope)}, {shown} select {_KEYS}, {_COUNTS}"
        f" from counted {joined} {_GROUPS}",
        values,
    ).fetchall()
    leads = connection.execute(
        f"with {_chosen(scope)}, {shown} select {_KEYS}, {_LEADS}"
        f" from chosen {joined}, unnest(committed_at) committed {_GROUPS}",
        values,
    ).fetchall()
    known = {_key(one): one for one in leads}
    names = _names(connection, {one["repo_id"] for one in counted if one["repo_id"]})
    parts: list[Figures] = []
    environments: list[Figures] = []
    for one in counted:
        figures = _read_figures(one, known.get(_key(one)), names.get(one["repo_id"], ""))
        (environments if one["shown"] else parts).append(figures)
    return tuple(parts), tuple(environments)


def _key(group: Mapping[str, Any]) -> tuple[Any, ...]:
    return group["current"], group["bucket"], group["repo_id"], group["shown"]


def _names(connection: Sync, repo_ids: Collection[int]) -> dict[int, str]:
    """What repositories are called now."""
    found = connection.execute(
        f"select repo_id, repo from unnest(%s::bigint[]) known (repo_id)"
        f" cross join lateral ({_NAME}) named",
        [list(repo_ids)],
    )
    return {one["repo_id"]: one["repo"] for one in found}


def _read_figures(
    counted: Mapping[str, Any], leads: Mapping[str, Any] | None, repo: str
) -> Figures:
    return Figures(
        **{name: counted[name] for name in _PLAIN},
        repo_id=counted["repo_id"] or 0,
        repo=repo,
        environment=counted["shown"] or "",
        recoveries=_spread(counted["recoveries"], counted["recovery"]),
        durations=_spread(counted["durations"], counted["duration"]),
        leads=_spread(leads["leads"], leads["lead"]) if leads else Spread(),
        leads_known=leads["leads_known"] if leads else 0,
    )


_PLAIN = (
    "current",
    "bucket",
    "changes",
    "bad",
    "rework",
    "repeated",
    "failed",
    "not_run",
    "days",
    "unrecovered",
)


def _spread(n: int, values: Sequence[float] | None) -> Spread:
    return Spread(n=n, median=values[0], high=values[1]) if n and values else Spread()


def _waits(connection: Sync, scope: Scope, values: Mapping[str, Any]) -> tuple[Wait, ...]:
    found = connection.execute(
        "with waited as materialized (select waits, ended_at >= %(since)s as current"
        f" from deployment_facts where {_where(scope)} order by ended_at desc limit {MOST})"
        " select key as gate, current, count(*) as n,"
        " percentile_cont(array[0.5, 0.9]) within group (order by value::float8) as waited"
        " from waited, jsonb_each_text(waits) where waits <> '{}' group by key, current"
        " order by key",
        values,
    ).fetchall()
    spreads = {(one["gate"], one["current"]): _spread(one["n"], one["waited"]) for one in found}
    return tuple(
        Wait(
            gate=gate,
            waited=spreads.get((gate, True), Spread()),
            before=spreads.get((gate, False), Spread()),
        )
        for gate in dict.fromkeys(one["gate"] for one in found)
    )


# So many reasons have a line of their own.
MOST_REASONS = 12


def _reasons(connection: Sync, scope: Scope, values: Mapping[str, Any]) -> tuple[Reason, ...]:
    cursor = connection.cursor(row_factory=class_row(Reason))
    cursor.execute(
        "with failed as materialized (select deployment_id, repo_id, handler, outcome, reason,"
        " ended_at >= %(since)s as current"
        f" from deployment_facts where {_where(scope)} and outcome <> 'success'"
        f" order by ended_at desc limit {MOST})"
        " select *, exists(select from deployments where id = newest) as kept from ("
        " select handler, outcome, reason, count(*) filter (where current) as failures,"
        " count(*) filter (where not current) as before, max(deployment_id) as newest,"
        " (array_agg(repo_id order by deployment_id desc))[1] as repo_id"
        " from failed group by handler, outcome, reason having bool_or(current)"
        " order by failures desc, reason limit %(limit)s) found order by failures desc, reason",
        {**values, "limit": MOST_REASONS},
    )
    return tuple(cursor.fetchall())


def _reaches(connection: Sync, scope: Scope, values: Mapping[str, Any]) -> datetime | None:
    row = connection.execute(
        f"select ended_at from deployment_facts where {_where(scope)}"
        f" order by ended_at desc offset {MOST - 1} limit 1",
        values,
    ).fetchone()
    return row["ended_at"] if row else None


_KINDS: Mapping[Kind, str] = {
    "all": "true",
    "changes": _IS_CHANGE,
    "leads": _LEADS_KNOWN,
    "bad": f"recovery is not null and {_IS_CHANGE}",
    "recoveries": "recovery is not null",
    "rework": f"rework and {_IS_CHANGE}",
    "failed": "outcome <> 'success'",
}


def facts(
    connection: Sync,
    scope: Scope,
    now: datetime,
    *,
    kind: Kind = "all",
    after: tuple[datetime, int] | None = None,
    limit: int = 50,
) -> list[Fact]:
    """Of the current period, the newest first, those after that one."""
    values = {**_values(scope, now), "limit": limit, "before": scope.since}
    values["after_at"], values["after_id"] = after or (scope.until, 0)
    cursor = connection.cursor(row_factory=class_row(Fact))
    cursor.execute(
        f"with {_bad(scope)} select known.*, coalesce(repo, '') as repo,"
        f" exists(select from deployments where id = known.deployment_id) as kept from ("
        f"select deployment_id, repo_id, environment, production, sha, outcome, ran, rework,"
        f" reason, requested_at, started_at, ended_at, {_IS_CHANGE} as change,"
        f" recovery is not null as bad, recovered_at is not null as recovered, recovery,"
        f" case when outcome = 'success' then extract(epoch from ended_at - started_at)::float8 end"
        f" as duration, case when {_LEADS_KNOWN} then cardinality(committed_at) end as commits,"
        f" case when {_LEADS_KNOWN} then (select percentile_cont(0.5) within group"
        f" (order by {_LEAD}) from unnest(committed_at) committed) end as lead"
        f" from deployment_facts left join bad using (deployment_id) where {_where(scope)}"
        f" and ({_KINDS[kind]}) and (ended_at, deployment_id) < (%(after_at)s, %(after_id)s)"
        f" order by ended_at desc, deployment_id desc limit %(limit)s) known"
        f" left join lateral ({_NAME}) named on true"
        f" order by ended_at desc, deployment_id desc",
        values,
    )
    return cursor.fetchall()
