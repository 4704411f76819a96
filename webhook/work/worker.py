"""The worker process: Procrastinate's worker with the relay's tasks.

A worker that dies leaves its jobs as `doing`; another one, or the same one started anew, takes
them over (webhook.work.sweep) when its heartbeat is older than
`Timing.worker_stalled_after`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from procrastinate import App, JobContext
from procrastinate.worker import Worker

from webhook.outbound.trouble import Later
from webhook.store import deliveries
from webhook.store.deployments import Outdated
from webhook.store.jobs import DEFAULT_QUEUE
from webhook.timing import Clock, Timing
from webhook.work.advance import advance
from webhook.work.answers import answer
from webhook.work.queue import Patience, queue_at
from webhook.work.receive import receive
from webhook.work.relay import CONCURRENCY, Relay
from webhook.work.reports import take_reports
from webhook.work.sweep import Sweeper
from webhook.work.tell_github import tell_github
from webhook.work.tell_slack import tell_slack

log = structlog.get_logger()


async def look_after(relay: Relay, deployment_id: int) -> None:
    at = await advance(relay, deployment_id)
    if at is not None:
        raise Later("looks again", at)


async def look_once(relay: Relay, deployment_id: int) -> None:
    await advance(relay, deployment_id)


async def prune(relay: Relay, timestamp: int) -> None:
    async with relay.pool.connection() as connection:
        count = await deliveries.forget_old_bodies(connection)
    log.info("bodies of old deliveries dropped", count=count)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "receive": receive,
    "advance": look_after,
    "nudge": look_once,
    "take_reports": take_reports,
    "tell_github": tell_github,
    "tell_slack": tell_slack,
    "answer": answer,
}


def register_tasks(app: App, timing: Timing, clock: Clock) -> None:
    patience = Patience(timing, clock)
    for name, job in TASKS.items():
        app.task(name=name, retry=patience, pass_context=True)(_with_relay(job))
    every_night = app.periodic(cron="17 3 * * *")
    every_night(app.task(name="prune", retry=patience, pass_context=True)(_with_relay(prune)))


def _with_relay(job: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(context: JobContext, **arguments: Any) -> None:
        await job(context.additional_context["relay"], **arguments)

    return run


async def work(relay: Relay, stop: asyncio.Event) -> None:
    """Work until told to stop. Jobs under way are finished then; runs go on without us.

    Where the store goes away, Procrastinate's worker ends; it is started again until it is back.
    """
    register_tasks(relay.queue.app, relay.timing, relay.clock)
    sweeper = Sweeper(relay)
    sweeping = asyncio.create_task(sweeper.sweep_forever())
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            working = asyncio.create_task(_work(relay, sweeper))
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                working.cancel()  # which lets it finish what is under way
            [ended] = await asyncio.gather(working, return_exceptions=True)
            if not stop.is_set():
                log.warning("interrupted, goes on in a second", words=str(ended or ""))
                await asyncio.sleep(relay.timing.worker_restart_pause.total_seconds())
    finally:
        sweeping.cancel()
        stopping.cancel()


async def _work(relay: Relay, sweeper: Sweeper) -> None:
    timing = relay.timing
    await relay.queue.app.run_worker_async(
        queues=[DEFAULT_QUEUE, queue_at(relay.place)],
        concurrency=CONCURRENCY,
        fetch_job_polling_interval=timing.job_poll_interval.total_seconds(),
        update_heartbeat_interval=timing.worker_heartbeat.total_seconds(),
        stalled_worker_timeout=timing.worker_stalled_after.total_seconds(),
        shutdown_graceful_timeout=timing.shutdown_within.total_seconds(),
        delete_jobs="successful",
        additional_context={"relay": relay},
        install_signal_handlers=False,
        task_middleware=[sweeper.note, _watched],
    )


async def _watched(call: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:
    """Every log line of a job carries what it is about; a surprise is logged with its trace."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        job=context.job.task_name, deployment=context.job.task_kwargs.get("deployment_id")
    )
    try:
        return await call()
    except (Later, Outdated, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("job failed, will be tried again", attempts=context.job.attempts)
        raise
