"""Locking and unlocking, whoever asks for it and wherever; and reminders of locks.

All of an act is one transaction: the lock, the audit, the notification of its owner, and that what
waits is asked again at once, the newest first.
Errors: `ScopeLocked`, `NothingLocked`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from handlers import durations
from webhook.config.locks import unheld
from webhook.deployments.announcement import Announcement
from webhook.deployments.locks import (
    Lock,
    capitalized,
    covers,
    end_of,
    is_pattern,
    name_of,
    owned_by,
    whom,
)
from webhook.engine.gates import ask_again
from webhook.engine.services import Services
from webhook.errors import RelayError, RetryAt
from webhook.github.users import is_login
from webhook.store import announcements, audit, environments, locks, schedule
from webhook.store.audit import NewAct, Source
from webhook.store.database import Async
from webhook.store.locks import Ending, LockRow, NewLock
from webhook.store.schedule import Key

log = structlog.get_logger()

# Deployments to an environment so lately make it one that a lock of many environments concerns.
LATELY = timedelta(days=30)
_FIRST_REMINDER = timedelta(hours=3)
_SECOND_REMINDER = 0.8
# Somebody else may be quicker, with the same scope.
_ATTEMPTS = 3


class ScopeLocked(RelayError):
    """Somebody else has locked it."""

    default_code = "locked"

    def __init__(self, lock: LockRow) -> None:
        super().__init__(f"locked by {lock.owner}")
        self.lock = lock


class NothingLocked(RelayError):
    default_code = "not_locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who asks, and where. `action_id`: the request in Slack or on a page, if it is one."""

    person: str
    source: Source
    action_id: int | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """`before`: the lock that it took the place of."""

    lock: LockRow
    before: LockRow | None


async def lock_scope(
    services: Services,
    connection: Async,
    new: NewLock,
    *,
    take_over: bool = False,
    action_id: int | None = None,
) -> Locked:
    """In the caller's transaction. The owner's own lock is renewed; another's only with
    `take_over`. `action_id`: the request in Slack or on a page, if it is one."""
    before: LockRow | None = None
    for attempt in range(_ATTEMPTS):
        found = await locks.in_scope(connection, new.repo_id, new.environment)
        if found is not None and not await _give_way(
            connection, found, new, take_over=take_over and attempt == 0
        ):
            raise ScopeLocked(found)
        before = found or before
        added = await locks.add(connection, new)
        if added is not None:
            done = Locked(added, before if before and before.holds(new.created_at) else None)
            await _record_lock(services, connection, done, action_id)
            return done
    raise RetryAt("others lock and unlock it at the same time", services.clock())


async def unlock_scope(
    services: Services,
    connection: Async,
    scope: tuple[int, str],
    by: By,
    *,
    take_over: bool = False,
) -> LockRow:
    """In the caller's transaction. Returns the lock that was ended."""
    found = await locks.in_scope(connection, *scope)
    if found is None or not found.holds(services.clock()):
        raise NothingLocked
    if not (take_over or owned_by(found, by.person)):
        raise ScopeLocked(found)
    await locks.end(connection, found.id, "unlocked", by.person, services.clock())
    await audit.add(connection, _act("unlock", found, by))
    if not owned_by(found, by.person):
        text = f"{by.person} has unlocked {_whose(found, services.clock())}"
        await _announce(services, connection, found, key="unlocked", text=text)
    await ask_again(connection, await locks.held_by(connection, found))
    log.info("unlocked", lock=found.id, scope=name_of(found), by=by.person)
    return found


def locked_message(services: Services, done: Locked, way_out: str) -> str:
    """To its owner. `way_out`: the command that ends it."""
    lock, before = done.lock, done.before
    until = end_of(lock, services.clock())
    taken_over = before is not None and not owned_by(before, lock.owner)
    parts = [
        f"{capitalized(name_of(lock))} is locked ({until}): {lock.reason}",
        f"{before.owner} is notified that you took it over" if before and taken_over else "",
        f"It lets {whom(lock)} through" if lock.lets else "",
        f"What runs already goes on. To end the lock: {way_out}",
        unheld(services.config, lock.repo if lock.repo_id else "", lock.environment),
    ]
    return ". ".join(part for part in parts if part)


def unlocked_message(lock: LockRow, person: str) -> str:
    others = "" if owned_by(lock, person) else f", and {lock.owner} is notified"
    return f"{capitalized(name_of(lock))} is unlocked{others}; what waited for that goes on"


