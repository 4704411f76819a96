"""What holds for a deployment: its environment of deploy.yml, tightened by the repository's own
deploy.yml where that is to count (`repository_file: tighten`)."""

from webhook.config.environments import Environment
from webhook.engine.services import Services
from webhook.gates.contract import Policy
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow


async def fetch_policy(services: Services, row: DeploymentRow, environment: Environment) -> Policy:
    """By the repository's file as it is on GitHub now. Not within a transaction: it may call
    GitHub."""
    return Policy(environment)


async def kept_policy(
    services: Services, connection: Async, row: DeploymentRow, environment: Environment
) -> Policy:
    """By the repository's file as the store has it."""
    return Policy(environment)
