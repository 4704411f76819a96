"""One look at a deployment: at most one outward act, then its record, and when to look again."""

from datetime import datetime, timedelta

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException

from handlers import durations
from handlers.contract import (
    Deployment,
    Handler,
    KeepsOutput,
    Run,
    State,
    ToolRejected,
    ToolUnavailable,
)
from webhook.deployments.config import Environment
from webhook.deployments.route import no_route_words, route
from webhook.outbound.trouble import Later, NoAccess, Unsure
from webhook.store import deployments, output, places
from webhook.store.deployments import DeploymentRow, Outdated
from webhook.work import moves
from webhook.work.queue import Elsewhere
from webhook.work.relay import Relay, log_about, now, scope

log = structlog.get_logger()

# A tool ends a run at its deadline by itself where it can; this is what it may take for that.
GRACE = timedelta(seconds=15)


async def advance(relay: Relay, deployment_id: int) -> datetime | None:
    """When to look again; None: it is over, or not ours to run."""
    row = await relay.read(deployment_id)
    if row is None or row.asked_at is None or row.watched or _is_over(row):
        return None
    log_about(row)
    environment = route(relay.config, row.repo, row.environment)
    if environment is None:
        await moves.end(relay, row, no_route_words(relay.config, row.repo, row.environment))
        return None
    try:
        return await _look(relay, row, environment)
    except (ToolRejected, NoAccess) as refused:
        await moves.end(relay, row, str(refused))
        return None
    except (Later, Outdated, psycopg.OperationalError, ConnectorException):
        raise
    except Exception:
        # A fault of ours: tried again as long as there is time, but never without an answer.
        if now() < _due(row, environment) + GRACE:
            raise
        log.exception("deployment given up")
        await moves.end(relay, row, "The relay itself failed on this deployment; its log says why")
        return None


def _due(row: DeploymentRow, environment: Environment) -> datetime:
    return row.deadline or (row.asked_at or now()) + environment.timeout


def _is_over(row: DeploymentRow) -> bool:
    """Ended, and no run of ours goes on: one may even if nobody has recorded its start yet."""
    if row.ended_at is None:
        return False
    return row.started_at is None if row.run is None else State(row.run["state"]).final


async def _look(relay: Relay, row: DeploymentRow, environment: Environment) -> datetime | None:
    handler = relay.handler(environment)
    if handler.local and row.started_on and row.started_on != relay.place:
        await _hand_over(relay, row.started_on)
    if row.run is None and row.ended_at is None:
        await _require_access(relay, row)
        row = await _mark_start(relay, row, environment)
    try:
        run = await _run(handler, relay.as_contract(row, environment), row)
    except ToolUnavailable as trouble:
        return await _try_later(relay, row, environment, trouble)
    if run is None:
        return None
    await _keep_output(relay, handler, relay.as_contract(row, environment))
    return await _settle(relay, row, environment, handler, run)


async def _hand_over(relay: Relay, place: str) -> None:
    """Its files are on another machine, whose workers follow it as long as there are any."""
    async with relay.pool.connection() as connection:
        gone = await places.is_gone(connection, place, relay.place)
    if gone:
        raise ToolRejected("lost: the machine that ran it is gone, or its disk was replaced")
    raise Elsewhere(place)


async def _require_access(relay: Relay, row: DeploymentRow) -> None:
    """Nothing is started that GitHub could not be told of: the App may have been removed."""
    try:
        await relay.github.require_access(scope(row))
    except Unsure as trouble:
        raise Later.in_seconds(str(trouble), 5) from trouble


async def _mark_start(relay: Relay, row: DeploymentRow, environment: Environment) -> DeploymentRow:
    """Committed before the tool is asked for the first time."""
    if row.started_at is not None:
        return row
    started = now()
    async with relay.pool.connection() as connection:
        await places.seen(connection, relay.place)
        return await deployments.change(
            connection,
            row,
            handler=environment.handler,
            started_at=started,
            started_on=relay.place,
            deadline=started + environment.timeout,
        )


async def _run(handler: Handler, deployment: Deployment, row: DeploymentRow) -> Run | None:
    """How the run stands, started now if it was not; None where it is not to start any more."""
    if row.run is not None:
        return await handler.check(deployment, _as_run(row.run))
    found = await handler.find(deployment)
    if found is not None:
        log.info("run found again", run=found.id)
        return found
    if row.ended_at is not None:
        return None
    run = await handler.start(deployment)
    log.info("run started", run=run.id, handler=row.handler)
    return run


def _as_run(values: dict[str, str]) -> Run:
    return Run(**{**values, "state": State(values["state"])})  # type: ignore[arg-type]


async def _try_later(
    relay: Relay, row: DeploymentRow, environment: Environment, trouble: ToolUnavailable
) -> datetime | None:
    if now() >= _due(row, environment):
        timeout = durations.write(environment.timeout.total_seconds())
        await moves.end(relay, row, f"Gave up after {timeout}: {trouble}")
        return None
    log.warning("tool unavailable", words=str(trouble))
    return trouble.retry_at or _next_look(row, least=2, most=60)


async def _keep_output(relay: Relay, handler: Handler, deployment: Deployment) -> None:
    if not isinstance(handler, KeepsOutput):
        return
    async with relay.pool.connection() as connection:
        at_byte = await output.length(connection, deployment.id)
        try:
            while chunk := await handler.read_output(deployment, at_byte):
                at_byte = await output.append(connection, deployment.id, at_byte, chunk)
        except OSError:  # how the run ended matters more than what it printed
            log.exception("the output cannot be read")


async def _settle(
    relay: Relay, row: DeploymentRow, environment: Environment, handler: Handler, run: Run
) -> datetime | None:
    if run.state.final or now() < _due(row, environment) + GRACE:
        await moves.record(relay, row, run)
        return None if run.state.final else _next_look(row, least=0.5, most=5)
    await handler.cancel(relay.as_contract(row, environment), run)
    timeout = durations.write(environment.timeout.total_seconds())
    await moves.record(relay, row, Run(run.id, State.ERROR, run.url, f"timed out after {timeout}"))
    return None


def _next_look(row: DeploymentRow, *, least: float, most: float) -> datetime:
    """Often at first, then less and less often, the longer it goes on."""
    since = (now() - row.started_at).total_seconds() if row.started_at else 0
    return now() + timedelta(seconds=max(least, min(most, since / 10)))
