"""The worker process: Procrastinate's worker with the relay's tasks.

A worker that dies leaves its jobs as `doing`; another one, or the same one started anew, takes
them over when its heartbeat is STALLED_AFTER seconds old.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from procrastinate import App, JobContext
from procrastinate.worker import Worker

from webhook.outbound.trouble import Later
from webhook.store import deliveries, deployments, places
from webhook.store.deployments import Outdated
from webhook.work.advance import advance
from webhook.work.queue import Patience
from webhook.work.receive import receive
from webhook.work.relay import CONCURRENCY, Relay
from webhook.work.tell_github import tell_github
from webhook.work.tell_slack import tell_slack

log = structlog.get_logger()

# Seconds.
HEARTBEAT = 3.0
STALLED_AFTER = 12.0
SWEEP_EVERY = 4.0
POLL_EVERY = 0.5
FINISH_WITHIN = 10.0


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
    "tell_github": tell_github,
    "tell_slack": tell_slack,
}


def register_tasks(app: App) -> None:
    for name, job in TASKS.items():
        app.task(name=name, retry=Patience(), pass_context=True)(_with_relay(job))
    every_night = app.periodic(cron="17 3 * * *")
    every_night(app.task(name="prune", retry=Patience(), pass_context=True)(_with_relay(prune)))


def _with_relay(job: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(context: JobContext, **arguments: Any) -> None:
        await job(context.additional_context["relay"], **arguments)

    return run


async def sweep(relay: Relay) -> None:
    """Take over the jobs of dead workers, and deployments that lost their job."""
    manager = relay.queue.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
        log.warning("job of a dead worker taken over", job=job.task_name, args=job.task_kwargs)
        await manager.retry_job(job)
    async with relay.pool.connection() as connection:
        await places.seen(connection, relay.place)
        for deployment_id in await deployments.unattended(connection):
            log.error("deployment without a job taken up", deployment=deployment_id)
            await relay.queue.advance(connection, deployment_id)


async def _sweep_forever(relay: Relay) -> None:
    while True:
        try:
            await sweep(relay)
        except Exception:
            log.exception("sweep failed")
        await asyncio.sleep(SWEEP_EVERY)


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


async def work(relay: Relay, *, until_signal: bool = True) -> None:
    """Work until SIGTERM or SIGINT (else: until cancelled). Jobs under way are finished; runs go
    on without us."""
    app = relay.queue.app
    register_tasks(app)
    sweeping = asyncio.create_task(_sweep_forever(relay))
    try:
        await app.run_worker_async(
            concurrency=CONCURRENCY,
            fetch_job_polling_interval=POLL_EVERY,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=STALLED_AFTER,
            shutdown_graceful_timeout=FINISH_WITHIN,
            delete_jobs="successful",
            additional_context={"relay": relay},
            install_signal_handlers=until_signal,
            task_middleware=[_watched],
        )
    finally:
        sweeping.cancel()
