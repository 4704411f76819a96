"""Missed deliveries come back by themselves: GitHub's list is compared with what has arrived.

What has arrived is known by the relay's own table alone: GitHub calls OK what a proxy swallowed,
and failed what arrived when its time was over. The list is compared first, page by page, back to
the watermark; then what is missing is fetched, newest first, into the table in which deliveries
arrive.
A worker may be killed at each line of this; the next one goes on from the store.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog

from webhook.config.environments import Config
from webhook.config.routing import matches_any
from webhook.engine.services import Services
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github import deliveries as github
from webhook.github.deliveries import FullDelivery, ListedDelivery, Page
from webhook.github.events import may_act_on
from webhook.store import recovery, repository_names
from webhook.store.database import Async
from webhook.store.deliveries import Received, compressed
from webhook.store.recovery import Doubts, Missed, Scan
from webhook.timing import Timing, growing_pause

log = structlog.get_logger()

# Of one run; what is left is for the next, which follows at once.
MOST_PAGES = 100
# Fetched at once, of the nine hundred a minute that GitHub allows.
AT_ONCE = 4
# GitHub does not have the delivery itself, or not any more. Else it is the App that is rejected.
_GONE = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.GONE,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True)
class _Compared:
    """`at`: GitHub's time. `more`: there is something to go on with at once."""

    at: datetime
    pace: timedelta
    more: bool


async def recover(services: Services) -> None:
    """Compare GitHub's list of deliveries with the store's; raises `RetryAt` for the next time."""
    until = (
        asyncio.get_running_loop().time() + services.timing.deliveries_compared_for.total_seconds()
    )
    async with services.pool.connection() as connection:
        was = await recovery.scan(connection)
    if was.paused:
        raise RetryAt("GitHub wants no call yet", services.clock() + was.paused)
    try:
        try:
            compared = await _compare(services, was, until)
        except (UnknownOutcome, Rejected):
            # What is missing of the pages that came does not wait for the others.
            await _fetch_missing(services, services.github.now(), until)
            raise
        left = await _fetch_missing(services, compared.at, until)
    except RetryAt as error:
        await _failed(services, error, error.at - services.clock())
        raise
    except (UnknownOutcome, Rejected) as error:
        await _failed(services, error)
        raise RetryAt(str(error), services.clock() + await _pause(services)) from error
    async with services.pool.connection() as connection:
        await recovery.works(connection)
        doubts = await recovery.doubts(connection)
    pause = timedelta(0)
    if not compared.more and not left:
        pause = next_after(services.timing, doubts, pulls=services.pulls)
    raise RetryAt("compared again later", services.clock() + max(pause, compared.pace))


def next_after(timing: Timing, doubts: Doubts, *, pulls: bool) -> timedelta:
    """How long until the list is compared again, where nothing is left to do."""
    pauses = [] if doubts.next_try_in is None else [doubts.next_try_in]
    if pulls:
        return min([timing.deliveries_pulled_every, *pauses])
    doubted = timing.deliveries_compared_after_doubt
    silent_after = timing.deliveries_silent_after
    silent = silent_after if doubts.silent_for is None else doubts.silent_for
    pauses.append(max(silent_after - silent, timedelta(0)) + doubted)
    if doubts.doubted_for is not None and doubts.doubted_for < doubted:
        pauses.append(doubted - doubts.doubted_for)
    return min([timing.deliveries_compared_every, *pauses])


async def _failed(services: Services, error: Exception, paused: timedelta | None = None) -> None:
    log.warning("deliveries could not be compared with GitHub's list", error=str(error))
    async with services.pool.connection() as connection:
        await recovery.failed(connection, str(error), paused)


async def _pause(services: Services) -> timedelta:
    """After a failure: short where pages before it came."""
    timing = services.timing
    async with services.pool.connection() as connection:
        failing_for = (await recovery.scan(connection)).failing_for
    return growing_pause(
        failing_for, timing.deliveries_pulled_every, timing.deliveries_compared_after_doubt
    )


