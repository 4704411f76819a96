"""Looks after a deployment from its event to its end, one look after the other."""

from datetime import datetime

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException

from handlers import errors as tool_errors
from webhook.config.routing import no_route_message, route
from webhook.engine import transitions
from webhook.engine.runner import Runner
from webhook.engine.services import Services, log_about
from webhook.engine.tool_reports import take_reports
from webhook.errors import Conflict, Forbidden, RetryAt
from webhook.store.deployments import DeploymentRow

log = structlog.get_logger()


async def advance(services: Services, deployment_id: int) -> datetime | None:
    """When to look again; None: it is over, or not ours to run."""
    await take_reports(services, deployment_id)
    row = await services.read(deployment_id)
    if row is None or row.requested_at is None or row.watched or _is_over(row):
        return None
    log_about(row)
    environment = route(services.config, row.repo, row.environment)
    if environment is None:
        await transitions.end(
            services, row, no_route_message(services.config, row.repo, row.environment)
        )
        return None
    if row.started_at and row.handler != environment.handler:
        words = f"deploy.yml gives it to '{environment.handler}' now; '{row.handler}' had begun it"
        await transitions.end(services, row, f"{words}, and its run may go on there")
        return None
    look = Runner(services, row, environment, services.handler(environment))
    try:
        return await look.take()
    except (tool_errors.Rejected, Forbidden) as refused:
        await transitions.end(services, look.row, str(refused))
        return None
    except (RetryAt, Conflict, psycopg.OperationalError, ConnectorException):
        raise
    except Exception:
        # A fault of ours: tried again as long as there is time, but never without an answer.
        if services.clock() < look.due + services.timing.command_grace:
            raise
        log.exception("deployment given up")
        words = "The relay itself failed on this deployment; its log says why"
        await transitions.end(services, look.row, words)
        return None


def _is_over(row: DeploymentRow) -> bool:
    """Ended, and no run of ours goes on: one may even if nobody has recorded its start yet."""
    if row.ended_at is None:
        return False
    return row.started_at is None if row.run is None else row.run.state.final
