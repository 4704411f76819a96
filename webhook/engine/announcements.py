"""Announcements at their destinations: each is sent there once, by the outbox.

One that cannot be sent is retried for as long as it may be news; the error stays with its entry.
"""

from dataclasses import replace

import structlog

from webhook.config.destinations import Target, main_targets
from webhook.deployments.announcement import Announcement
from webhook.engine.messages import Form, MessageWrite, Rejections, message_policy
from webhook.engine.outages import Destination
from webhook.engine.outbox import Outbox
from webhook.engine.services import Services
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.notifiers.contract import Message
from webhook.store import announcements, outbox
from webhook.store.outbox import Entry

log = structlog.get_logger()


async def announce(services: Services, announcement_id: int, destination: str) -> None:
    async with services.pool.connection() as connection:
        announcement = await announcements.read(connection, announcement_id)
    if announcement is None:
        return
    target = _target(services, announcement, destination)
    if target is None:
        return
    async with services.pool.connection() as connection:
        entry = await outbox.entry_of(
            connection,
            "message",
            None,
            destination=destination,
            purpose="announcement",
            position=announcement_id,
        )
    await _send(services, announcement, target, entry)


def _target(services: Services, announcement: Announcement, destination: str) -> Target | None:
    """None where deploy.yml does not name it any more. Errors: `RetryAt` as long as another worker,
    with another deploy.yml, may know it."""
    if destination.partition(":")[0] not in services.notifiers:
        return None
    given = (one for environment in services.config.envs for one in environment.destinations())
    target = next((one for one in main_targets(given) if one.name == destination), None)
    if target is not None:
        return target
    timing, now = services.timing, services.clock()
    assert announcement.at is not None
    if now - announcement.at < timing.unknown_channel_kept:
        again = now + timing.unknown_channel_retry
        raise RetryAt("deploy.yml names no such destination here", again)
    log.warning("announcement dropped: deploy.yml names its destination no more", to=destination)
    return None


async def _send(
    services: Services, announcement: Announcement, target: Target, entry: Entry
) -> None:
    timing, clock, since = services.timing, services.clock, announcement.at
    assert since is not None
    rejections = Rejections(timing, since)
    if not services.actions_enabled:
        announcement = replace(announcement, lock_id=0)
    write = MessageWrite(
        services,
        entry,
        services.notifier(target),
        Form(Message(purpose="announcement", about=announcement)),
        f"announcement:{entry.position}",
        rejections,
    )
    try:
        sent = await Outbox(services.pool, clock).deliver(entry, write, message_policy(timing))
    except UnknownOutcome as error:
        raise RetryAt(str(error), clock() + timing.message_lookups_after[0]) from error
    except Rejected:
        return
    if sent is not entry:
        log.info("announcement sent", destination=target.name, key=announcement.key)
        await services.outages.got_through(Destination(target.name), since)