async def remind_of_lock(services: Services, lock_id: int) -> None:
    """Again at the time of the next reminder; the same one is sent once only."""
    now = services.clock()
    async with services.pool.connection() as connection, connection.transaction():
        lock = await locks.read(connection, lock_id)
        if lock is None or not lock.holds(now):
            return
        times = reminders_of(lock)
        past = [at for at in times if at <= now]
        if past:
            key, since = f"reminder-{len(past)}", durations.write(_whole_minutes(now, lock))
            text = (
                f"{capitalized(name_of(lock))} has been locked for {since} by {lock.owner}"
                f" ({end_of(lock, now)}): {lock.reason}. Unlock it once that is over"
            )
            await _announce(services, connection, lock, key=key, text=text, lock_id=lock.id)
    if len(past) < len(times):
        raise RetryAt("the next reminder of a lock", times[len(past)])


def reminders_of(lock: Lock) -> list[datetime]:
    """After three hours, and shortly before its end."""
    times = [lock.created_at + _FIRST_REMINDER]
    if lock.expires_at is not None:
        times.append(lock.created_at + (lock.expires_at - lock.created_at) * _SECOND_REMINDER)
    return sorted(at for at in times if lock.expires_at is None or at < lock.expires_at)


async def _give_way(connection: Async, found: LockRow, new: NewLock, *, take_over: bool) -> bool:
    """Whether the scope is free then."""
    how: Ending = "taken over"
    by, at = new.owner, new.created_at
    if not found.holds(new.created_at):
        how, by, at = "expired", "", found.expires_at or at
    elif owned_by(found, new.owner):
        how = "replaced"
    elif not take_over:
        return False
    await locks.end(connection, found.id, how, by, at)
    return True


async def _record_lock(
    services: Services, connection: Async, done: Locked, action_id: int | None
) -> None:
    lock, before = done.lock, done.before
    taken_over = before is not None and not owned_by(before, lock.owner)
    by = By(person=lock.owner, source=lock.source, action_id=action_id)
    await audit.add(connection, _act("take over lock" if taken_over else "lock", lock, by))
    if before is not None and taken_over:
        now = services.clock()
        text = (
            f"{lock.owner} has taken over {_whose(before, now)}. It is locked"
            f" {end_of(lock, now)} now: {lock.reason}"
        )
        await _announce(services, connection, before, key="taken over", text=text)
    await schedule.request(connection, [Key("remind_of_lock", lock.id)])
    # They show who holds them, and this one may let them through.
    await ask_again(connection, await locks.held_by(connection, lock))
    log.info("locked", lock=lock.id, scope=name_of(lock), by=lock.owner)


def _act(action: str, lock: LockRow, by: By) -> NewAct:
    return NewAct(
        actor=by.person,
        source=by.source,
        action=action,
        action_id=by.action_id,
        repo_id=lock.repo_id,
        repo=lock.repo if lock.repo_id else "",
        environment=lock.environment,
        reason=lock.reason,
        details={
            "lock": lock.id,
            "owner": lock.owner,
            "lets": list(lock.lets),
            "expires_at": lock.expires_at and lock.expires_at.isoformat(),
        },
    )


async def _announce(
    services: Services,
    connection: Async,
    lock: LockRow,
    *,
    key: str,
    text: str,
    lock_id: int = 0,
) -> None:
    """To its owner, where deployments that it concerns are announced."""
    announcement = Announcement(
        key=f"lock {lock.id} {key}",
        text=text,
        mentions=(lock.owner,) if is_login(lock.owner) else (),
        lock_id=lock_id,
    )
    concerned = await _environments_of(services, connection, lock)
    await announcements.add(connection, announcement, services.main_destinations(concerned))


async def _environments_of(
    services: Services, connection: Async, lock: LockRow
) -> list[tuple[str, str]]:
    """The one that is locked; of a lock of many, those that were deployed to lately."""
    if lock.repo_id and not is_pattern(lock.environment):
        return [(lock.repo, lock.environment)]
    lately = await environments.lately_deployed_to(
        connection, lock.repo_id, services.clock(), LATELY
    )
    return [
        (one.repo, one.environment) for one in lately if covers(lock, one.repo_id, one.environment)
    ]


def _whose(lock: LockRow, now: datetime) -> str:
    return f"{name_of(lock)}, which {lock.owner} had locked ({end_of(lock, now)}): {lock.reason}"


def _whole_minutes(now: datetime, lock: Lock) -> float:
    return (now - lock.created_at) // timedelta(minutes=1) * 60
