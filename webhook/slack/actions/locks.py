"""Locks from Slack and from pages: of an environment or a pattern, by a command, a button or a
form."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from webhook.config.environments import Config
from webhook.config.locks import lock_error
from webhook.deployments.locks import (
    capitalized,
    describe,
    name_of,
    quoted,
    scope_name,
    unlock_command,
)
from webhook.engine.locks import (
    By,
    NothingLocked,
    ScopeLocked,
    lock_scope,
    locked_message,
    unlock_scope,
    unlocked_message,
)
from webhook.slack.actions.contract import StoreAction
from webhook.slack.actions.lock_arguments import (
    OPTIONS,
    LockOptions,
    lock_options,
    require_lockable,
    scope_arguments,
)
from webhook.slack.actions.permissions import (
    Authorized,
    Declined,
    authorize,
    authorize_everywhere,
)
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import Mistyped, Typed
from webhook.slack.blocks.announcement import UNLOCK
from webhook.store import locks
from webhook.store.actions import PAGE, ActionRow
from webhook.store.audit import Source
from webhook.store.database import Async
from webhook.store.locks import LockRow, NewLock

_AFTER_ROLLBACK = timedelta(hours=24)


async def lock_for(
    services: ActionServices,
    connection: Async,
    by: Authorized,
    options: LockOptions,
    scope: tuple[int, str, str],
    *,
    action: ActionRow,
    command: str,
    take_over: bool = False,
) -> str:
    """What is said then. `scope`: a repository's ID and name, and an environment. `command`: by
    which another's lock is taken over in Slack."""
    repo_id, repo, environment = scope
    now = services.clock()
    new = NewLock(
        repo_id=repo_id,
        repo=repo,
        environment=environment,
        owner=by.login,
        reason=options.reason,
        lets=options.lets,
        source=_source(action),
        created_at=now,
        expires_at=now + options.duration,
    )
    try:
        done = await lock_scope(services, connection, new, take_over=take_over, action_id=action.id)
    except ScopeLocked as error:
        way = "Take over, on this page" if action.source == PAGE else command
        message = _refusal(services, error.lock, "take it over", way)
        raise Declined("not_possible", message) from error
    way_out = "Unlock, on this page" if action.source == PAGE else unlock_command(done.lock)
    return locked_message(services, done, way_out)


async def unlock_for(
    services: ActionServices,
    connection: Async,
    by: Authorized,
    scope: tuple[int, str],
    *,
    action: ActionRow,
    take_over: bool = False,
) -> str:
    try:
        who = By(person=by.login, source=_source(action), action_id=action.id)
        ended = await unlock_scope(services, connection, scope, who, take_over=take_over)
    except ScopeLocked as error:
        way = unlock_command(error.lock, explicit=True)
        if action.source == PAGE:
            way = "End this lock, on this page"
        raise Declined("not_possible", _refusal(services, error.lock, "end it", way)) from error
    return unlocked_message(ended, by.login)


class Lock(StoreAction):
    name = "lock"
    verb = "lock"
    usage = (
        f"lock owner/repo environment {OPTIONS}",
        "holds deployments back, for 24 hours if nothing else is said; `*` is all environments",
    )
    take_over = False

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        repo, environment, rest = scope_arguments(command, self.usage[0], arguments)
        require_lockable(config, repo, environment)
        options = lock_options(rest)
        return Typed(self.name, repo, environment, inputs=options.to_inputs())

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        repo, environment = by.repository.repo, action.environment
        if error := lock_error(services.config, repo, environment):
            raise Declined("not_possible", error)
        return await lock_for(
            services,
            connection,
            by,
            options_of(action),
            (by.repository.repo_id, repo, environment),
            action=action,
            command=_take_over_command(repo, environment),
            take_over=self.take_over,
        )


class TakeOverLock(Lock):
    name = "take_over_lock"
    verb = "lock!"
    usage = (f"lock! owner/repo environment {OPTIONS}", "takes over somebody else's lock")
    take_over = True


