"""Automatic deployments: of each environment and commit one at most, whatever causes it.

One begins as `waiting`: until its checks have succeeded, for example. Then it is `created`, by a
row of `actions` (webhook.engine.creation), or ends without a deployment: `skipped`, as it is not
wanted; `superseded` by a newer one; or `failed`. `reason` is why it waits or has ended.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg.rows import class_row

from webhook.deployments.automatic import KINDS, Cause
from webhook.store.database import Async, Sync

State = Literal["waiting", "created", "skipped", "superseded", "failed"]
# `code` of one that failed because a check did: a check that is run again may succeed.
CHECKS_FAILED = "checks_failed"
# `code` of one whose cause became known so late that it is not deployed any more.
LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is to be deployed, and why. `environment`: its name, not a pattern. `ref`: by its full
    name (refs/heads/main, refs/tags/v1), "" if none is known. `login`: the person who asks for it
    as gates see it, `login_id` 0 if that is nobody. `from_deployment_id`: what is promoted.
    `at`: when its cause was, if not now; `late`: that is too long ago. `due_at`: not before then.
    `skip_reason`: it is kept, but not deployed. `skips_checks`: the marker in its message by which
    GitHub starts no workflows for it."""

    cause: Cause
    repo: str
    repo_id: int
    installation_id: int
    environment: str
    sha: str
    ref: str = ""
    login: str = ""
    login_id: int = 0
    from_deployment_id: int = 0
    at: datetime | None = None
    late: bool = False
    due_at: datetime | None = None
    skip_reason: str = ""
    skips_checks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticDeployment:
    """`contexts`: the checks that it waits for, as they were called when it was looked at last.
    `deadline`: until when it waits for them."""

    id: int
    at: datetime
    cause: Cause
    repo: str
    repo_id: int
    installation_id: int
    environment: str
    sha: str
    ref: str
    login: str
    login_id: int
    from_deployment_id: int
    due_at: datetime | None
    deadline: datetime
    skips_checks: str
    state: State
    code: str
    reason: str
    contexts: list[str]
    action_id: int | None
    created_deployment_id: int | None
    ended_at: datetime | None

    @property
    def order(self) -> tuple[datetime, int]:
        """Of an environment's: the later one is the newer one. Their rows may be made in another
        order, as the deliveries of several pushes are processed at once."""
        return self.at, self.id

    @property
    def ref_name(self) -> str:
        """The branch or tag, as people call it."""
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")

    @property
    def shown_ref(self) -> str:
        return f"{self.ref_name} @ {self.sha[:7]}" if self.ref_name else self.sha[:7]


_SELECT = (
    f"select {', '.join(field.name for field in fields(AutomaticDeployment))}"
    " from automatic_deployments "
)
_HERE = "repo_id = %s and lower(environment) = lower(%s)"


async def add(
    connection: Async, proposal: Proposal, now: datetime, deadline: datetime
) -> int | None:
    """The id of the new one; None where there was one of this environment and commit before. A push
    of a commit that waits, or for which nothing was created, takes the place of the earlier one."""
    state = "skipped" if proposal.skip_reason else "waiting"
    ended_at = now if proposal.skip_reason else None
    cursor = await connection.execute(
        "insert into automatic_deployments as before (at, cause, repo, repo_id, installation_id,"
        " environment, sha, ref, login, login_id, from_deployment_id, due_at, deadline,"
        " skips_checks, state, code, reason, ended_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (repo_id, lower(environment), sha) do update set at = excluded.at,"
        " repo = excluded.repo, installation_id = excluded.installation_id, ref = excluded.ref,"
        " login = excluded.login, login_id = excluded.login_id, deadline = excluded.deadline,"
        " state = 'waiting', code = excluded.code, reason = '', contexts = '{}', action_id = null,"
        " ended_at = null where (before.cause, excluded.cause) = ('push', 'push')"
        " and excluded.state = 'waiting' and excluded.at > before.at and (before.state in"
        " ('superseded', 'failed') or before.state = 'waiting' and before.action_id is null)"
        " returning id",
        [
            proposal.at or now,
            proposal.cause,
            proposal.repo,
            proposal.repo_id,
            proposal.installation_id,
            proposal.environment,
            proposal.sha,
            proposal.ref,
            proposal.login,
            proposal.login_id,
            proposal.from_deployment_id,
            proposal.due_at,
            deadline,
            proposal.skips_checks,
            state,
            LATE if proposal.late else "",
            proposal.skip_reason,
            ended_at,
        ],
    )
    row = await cursor.fetchone()
    return row["id"] if row else None


