"""The job queue: Procrastinate on the relay's own PostgreSQL. Jobs are deferred in the caller's
transaction, so that they exist exactly when the rows exist that they work on.

Source: procrastinate.readthedocs.io, "Locks" and "Retry". A lock lets one job of a deployment run
at a time. A job that is scheduled for later holds back those behind it, but not those of a higher
priority: what arrives meanwhile is deferred as PRIORITY_NEW.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from procrastinate import App, BaseConnector, BaseRetryStrategy, RetryDecision, SyncPsycopgConnector
from procrastinate.jobs import Job

from webhook.errors import Conflict, RetryAt
from webhook.store import jobs
from webhook.store.database import Async, Sync
from webhook.timing import Clock, Timing

PRIORITY_NEW = 1
# What is new for a destination comes in its turn, and before what waits to be said there.
PRIORITY_NOTIFY_RETRY = -1


def machine_queue(machine_id: str) -> str:
    """The queue that only the workers of a machine serve, besides the default one.

    Jobs come into it by being tried again, never by being deferred: PostgreSQL's notification of
    a new job does not take so long a name.
    """
    return f"{jobs.MACHINE_QUEUE}{machine_id}"


def notify_lock(deployment_id: int, destination: str) -> str:
    return f"notify-{deployment_id}-{destination}"


class Patience(BaseRetryStrategy):
    """Again at the time that the job asks for; after a surprise soon, then less and less often."""

    def __init__(self, timing: Timing, clock: Clock) -> None:
        self._timing = timing
        self._clock = clock

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, RetryAt) and exception.machine_id:
            return RetryDecision(retry_at=exception.at, queue=machine_queue(exception.machine_id))
        if isinstance(exception, RetryAt):
            # What waits is no news any more: it must not hold back what arrives meanwhile.
            waits = PRIORITY_NOTIFY_RETRY if job.task_name == "notify" else 0
            return RetryDecision(retry_at=exception.at, priority=waits)
        if isinstance(exception, Conflict | asyncio.CancelledError):
            return RetryDecision(retry_at=self._clock())
        if job.task_name == "advance":  # each look counts as an attempt
            return RetryDecision(retry_at=self._clock() + self._timing.step_retry)
        rest = timedelta(seconds=2 ** min(job.attempts, 6))
        return RetryDecision(retry_at=self._clock() + min(rest, self._timing.job_retry_at_most))


class Queue:
    """What the relay defers. The names are those of the tasks in `webhook.worker`."""

    def __init__(self, connector: BaseConnector | None = None) -> None:
        # Without a connector of its own it defers on the connections that it is given.
        self.app = App(connector=connector or SyncPsycopgConnector())

    def receive(self, connection: Sync, delivery_ids: Sequence[int]) -> None:
        """One job for all deliveries of a commit: a job costs as much as keeping a delivery."""
        self.app.configure_task("receive", connection=connection, priority=PRIORITY_NEW).defer(
            delivery_ids=list(delivery_ids)
        )

    def take_reports(self, connection: Sync, deployment_id: int) -> None:
        self.app.configure_task(
            "take_reports",
            connection=connection,
            lock=f"deployment-{deployment_id}",
            priority=PRIORITY_NEW,
        ).defer(deployment_id=deployment_id)

    async def advance(self, connection: Async, deployment_id: int) -> None:
        """Look after the deployment from now to its end."""
        await self._defer(connection, "advance", "deployment", deployment_id)

    async def nudge(self, connection: Async, deployment_id: int) -> None:
        """Look at it once, because something happened."""
        await self._defer(connection, "nudge", "deployment", deployment_id, PRIORITY_NEW)

    async def send_statuses(
        self, connection: Async, deployment_id: int, *, priority: int = 0
    ) -> None:
        await self._defer(connection, "send_statuses", "github", deployment_id, priority)

    async def notify(self, connection: Async, deployment_id: int, destination: str) -> None:
        """One job at a time for a message; other destinations do not wait for it."""
        await self.app.configure_task(
            "notify",
            connection=connection,
            lock=notify_lock(deployment_id, destination),
        ).defer_async(deployment_id=deployment_id, destination=destination)

    def run_action(self, connection: Sync, action_id: int) -> None:
        """Do what somebody requested in Slack."""
        self.app.configure_task(
            "run_action", connection=connection, lock=f"action-{action_id}", priority=PRIORITY_NEW
        ).defer(action_id=action_id)

    async def _defer(
        self, connection: Async, task: str, lock: str, deployment_id: int, priority: int = 0
    ) -> None:
        await self.app.configure_task(
            task, connection=connection, lock=f"{lock}-{deployment_id}", priority=priority
        ).defer_async(deployment_id=deployment_id)