async def _compare(services: Services, was: Scan, until: float) -> _Compared:
    """Page by page; each is recorded before the next. One that was interrupted goes on, and what
    came since is for the next run."""
    interrupted = bool(was.cursor)
    pages = 0
    given: set[str] = set()
    while True:
        page = await _page(services, was, given)
        if page is None:
            async with services.pool.connection() as connection:
                was = await recovery.begin_again(connection, was)
            continue
        if page.cursor in given:
            raise UnknownOutcome("GitHub's list of deliveries leads back to a page that was read")
        pages += 1
        given |= {page.cursor} if page.cursor else set()
        begins = was.begins or _begins(services, was, page.at)
        ended = not page.cursor or (page.oldest or begins) < begins
        was = await _keep(services, was, page, begins, ended=ended)
        over = pages >= MOST_PAGES or _now() >= until
        if ended or over:
            return _Compared(page.at, page.pace, more=interrupted or not ended)


async def _page(services: Services, was: Scan, given: Collection[str]) -> Page | None:
    """None: GitHub does not know the cursor any more. One that it has just `given` cannot be stale:
    the list would be begun again for ever."""
    try:
        return await github.page(services.github, was.cursor)
    except Rejected as error:
        if was.cursor and was.cursor not in given and github.is_stale(error):
            log.info("GitHub's list of deliveries is read from its begin again", error=str(error))
            return None
        raise


def _begins(services: Services, was: Scan, at: datetime) -> datetime:
    """What is older was compared before, or GitHub does not have it; or it is of the time before
    the relay came, and too old to be run: other people's history is not its business."""
    oldest, overlap = at - github.kept_for(services.github), services.timing.deliveries_overlap
    if was.watermark is not None:
        return max(oldest, was.watermark - overlap)
    lately = at - max([overlap, *(one.recover_within for one in services.config.envs)])
    return max(oldest, min(lately, was.known_since or lately))


async def _keep(
    services: Services, was: Scan, page: Page, begins: datetime, *, ended: bool
) -> Scan:
    inside = [one for one in page.deliveries if one.delivered_at >= begins]
    newest = was.newest or begins + services.timing.deliveries_overlap
    newest = max([newest, *(one.delivered_at for one in inside)])
    async with services.pool.connection() as connection:
        missed = await _missing(services.config, connection, inside)
        async with connection.transaction():
            if ended:
                await recovery.keep_last_page(connection, was, missed, newest=newest)
            else:
                was = await recovery.keep_page(
                    connection, was, missed, begins=begins, newest=newest, cursor=page.cursor
                )
            await recovery.works(connection)
    if missed:
        log.info("deliveries are missing", count=len(missed))
    return was


async def _missing(
    config: Config, connection: Async, listed: Sequence[ListedDelivery]
) -> list[Missed]:
    used = [one for one in listed if may_act_on(one.event, one.action)]
    ids = {one.repository_id for one in used if one.repository_id}
    names = await repository_names.names_of(connection, ids) if ids else {}
    used = [one for one in used if _may_be_routed(config, one, names.get(one.repository_id))]
    guids = {one.guid for one in used}
    missing = await recovery.not_arrived(connection, guids) if guids else set()
    return _grouped(one for one in used if one.guid in missing)


def _may_be_routed(config: Config, one: ListedDelivery, name: str | None) -> bool:
    """A deployment that has no route gets an answer, unless deploy.yml says otherwise."""
    if name is None or (one.event == _DEPLOYMENT and config.unrouted != "ignore"):
        return True
    return any(matches_any(env.repos, name) for env in config.envs)


def _grouped(attempts: Iterable[ListedDelivery]) -> list[Missed]:
    """One for each GUID, by its newest attempt."""
    found: dict[str, Missed] = {}
    for one in attempts:
        known = found.get(one.guid)
        newest = known is None or one.delivered_at > known.attempted_at
        first = one.delivered_at if known is None else min(known.delivered_at, one.delivered_at)
        found[one.guid] = Missed(
            guid=one.guid,
            event=one.event,
            github_id=one.id if newest or known is None else known.github_id,
            attempted_at=one.delivered_at if newest or known is None else known.attempted_at,
            delivered_at=first,
        )
    return list(found.values())


