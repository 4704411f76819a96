"""The job queue: Procrastinate on the relay's own PostgreSQL. Jobs are deferred in the caller's
transaction, so that they exist exactly when the rows exist that they work on. What has failed is
tried again as the exception says.

Source: procrastinate.readthedocs.io, "Locks" and "Retry". A lock lets one job of a deployment run
at a time. A job that waits for its retry holds back the jobs behind it that have the same lock, but
not those of a higher priority. So where one job does all that is to be done, no second one is
deferred while the first waits: that one is brought forward.
"""

import asyncio
from datetime import timedelta

from procrastinate import App, BaseConnector, BaseRetryStrategy, RetryDecision, SyncPsycopgConnector
from procrastinate.jobs import DEFAULT_QUEUE, Job

from webhook.errors import Conflict, RetryAt
from webhook.store import jobs
from webhook.store.database import Async, Sync
from webhook.store.machines import machine_queue
from webhook.timing import Clock, Timing

# What has just happened goes before what is retried.
PRIORITY_NEW = 1
PRIORITY_RETRY = 0
# A notification that is retried lets new ones of the same destination go first.
PRIORITY_NOTIFY_RETRY = -1

# Its deliveries are those of a commit: a job costs as much as storing a delivery.
RECEIVE = jobs.Deferred("receive", PRIORITY_NEW, DEFAULT_QUEUE)


def notify_lock(deployment_id: int, destination: str) -> str:
    return f"notify-{deployment_id}-{destination}"


def statuses_lock(deployment_id: int) -> str:
    return f"github-{deployment_id}"


class Queue:
    """What the relay defers. The names are those of the tasks in `webhook.worker`."""

    def __init__(self, connector: BaseConnector | None = None) -> None:
        # Without a connector of its own it defers on the connections that it is given.
        self.app = App(connector=connector or SyncPsycopgConnector())

    def take_reports(self, connection: Sync, deployment_id: int) -> None:
        self.app.configure_task(
            "take_reports",
            connection=connection,
            lock=f"deployment-{deployment_id}",
            priority=PRIORITY_NEW,
        ).defer(deployment_id=deployment_id)

    async def advance(self, connection: Async, deployment_id: int) -> None:
        """Follow the deployment to its end."""
        await self._defer(connection, "advance", "deployment", deployment_id)

    async def nudge(self, connection: Async, deployment_id: int) -> None:
        """Check it once, because something happened; one check is enough for all that has."""
        await self._defer_once(connection, "nudge", "deployment", deployment_id)

    async def send_statuses(self, connection: Async, deployment_id: int) -> None:
        """Send all that wait, now: one job at most waits for that."""
        await self._defer_once(connection, "send_statuses", "github", deployment_id)

    async def recheck(self, connection: Async, deployment_id: int) -> None:
        """If it waits for its next check, that is due now."""
        lock = f"deployment-{deployment_id}"
        await jobs.bring_forward(connection, "advance", lock, PRIORITY_RETRY)

    async def resume_installation(
        self, connection: Async, installation_id: int, account: str
    ) -> None:
        """Go on with all that waited for the installation; one job for all events that say so."""
        lock = f"installation-{installation_id}"
        await jobs.serialize(connection, lock)
        if not await jobs.bring_forward(connection, "resume_installation", lock, PRIORITY_NEW):
            await self.app.configure_task(
                "resume_installation", connection=connection, lock=lock, priority=PRIORITY_NEW
            ).defer_async(installation_id=installation_id, account=account)

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

    async def _defer_once(
        self, connection: Async, task: str, lock: str, deployment_id: int
    ) -> None:
        """The one that waits already does it, and need not wait any longer."""
        if not await jobs.bring_forward(connection, task, f"{lock}-{deployment_id}", PRIORITY_NEW):
            await self._defer(connection, task, lock, deployment_id, PRIORITY_NEW)

    async def _defer(
        self, connection: Async, task: str, lock: str, deployment_id: int, priority: int = 0
    ) -> None:
        await self.app.configure_task(
            task, connection=connection, lock=f"{lock}-{deployment_id}", priority=priority
        ).defer_async(deployment_id=deployment_id)


class RetryPolicy(BaseRetryStrategy):
    """At the time in `RetryAt`; after an unexpected error with growing pauses."""

    def __init__(self, timing: Timing, clock: Clock) -> None:
        self._timing = timing
        self._clock = clock

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, RetryAt) and exception.machine_id:
            return RetryDecision(retry_at=exception.at, queue=machine_queue(exception.machine_id))
        if isinstance(exception, RetryAt):
            notifies = job.task_name == "notify"
            priority = PRIORITY_NOTIFY_RETRY if notifies else PRIORITY_RETRY
            return RetryDecision(retry_at=exception.at, priority=priority)
        if isinstance(exception, Conflict | asyncio.CancelledError):
            return RetryDecision(retry_at=self._clock())
        if job.task_name == "advance":  # each check of a run counts as an attempt
            return RetryDecision(retry_at=self._clock() + self._timing.step_retry)
        pause = timedelta(seconds=2 ** min(job.attempts, 6))
        return RetryDecision(retry_at=self._clock() + min(pause, self._timing.job_retry_at_most))
