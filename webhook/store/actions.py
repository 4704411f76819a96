"""What people requested in Slack, on a page or at the command line: who, when, what, and its
outcome. And what nobody requested: automatic deployments (webhook.store.automatic), which have no
user in Slack.

An action begins as `waiting`. It ends as `done`, `refused` (it was not allowed, or made no sense)
or `failed` (GitHub rejected it). The deployment that it creates on GitHub is an entry of the
outbox. Of each deployment one action at most of an `exclusive_group` is `done`, or being done.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast

import psycopg
from psycopg.rows import DictRow, class_row
from psycopg.types.json import Jsonb

from webhook.deployments.actions import ActionRequest, Reply
from webhook.errors import Excluded
from webhook.store import audit, outbox
from webhook.store.database import Async, Sync
from webhook.store.outbox import Entry

Outcome = Literal["waiting", "done", "refused", "failed"]
# `source` of an action.
COMMAND_LINE = "command line"
PAGE = "page"
# How long a confirmation button may be pressed.
CONFIRM_WITHIN = "1 hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRow:
    """`kind` is the action's name. `slack_user` is U…, of another workspace than `team` T…/U…;
    `source`: where it was requested, "" for Slack or if nobody did. `login` is empty until known,
    `login_id`, the number of that account, 0.
    `reply` is None once that was sent. `claimed`: a call to GitHub was begun whose end nobody
    knows; `lookups`: how often its result was searched in vain. `repo_id`: 0 where only a name was
    typed. `ref_name`: the branch or tag where `ref` is a commit. `inputs`: as they were typed.
    `target`: the deployment that a rollback repeats, 0 where the button did not say.
    `code`: why it was not done. `reply_attempts`: how often Slack did not take the reply."""

    id: int
    key: str
    at: datetime
    kind: str
    exclusive_group: str
    team: str
    slack_user: str
    slack_name: str
    login: str
    deployment_id: int | None
    target: int
    repo: str
    repo_id: int
    environment: str
    ref: str
    ref_name: str
    inputs: dict[str, str]
    reply: Reply | None
    outcome: Outcome
    code: str
    message: str
    created_deployment_id: int | None
    claimed: bool
    lookups: int
    reply_attempts: int
    source: str = ""
    login_id: int = 0

    @property
    def where(self) -> str:
        """It was requested."""
        return _WHERE.get(self.source, f"at the {self.source}")

    @property
    def audit_source(self) -> audit.Source:
        """Of what it does, where a row of its own says it."""
        return cast("audit.Source", self.source or "slack")

    @property
    def open(self) -> bool:
        return self.outcome == "waiting"


_WHERE = {"": "in Slack", PAGE: "on the relay's page"}
# Not `exists`: PostgreSQL would read the whole outbox once rather than search it for each action.
_CLAIMED = "coalesce((select state = 'claimed' from outbox where action_id = actions.id), false)"
_SELECT = (
    "select id, key, at, kind, exclusive_group, team, slack_user, slack_name, login, deployment_id,"
    " target,"
    " repo, repo_id, environment, ref, ref_name, inputs, reply, outcome, code, message,"
    f" created_deployment_id, {_CLAIMED} as claimed, reply_attempts, source, login_id,"
    " coalesce((select lookups from outbox where action_id = actions.id), 0) as lookups"
    " from actions "
)
_OPEN = "outcome = 'waiting'"
_END = (
    "update actions set outcome = %s, code = %s, message = %s, created_deployment_id = %s"
    f" where id = %s and {_OPEN} returning *"
)
# One statement: an act and its row in the audit are there together.
_END_AUDITED = f"with ended as ({_END}), act as ({audit.OF_ACTION}) select id from ended"
_NOT_BEGUN = f"{_OPEN} and not {_CLAIMED}"


def _row(values: DictRow) -> ActionRow:
    reply = values["reply"]
    return ActionRow(**{**values, "reply": None if reply is None else Reply.from_json(reply)})


def keep(connection: Sync, request: ActionRequest) -> int | None:
    """The id of the new action; None where it was kept before. A deployment that the store does not
    know is left out."""
    row = connection.execute(
        "insert into actions (key, kind, exclusive_group, team, slack_user, slack_name, source,"
        " login, login_id, deployment_id, target, repo, repo_id, environment, ref, ref_name,"
        " inputs, reply)"
        " select %s, %s, %s, %s, %s, %s, %s, %s, %s, deployments.id, %s,"
        " coalesce(deployments.repo, %s), coalesce(repo_id, 0),"
        " coalesce(deployments.environment, %s), %s, %s, %s, %s"
        " from (select %s::bigint as id) pressed left join deployments using (id)"
        " on conflict (key) do nothing returning id",
        [
            request.key,
            request.kind,
            request.exclusive_group,
            request.requester.team,
            request.requester.user,
            request.requester.name,
            request.source,
            request.requester.name if request.source else "",
            request.login_id,
            request.target,
            request.repo,
            request.environment,
            request.ref,
            request.ref_name,
            Jsonb(dict(request.inputs)),
            Jsonb(request.reply.to_json()),
            request.deployment_id,
        ],
    ).fetchone()
    return row["id"] if row else None


def newest(connection: Sync, limit: int) -> list[ActionRow]:
    """The newest first, of those that people requested."""
    query = _SELECT + "where slack_user <> '' order by id desc limit %s"
    rows = connection.execute(query, [limit]).fetchall()
    return [_row(values) for values in rows]


# How long a page shows what its viewer has requested there.
_SHOWN_FOR = "interval '1 hour'"


@dataclass(frozen=True, slots=True)
class Requested:
    """What somebody requested on a page lately, and what became of it."""

    id: int
    at: datetime
    kind: str
    outcome: Outcome
    message: str
    deployment_id: int | None
    created_deployment_id: int | None
    repo_id: int
    repo: str
    environment: str


def requested_on_page(connection: Sync, login_id: int, limit: int = 20) -> list[Requested]:
    """By that account on GitHub, of everything; the newest first."""
    cursor = connection.cursor(row_factory=class_row(Requested))
    cursor.execute(
        "select id, at, kind, outcome, message, deployment_id, created_deployment_id, repo_id,"
        " repo, environment from actions"
        f" where login_id = %s and source = '{PAGE}' and at > now() - {_SHOWN_FOR}"
        " order by id desc limit %s",
        [login_id, limit],
    )
    return cursor.fetchall()


def read_sync(connection: Sync, action_id: int) -> ActionRow | None:
    values = connection.execute(_SELECT + "where id = %s", [action_id]).fetchone()
    return _row(values) if values else None


def of_deployment(connection: Sync, deployment_id: int) -> list[ActionRow]:
    """Requested on it, and the one that created it; the oldest first."""
    where = "where deployment_id = %s or created_deployment_id = %s order by id"
    rows = connection.execute(_SELECT + where, [deployment_id, deployment_id]).fetchall()
    return [_row(values) for values in rows]


def under_way(connection: Sync, deployment_id: int) -> bool:
    """Whether something was requested on it lately of which nobody knows yet what becomes."""
    row = connection.execute(
        f"select exists (select from actions where deployment_id = %s and {_OPEN}"
        " and at > now() - interval '10 minutes') as found",
        [deployment_id],
    ).fetchone()
    return bool(row and row["found"])


async def read(connection: Async, action_id: int) -> ActionRow | None:
    return await _one(connection, "where id = %s", [action_id])


async def excluded_by(connection: Async, action: ActionRow) -> ActionRow | None:
    """The other one of its group, which is under way or done."""
    where = (
        "where deployment_id = %s and exclusive_group = %s and exclusive_group <> '' and id <> %s"
        f" and (outcome = 'done' or {_CLAIMED})"
    )
    return await _one(connection, where, [action.deployment_id, action.exclusive_group, action.id])


async def outbox_entry(connection: Async, action: ActionRow) -> Entry:
    """Of the deployment that it is to create; nobody else of its group claims one meanwhile."""
    return await outbox.entry_of(
        connection,
        "deployment",
        action.deployment_id,
        action_id=action.id,
        purpose=action.exclusive_group,
    )


async def set_user(connection: Async, action_id: int, user: str) -> None:
    await _update(connection, action_id, "slack_user = %s", [user])


async def set_login(connection: Async, action_id: int, login: str, login_id: int = 0) -> None:
    """`login_id`: the number of that account on GitHub, 0 while it is not known."""
    await _update(connection, action_id, "login = %s, login_id = %s", [login, login_id])


async def set_deployment(connection: Async, action_id: int, deployment_id: int) -> None:
    """What a command that named a repository and an environment is about."""
    await _update(connection, action_id, "deployment_id = %s", [deployment_id])


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an action deploys, and where."""

    repo: str
    repo_id: int
    environment: str
    ref: str
    ref_name: str = ""


