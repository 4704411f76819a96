"""What follows in other environments once a deployment has changed: those that come after it."""

from webhook.engine.services import Services
from webhook.gates.chains import comes_before
from webhook.store.deployments import DeploymentRow


def chained_in(services: Services, row: DeploymentRow) -> int:
    """Its repository, if others may wait there for what has become of it; else 0."""
    return row.repo_id if comes_before(services.config, row.repo, row.environment) else 0