async def read(connection: Async, automatic_id: int) -> AutomaticDeployment | None:
    found = await _all(connection, "where id = %s", [automatic_id])
    return found[0] if found else None


async def of_commit(
    connection: Async, repo_id: int, environment: str, sha: str
) -> AutomaticDeployment | None:
    found = await _all(connection, f"where {_HERE} and sha = %s", [repo_id, environment, sha])
    return found[0] if found else None


async def concerned(
    connection: Async, repo_id: int, sha: str, context: str, now: datetime
) -> list[int]:
    """Those that wait for news of that commit, or for which it failed; `context`: of which check,
    "" for any. A check that failed may be run again, as long as the others would be waited for."""
    cursor = await connection.execute(
        "with changed as (select id, state from automatic_deployments where repo_id = %s"
        " and sha = %s and (state = 'waiting' or state = 'failed' and code = %s and deadline > %s)"
        " and (%s = '' or contexts = '{}' or %s = any(contexts)) order by id"
        " for update),"
        " again as (update automatic_deployments set state = 'waiting', code = '', ended_at = null,"
        " action_id = null where id = any(array(select id from changed where state = 'failed')))"
        " select id from changed order by id",
        [repo_id, sha, CHECKS_FAILED, now, context, context],
    )
    return [row["id"] async for row in cursor]


async def still_waits(
    connection: Async, automatic_id: int, reason: str, contexts: Collection[str]
) -> None:
    await connection.execute(
        "update automatic_deployments set reason = %s, contexts = %s"
        " where id = %s and state = 'waiting' and (reason, contexts) is distinct from (%s, %s)",
        [reason, list(contexts), automatic_id, reason, list(contexts)],
    )


async def end(
    connection: Async,
    one: AutomaticDeployment,
    state: State,
    reason: str,
    now: datetime,
    *,
    code: str = "",
    created: int | None = None,
) -> bool:
    """Whether this ended it; it may have been pushed once more meanwhile."""
    cursor = await connection.execute(
        "update automatic_deployments set state = %s, reason = %s, code = %s, ended_at = %s,"
        " created_deployment_id = %s where id = %s and at = %s and state = 'waiting'",
        [state, reason, code, now, created, one.id, one.at],
    )
    return cursor.rowcount == 1


async def forget(connection: Async, one: AutomaticDeployment) -> None:
    """One that deploy.yml does not want after all."""
    await connection.execute(
        "delete from automatic_deployments where id = %s and at = %s and state = 'waiting'"
        " and action_id is null",
        [one.id, one.at],
    )


async def lock_environment(connection: Async, one: AutomaticDeployment) -> None:
    """Until the transaction ends, nobody else begins one in its environment."""
    await connection.execute(
        "select pg_advisory_xact_lock(hashtextextended('automatic ' || %s || ' ' || lower(%s), 0))",
        [str(one.repo_id), one.environment],
    )


async def begun_in(connection: Async, one: AutomaticDeployment) -> list[AutomaticDeployment]:
    """The others of its environment that are created now, and those after it that were."""
    begun = (
        f"where {_HERE} and id <> %s and action_id is not null and state = 'waiting'"
        " order by at, id"
    )
    newer = f"where {_HERE} and (at, id) > (%s, %s) and state = 'created' order by at, id limit 1"
    here = [one.repo_id, one.environment]
    return [
        *await _all(connection, begun, [*here, one.id]),
        *await _all(connection, newer, [*here, *one.order]),
    ]


async def supersede_older(
    connection: Async, one: AutomaticDeployment, reason: str, now: datetime
) -> list[int]:
    """Those of its environment that still wait."""
    cursor = await connection.execute(
        "update automatic_deployments set state = 'superseded', reason = %s, ended_at = %s"
        f" where {_HERE} and (at, id) < (%s, %s) and state = 'waiting' and action_id is null"
        " returning id",
        [reason, now, one.repo_id, one.environment, *one.order],
    )
    return [row["id"] async for row in cursor]