async def plan(connection: Async, action_id: int, what: Subject, message: str) -> bool:
    """Keep what it creates, to be found again; whether it is still to be created."""
    return await _describe(connection, action_id, what, message, f"and {_OPEN}")


async def hold(connection: Async, action_id: int, what: Subject, message: str) -> None:
    """It waits until its requester confirms exactly this."""
    await _describe(connection, action_id, what, message, f"and {_NOT_BEGUN}")


async def set_repository(connection: Async, action_id: int, repo: str, repo_id: int) -> None:
    """What the name that was typed stands for."""
    await _update(connection, action_id, "repo = %s, repo_id = %s", [repo, repo_id])


async def confirm(connection: Async, press: ActionRow, confirms: int) -> bool:
    """Claim what waited for this press of the same person; whether it still waited."""
    cursor = await connection.execute(
        "with confirmed as (update actions set outcome = 'done', message = 'Confirmed'"
        " where id = %s and kind = %s and outcome = 'waiting' and team = %s"
        f" and slack_user = %s and at > now() - interval '{CONFIRM_WITHIN}'"
        " returning repo, repo_id, environment, ref, ref_name, inputs)"
        " update actions set repo = confirmed.repo, repo_id = confirmed.repo_id,"
        " environment = confirmed.environment, ref = confirmed.ref,"
        " ref_name = confirmed.ref_name, inputs = confirmed.inputs"
        " from confirmed where actions.id = %s",
        [confirms, press.kind, press.team, press.slack_user, press.id],
    )
    return cursor.rowcount == 1


