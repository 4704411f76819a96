"""When a job that failed is tried again, where, and with which priority.

Source: procrastinate.readthedocs.io, "Locks" and "Retry". A lock lets one job of a deployment run
at a time. A job that waits for its retry holds back the jobs behind it that have the same lock, but
not those of a higher priority.
"""

import asyncio
from datetime import timedelta

from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from webhook.errors import Conflict, RetryAt
from webhook.store.machines import machine_queue
from webhook.timing import Clock, Timing

# What has just happened goes before what is retried.
PRIORITY_NEW = 1
PRIORITY_RETRY = 0
# A notification that is retried lets new ones of the same destination go first.
PRIORITY_NOTIFY_RETRY = -1


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
