"""The audit: who did what, when, why, and from where. Rows are only added; PostgreSQL refuses to
change or delete one.

What is an action, as all that is requested in Slack, comes here by itself when it ends
(`webhook.store.actions.end`), with its `inputs` as details, of which "reason" or "comment" is the
reason. An action that has more to say adds its own row before, in the transaction that does it,
with its `action_id`: then that row is the only one. What is done elsewhere is added where it is
done.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from webhook.store.database import Async, Sync

# Where somebody did it; "relay": nobody did, a rule of deploy.yml asks for it.
Source = Literal["slack", "command line", "page", "relay"]
Outcome = Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAct:
    """`actor`: a GitHub login, else who it was at that place. `action`: lock, approve, deploy, ...
    `reason`: in the person's own words, or why it was not done. `repo_id` 0 and `environment` "":
    of all of them. `action_id`: what was requested in Slack, None of what was done elsewhere."""

    actor: str
    source: Source
    action: str
    outcome: Outcome = "done"
    repo_id: int = 0
    repo: str = ""
    environment: str = ""
    deployment_id: int | None = None
    action_id: int | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(NewAct):
    id: int
    at: datetime


# Of a row of `actions`.
_SLACK_USER = """
    'slack_user', case when slack_user = '' then null when slack_user like '%%/%%' then slack_user
        else team || '/' || slack_user end
"""
# Of an action that ends, as `ended`; nothing where it has added a row of its own.
OF_ACTION = f"""
    insert into audit (actor, source, action, outcome, repo_id, repo, environment, deployment_id,
        action_id, reason, details)
    select coalesce(nullif(login, ''), nullif(slack_name, ''), 'somebody'),
        case when source <> '' then source when slack_user = '' then 'relay' else 'slack' end,
        kind, outcome, repo_id, repo,
        environment, coalesce(deployment_id, created_deployment_id), id,
        case when outcome = 'done' then coalesce(inputs->>'reason', inputs->>'comment', '')
            else message end,
        jsonb_strip_nulls(jsonb_build_object(
            {_SLACK_USER},
            'sha', coalesce((select sha from deployments where id = ended.deployment_id),
                case when slack_user = '' and source = '' then ref end),
            'ref', nullif(coalesce(nullif(ref_name, ''), ref), ''),
            'created', created_deployment_id,
            'message', nullif(message, ''),
            'code', nullif(code, ''),
            'inputs', nullif(inputs, '{{}}')))
    from ended on conflict (action_id) do nothing
"""


_ADD = (
    "insert into audit (actor, source, action, outcome, repo_id, repo, environment,"
    " deployment_id, action_id, reason, details)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb || coalesce(("
    f" select jsonb_build_object({_SLACK_USER}) from actions where actions.id = %s), '{{}}'))"
)


async def add(connection: Async, act: NewAct) -> None:
    """In the transaction that does it."""
    await connection.execute(_ADD, _values(act))


def add_sync(connection: Sync, act: NewAct) -> None:
    """The same, of what a command does."""
    connection.execute(_ADD, _values(act))


def _values(act: NewAct) -> list[Any]:
    return [
        act.actor,
        act.source,
        act.action,
        act.outcome,
        act.repo_id,
        act.repo,
        act.environment,
        act.deployment_id,
        act.action_id,
        act.reason,
        Jsonb(dict(act.details)),
        act.action_id,
    ]


def newest(connection: Sync, limit: int, *, since: datetime | None = None) -> list[Act]:
    """The newest first."""
    cursor = connection.cursor(row_factory=class_row(Act))
    cursor.execute(
        "select id, at, actor, source, action, outcome, repo_id, repo, environment, deployment_id,"
        " action_id, reason, details from audit where at >= coalesce(%s, '-infinity'::timestamptz)"
        " order by at desc, id desc limit %s",
        [since, limit],
    )
    return cursor.fetchall()


# Rows that one page searches, from where it begins.
SEARCHED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """`repo_ids` None: of everything. "" and None: any. `actor` and `repo`: a part of the name."""

    repo_ids: Collection[int] | None = None
    actor: str = ""
    action: str = ""
    source: str = ""
    outcome: str = ""
    repo: str = ""
    environment: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """`older`: rows before this id were not searched, or not returned; None: there are none."""

    acts: list[Act]
    older: int | None


_SEARCH = f"""
with searched as (
    select * from audit where id < %(before)s order by id desc limit {SEARCHED}
)
select id, at, actor, source, action, outcome, repo_id, repo, environment, deployment_id, action_id,
    reason, details
from searched where (%(every)s or repo_id = any(%(repo_ids)s))
    and (%(actor)s = '' or position(lower(%(actor)s) in lower(actor)) > 0)
    and (%(action)s = '' or action = %(action)s) and (%(source)s = '' or source = %(source)s)
    and (%(outcome)s = '' or outcome = %(outcome)s)
    and (%(repo)s = '' or position(lower(%(repo)s) in lower(repo)) > 0)
    and (%(environment)s = '' or lower(environment) = lower(%(environment)s))
    and at >= coalesce(%(since)s, '-infinity'::timestamptz)
    and at < coalesce(%(until)s, 'infinity'::timestamptz)
order by id desc limit %(limit)s
"""
_OLDEST = f"""
select min(id) as oldest, count(*) as n
from (select id from audit where id < %s order by id desc limit {SEARCHED}) searched
"""
_NEWEST = 2**63 - 1


def search(connection: Sync, wanted: Filter, limit: int, *, before: int | None = None) -> Found:
    """The newest first, before that id."""
    start = _NEWEST if before is None else before
    values = {name: getattr(wanted, name) for name in Filter.__dataclass_fields__}
    values |= {
        "every": wanted.repo_ids is None,
        "repo_ids": list(wanted.repo_ids or ()),
        "before": start,
        "limit": limit + 1,
    }
    rows = connection.execute(_SEARCH, values).fetchall()
    acts = [Act(**{name: row[name] for name in _ACT}) for row in rows[:limit]]
    if len(rows) > limit:
        return Found(acts, acts[-1].id)
    searched = connection.execute(_OLDEST, [start]).fetchone()
    assert searched is not None
    return Found(acts, searched["oldest"] if searched["n"] == SEARCHED else None)


_ACT = tuple(one.name for one in fields(Act))