async def end(
    connection: Async,
    action_id: int,
    outcome: Outcome,
    message: str,
    created_deployment_id: int | None = None,
    *,
    code: str = "",
    audited: bool = True,
) -> bool:
    """Whether this ended it; somebody else may have. `audited`: the audit says so. Raises
    `Excluded` where another one was quicker; the transaction, if any, is lost then."""
    values = [outcome, code, message, created_deployment_id, action_id]
    try:
        cursor = await connection.execute(_END_AUDITED if audited else _END, values)
    except psycopg.errors.UniqueViolation:
        raise Excluded from None
    return cursor.rowcount == 1


async def give_up(
    connection: Async,
    action_id: int,
    outcome: Outcome,
    message: str,
    code: str = "",
    *,
    audited: bool = True,
) -> bool:
    """End it without a deployment, whatever became of its call; whether this ended it."""
    async with connection.transaction():
        # In this order, which is that of a claim: else two could wait for each other.
        await outbox.abandon(connection, action_id, message)
        return await end(connection, action_id, outcome, message, code=code, audited=audited)


async def reject(
    connection: Async, action_id: int, message: str, code: str = "", *, audited: bool = True
) -> bool:
    """Reject an action that has not begun; whether it had not."""
    async with connection.transaction():
        if await outbox.is_begun(connection, action_id):
            return False
        await outbox.abandon(connection, action_id, message)
        return await end(connection, action_id, "refused", message, code=code, audited=audited)


async def not_cancelled(connection: Async, deployment_id: int, message: str) -> None:
    """The tool did not let it be ended: it may be requested again."""
    await connection.execute(
        "update actions set outcome = 'failed', message = %s"
        " where deployment_id = %s and kind = 'cancel' and outcome = 'done'",
        [message, deployment_id],
    )


async def announce_wait(connection: Async, action_id: int) -> bool:
    """Whether it is ours to announce that this takes a while."""
    columns = "wait_notified = true"
    return await _update(connection, action_id, columns, [], "and not wait_notified")


async def reply_failed(connection: Async, action_id: int) -> None:
    await _update(connection, action_id, "reply_attempts = reply_attempts + 1", [])


async def replied(connection: Async, action_id: int) -> None:
    """The address of the reply is forgotten: it allows posting as the relay."""
    await _update(connection, action_id, "reply = null", [])


async def _describe(
    connection: Async, action_id: int, what: Subject, message: str, condition: str
) -> bool:
    values = {**asdict(what), "message": message}
    columns = ", ".join(f"{name} = %s" for name in values)
    return await _update(connection, action_id, columns, list(values.values()), condition)


async def _one(connection: Async, where: str, values: list[Any]) -> ActionRow | None:
    cursor = await connection.execute(_SELECT + where, values)
    row = await cursor.fetchone()
    return _row(row) if row else None


async def _update(
    connection: Async, action_id: int, columns: str, values: list[Any], condition: str = ""
) -> bool:
    cursor = await connection.execute(
        f"update actions set {columns} where id = %s {condition}", [*values, action_id]
    )
    return cursor.rowcount == 1