class Unlock(StoreAction):
    name = "unlock"
    verb = "unlock"
    usage = ("unlock owner/repo environment", "ends your lock")
    take_over = False

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        repo, environment, rest = scope_arguments(command, self.usage[0], arguments)
        if rest:
            raise Mistyped("Name one environment, no more; a name with spaces goes in quotes")
        # What deploy.yml does not name any more may still be locked.
        return Typed(self.name, repo, environment)

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        scope = (by.repository.repo_id, action.environment)
        try:
            return await unlock_for(
                services, connection, by, scope, action=action, take_over=self.take_over
            )
        except NothingLocked as error:
            message = await _not_locked(services, connection, action, by)
            raise Declined("not_possible", message) from error


class TakeOverUnlock(Unlock):
    name = "take_over_unlock"
    verb = "unlock!"
    usage = ("unlock! owner/repo environment", "ends somebody else's lock, who is notified")
    take_over = True


class UnlockButton(StoreAction):
    """Below a reminder, which says whose lock it is."""

    name = UNLOCK
    label = "Unlock"
    names_lock = True
    on_page = False

    async def authorize(self, services: ActionServices, action: ActionRow) -> Authorized:
        async with services.pool.connection() as connection:
            lock = await _lock_of(connection, action)
        if not lock.repo_id:
            return await authorize_everywhere(services, action)
        about = replace(action, repo=lock.repo, repo_id=lock.repo_id)
        return await authorize(services, about, self.permission)

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        lock = await _lock_of(connection, action)
        current = await locks.in_scope(connection, lock.repo_id, lock.environment)
        if current is None or current.id != lock.id or not lock.holds(services.clock()):
            raise Declined("not_possible", f"This lock of {name_of(lock)} has ended{_how(lock)}")
        scope = (lock.repo_id, lock.environment)
        return await unlock_for(services, connection, by, scope, action=action, take_over=True)


class LockAfterRollback(StoreAction):
    """Offered to who has rolled back, so that nobody deploys the same again before it is fixed."""

    name = "lock_after_rollback"

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        row = by.pressed_on
        if error := lock_error(services.config, row.repo, row.environment):
            raise Declined("not_possible", error)
        reason = f"rolled back by {by.login}"
        return await lock_for(
            services,
            connection,
            by,
            LockOptions(reason, _AFTER_ROLLBACK, ("rollbacks",)),
            (row.repo_id, row.repo, row.environment),
            action=action,
            command=_take_over_command(row.repo, row.environment),
        )


def options_of(action: ActionRow) -> LockOptions:
    """Raises `Declined`."""
    try:
        return LockOptions.from_inputs(action.inputs)
    except ValueError as error:
        raise Declined("not_possible", str(error)) from error


def _source(action: ActionRow) -> Source:
    return "page" if action.source == PAGE else "slack"


def _take_over_command(repo: str, environment: str) -> str:
    return f"/deploy lock! {repo} {quoted(environment)} reason…"


def _refusal(services: ActionServices, lock: LockRow, what: str, way: str) -> str:
    """Who, since when, until when, why, and what does it anyway: `way`."""
    held = capitalized(describe(lock, services.clock()))
    return f"{held}. To {what} anyway, which notifies {lock.owner}: {way}"


async def _not_locked(
    services: ActionServices, connection: Async, action: ActionRow, by: Authorized
) -> str:
    """With the locks of other scopes that hold it."""
    now, environment, repo = services.clock(), action.environment, by.repository.repo
    message = f"{capitalized(scope_name(repo, environment))} has no lock of its own"
    others = await locks.active_in(connection, by.repository.repo_id, environment, now)
    held = [f"{describe(one, now)}: {unlock_command(one, repo=repo)}" for one in others]
    return f"{message}. It is held by {'; and by '.join(held)}" if held else message


async def _lock_of(connection: Async, action: ActionRow) -> LockRow:
    lock = await locks.read(connection, int(action.inputs["lock"]))
    if lock is None:
        raise Declined("not_possible", "The relay does not know this lock")
    return lock


def _how(lock: LockRow) -> str:
    if not lock.ended_how or lock.ended_how == "expired":
        return ": it has expired"
    return f": {lock.ended_how} by {lock.ended_by}"
