"""The worker process: Procrastinate's worker with the relay's tasks.

A worker that dies leaves its jobs as `doing`; another one, or the same one after a restart, retries
them (webhook.jobs.rescue) when its heartbeat is older than `Timing.worker_stalled_after`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from procrastinate import App, JobContext
from procrastinate.worker import Worker

from webhook.engine.advance import advance
from webhook.engine.notify import notify
from webhook.engine.receive import receive
from webhook.engine.services import CONCURRENCY, Services
from webhook.engine.statuses import send_statuses
from webhook.engine.tool_reports import take_reports
from webhook.errors import Conflict, RetryAt
from webhook.jobs.queue import RetryPolicy
from webhook.jobs.rescue import Rescue
from webhook.slack.actions.run import run_action
from webhook.store import deliveries
from webhook.store.machines import DEFAULT_QUEUE, machine_queue
from webhook.timing import Clock, Timing

log = structlog.get_logger()


async def follow(services: Services, deployment_id: int) -> None:
    at = await advance(services, deployment_id)
    if at is not None:
        raise RetryAt("checked again later", at)


async def check_once(services: Services, deployment_id: int) -> None:
    await advance(services, deployment_id)


async def prune(services: Services, timestamp: int) -> None:
    async with services.pool.connection() as connection:
        count = await deliveries.delete_old_bodies(connection)
    log.info("bodies of old deliveries deleted", count=count)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "receive": receive,
    "advance": follow,
    "nudge": check_once,
    "take_reports": take_reports,
    "send_statuses": send_statuses,
    "notify": notify,
    "run_action": run_action,
}


def register_tasks(app: App, timing: Timing, clock: Clock) -> None:
    policy = RetryPolicy(timing, clock)
    for name, job in TASKS.items():
        app.task(name=name, retry=policy, pass_context=True)(_with_services(job))
    every_night = app.periodic(cron="17 3 * * *")
    every_night(app.task(name="prune", retry=policy, pass_context=True)(_with_services(prune)))


def _with_services(job: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(context: JobContext, **arguments: Any) -> None:
        await job(context.additional_context["relay"], **arguments)

    return run


async def work(services: Services, stop: asyncio.Event) -> None:
    """Work until `stop` is set. Jobs under way are finished then; runs of tools continue.

    If the store goes away, Procrastinate's worker ends; it is started again until it is back.
    """
    register_tasks(services.queue.app, services.timing, services.clock)
    rescue = Rescue(
        services.pool, services.queue, services.machine_id, services.timing, services.clock
    )
    rescuing = asyncio.create_task(rescue.run_forever())
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            working = asyncio.create_task(_work(services, rescue))
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                working.cancel()  # which lets it finish what is under way
            [ended] = await asyncio.gather(working, return_exceptions=True)
            if not stop.is_set():
                log.warning("worker interrupted, restarting it in a second", error=str(ended or ""))
                await asyncio.sleep(services.timing.worker_restart_pause.total_seconds())
    finally:
        rescuing.cancel()
        stopping.cancel()


async def _work(services: Services, rescue: Rescue) -> None:
    timing = services.timing
    await services.queue.app.run_worker_async(
        queues=[DEFAULT_QUEUE, machine_queue(services.machine_id)],
        concurrency=CONCURRENCY,
        fetch_job_polling_interval=timing.job_poll_interval.total_seconds(),
        update_heartbeat_interval=timing.worker_heartbeat.total_seconds(),
        stalled_worker_timeout=timing.worker_stalled_after.total_seconds(),
        shutdown_graceful_timeout=timing.shutdown_within.total_seconds(),
        delete_jobs="successful",
        additional_context={"relay": services},
        install_signal_handlers=False,
        task_middleware=[rescue.track, _logged],
    )


async def _logged(call: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:
    """Each log line of a job names the job and its deployment; unexpected errors have a trace."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        job=context.job.task_name, deployment=context.job.task_kwargs.get("deployment_id")
    )
    try:
        return await call()
    except (RetryAt, Conflict, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("job failed, will be retried", attempts=context.job.attempts)
        raise
