"""The job queue: Procrastinate on the relay's own PostgreSQL. Jobs are deferred in the caller's
transaction, so that they exist exactly when the rows exist that they work on. What has failed is
tried again as the exception says. What is to be done on a deployment is no job
(webhook.jobs.dispatcher).

Source: procrastinate.readthedocs.io, "Locks" and "Retry".
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

# What has just happened goes before what is retried.
PRIORITY_NEW = 1
PRIORITY_RETRY = 0


class Queue:
    """What the relay defers. The names are those of the tasks in `webhook.worker`."""

    def __init__(self, connector: BaseConnector | None = None) -> None:
        # Without a connector of its own it defers on the connections that it is given.
        self.app = App(connector=connector or SyncPsycopgConnector())

    def receive(self, connection: Sync, delivery_ids: Sequence[int]) -> None:
        """One job for all deliveries of a commit: a job costs as much as storing a delivery."""
        self.app.configure_task("receive", connection=connection, priority=PRIORITY_NEW).defer(
            delivery_ids=list(delivery_ids)
        )

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

    def run_action(self, connection: Sync, action_id: int) -> None:
        """Do what somebody requested in Slack."""
        self.app.configure_task(
            "run_action", connection=connection, lock=f"action-{action_id}", priority=PRIORITY_NEW
        ).defer(action_id=action_id)


class RetryPolicy(BaseRetryStrategy):
    """At the time in `RetryAt`; after an unexpected error with growing pauses."""

    def __init__(self, timing: Timing, clock: Clock) -> None:
        self._timing = timing
        self._clock = clock

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, RetryAt):
            return RetryDecision(retry_at=exception.at, priority=PRIORITY_RETRY)
        if isinstance(exception, Conflict | asyncio.CancelledError):
            return RetryDecision(retry_at=self._clock())
        pause = timedelta(seconds=2 ** min(job.attempts, 6))
        return RetryDecision(retry_at=self._clock() + min(pause, self._timing.job_retry_at_most))
