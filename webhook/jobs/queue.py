"""The job queue: Procrastinate on the relay's own PostgreSQL. Jobs are deferred in the caller's
transaction, so that they exist exactly when the rows exist that they work on.
"""

from collections.abc import Sequence

from procrastinate import App, BaseConnector, SyncPsycopgConnector

from webhook.jobs.retry import PRIORITY_NEW
from webhook.store.database import Async, Sync


def notify_lock(deployment_id: int, destination: str) -> str:
    return f"notify-{deployment_id}-{destination}"


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
        """Check it once, because something happened."""
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

    def answer(self, connection: Sync, action_id: int) -> None:
        """Do what somebody asked for in Slack."""
        self.app.configure_task(
            "answer", connection=connection, lock=f"action-{action_id}", priority=PRIORITY_NEW
        ).defer(action_id=action_id)

    async def _defer(
        self, connection: Async, task: str, lock: str, deployment_id: int, priority: int = 0
    ) -> None:
        await self.app.configure_task(
            task, connection=connection, lock=f"{lock}-{deployment_id}", priority=priority
        ).defer_async(deployment_id=deployment_id)