_BEGIN = """
with one as (
    select * from automatic_deployments where id = %(id)s and at = %(at)s and state = 'waiting'
    and action_id is null for update
), action as (
    insert into actions (key, kind, team, slack_user, slack_name, login, login_id, repo, repo_id,
        environment, ref, ref_name, deployment_id)
    select gen_random_uuid(), %(kind)s, '', '', '', %(login)s, login_id, repo, repo_id,
        environment, sha, %(ref_name)s,
        (select id from deployments where id = one.from_deployment_id)
    from one returning id
)
update automatic_deployments set action_id = action.id from action
where automatic_deployments.id = %(id)s returning action_id
"""


async def begin(connection: Async, one: AutomaticDeployment) -> int | None:
    """The id of the action that creates it, which is about what it promotes; None if another worker
    has begun it or ended it, or it was pushed once more. Who is behind a bot's push is not known,
    whatever it is called ("Copilot")."""
    by_person = one.cause == "promotion" or one.login_id
    values = {
        "id": one.id,
        "at": one.at,
        "kind": KINDS[one.cause],
        "login": one.login if by_person else "",
        "ref_name": one.ref_name,
    }
    row = await (await connection.execute(_BEGIN, values)).fetchone()
    return row["action_id"] if row else None


async def others_waiting(connection: Async, one: AutomaticDeployment) -> list[int]:
    """Of its environment."""
    cursor = await connection.execute(
        f"select id from automatic_deployments where {_HERE} and id <> %s and state = 'waiting'"
        " order by id",
        [one.repo_id, one.environment, one.id],
    )
    return [row["id"] async for row in cursor]


@dataclass(frozen=True, slots=True)
class Newest:
    """Of an environment's deployments. `succeeds`: it has not failed so far. `rolled_back`: it was
    requested after a given time, and repeats a commit that had succeeded there before another."""

    id: int
    sha: str
    phase: str
    rolled_back: bool
    by: str


async def newest_in(
    connection: Async, one: AutomaticDeployment, late_after: timedelta
) -> Newest | None:
    """The newest deployment of its environment that was not superseded."""
    cursor = connection.cursor(row_factory=class_row(Newest))
    await cursor.execute(
        # One of which the relay learned late was not asked for then.
        "select id, sha, phase, case when requested_at - created_at > %s then created_at"
        " else requested_at end > %s and exists (select from deployments other where"
        " other.repo_id = this.repo_id and lower(other.environment) = lower(this.environment)"
        " and other.sha = this.sha and other.id < this.id and other.succeeded)"
        " and (select sha from deployments other where other.repo_id = this.repo_id"
        " and lower(other.environment) = lower(this.environment) and other.id < this.id"
        " and requested_at is not null and phase <> 'superseded' order by id desc limit 1)"
        " <> this.sha as rolled_back,"
        " coalesce((select login from actions where created_deployment_id = this.id"
        " order by actions.id limit 1), creator) as by"
        f" from deployments this where {_HERE} and requested_at is not null"
        " and phase <> 'superseded' order by id desc limit 1",
        [late_after, one.at, one.repo_id, one.environment],
    )
    return await cursor.fetchone()


async def all_waiting(connection: Async) -> list[int]:
    query = "select id from automatic_deployments where state = 'waiting' order by id"
    return [row["id"] async for row in await connection.execute(query)]


async def waiting_of_repository(connection: Async, repo_id: int) -> list[AutomaticDeployment]:
    """The oldest first."""
    return await _all(connection, "where repo_id = %s and state = 'waiting' order by id", [repo_id])


def newest(connection: Sync, limit: int) -> Sequence[AutomaticDeployment]:
    """The newest first."""
    cursor = connection.cursor(row_factory=class_row(AutomaticDeployment))
    return cursor.execute(_SELECT + "order by id desc limit %s", [limit]).fetchall()


async def _all(connection: Async, where: str, values: list[Any]) -> list[AutomaticDeployment]:
    cursor = connection.cursor(row_factory=class_row(AutomaticDeployment))
    await cursor.execute(_SELECT + where, values)
    return await cursor.fetchall()