async def _fetch_missing(services: Services, at: datetime, until: float) -> bool:
    """Whether something is left that may be fetched at once."""
    while True:
        async with services.pool.connection() as connection:
            due = await recovery.due(connection, AT_ONCE)
        if not due or _now() >= until:
            return bool(due)
        results = await asyncio.gather(
            *(github.read(services.github, missed.github_id) for missed in due),
            return_exceptions=True,
        )
        for missed, result in zip(due, results, strict=True):
            await _settle(services, missed, result, at)
        _stop_if_away(results)


async def _settle(
    services: Services, missed: Missed, result: FullDelivery | BaseException | None, at: datetime
) -> None:
    match result:
        case FullDelivery():
            await _hand_over(services, missed, result)
        case None:
            await _redeliver(services, missed, "GitHub has no payload of it")
        case RetryAt():
            pass
        case Rejected() if result.status in _GONE:
            await _redeliver(services, missed, str(result))
        case UnknownOutcome() | Rejected():
            await _try_later(services, missed, str(result), at)
        case _:
            raise result


def _stop_if_away(results: Sequence[FullDelivery | BaseException | None]) -> None:
    """A limit counts at once; GitHub is away, or rejects the App, where nothing at all came."""
    for result in results:
        if isinstance(result, RetryAt):
            raise result
    failed = [
        one
        for one in results
        if isinstance(one, UnknownOutcome)
        or (isinstance(one, Rejected) and one.status not in _GONE)
    ]
    if len(failed) == len(results) > 1:
        raise failed[0]


async def _hand_over(services: Services, missed: Missed, found: FullDelivery) -> None:
    received = Received(found.hook_id, missed.guid, found.event, compressed(found.body))
    async with services.pool.connection() as connection, connection.transaction():
        await recovery.hand_over(connection, missed, received)
    log.info("a missed delivery was recovered", delivery=missed.guid, github_event=missed.event)


async def _try_later(services: Services, missed: Missed, reason: str, at: datetime) -> None:
    """It is not the delivery's fault, as far as anybody knows: it counts as no try."""
    if missed.attempted_at < at - github.kept_for(services.github):
        await _give_up(services, missed, f"{reason}, as long as GitHub kept it")
        return
    timing = services.timing
    pause = growing_pause(
        at - missed.attempted_at,
        timing.deliveries_pulled_every,
        timing.deliveries_compared_after_doubt,
    )
    async with services.pool.connection() as connection:
        await recovery.try_later(connection, missed.guid, pause, reason, tries=missed.tries)


async def _redeliver(services: Services, missed: Missed, reason: str) -> None:
    """GitHub says only that it will; whether it arrives is seen later. A try counts before it."""
    pauses = services.timing.redeliveries_checked_after
    if missed.tries >= len(pauses):
        await _give_up(services, missed, f"{reason}, and it did not arrive when it was sent again")
        return
    async with services.pool.connection() as connection:
        await recovery.try_later(
            connection, missed.guid, pauses[missed.tries], reason, tries=missed.tries + 1
        )
    try:
        await github.redeliver(services.github, missed.github_id)
    except RetryAt:
        async with services.pool.connection() as connection:
            await recovery.try_later(connection, missed.guid, pauses[0], reason, tries=missed.tries)
        raise
    except (UnknownOutcome, Rejected) as error:
        log.info("GitHub does not send it again", delivery=missed.guid, error=str(error))
    else:
        log.info("GitHub was asked to send it again", delivery=missed.guid, reason=reason)


async def _give_up(services: Services, missed: Missed, reason: str) -> None:
    log.warning("a missed delivery is given up", delivery=missed.guid, reason=reason)
    async with services.pool.connection() as connection:
        await recovery.give_up(connection, missed.guid, reason)


def _now() -> float:
    return asyncio.get_running_loop().time()
