"""Missed deliveries come back by themselves."""

from webhook.engine.services import Services


async def recover(services: Services) -> None:
    """Compare GitHub's list of deliveries with the store's; raises `RetryAt` for the next time."""


async def list_deployments(services: Services) -> None:
    """Look for deployments that GitHub has and nobody delivered; raises `RetryAt`."""
