"""How a deployment's row moves on: phase, step, and what GitHub and Slack are to hear of it."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from handlers import durations
from handlers.contract import Run, State
from webhook.deployments.states import Phase, follows, shorten
from webhook.store import deployments, steps
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.work.relay import Relay, now


@dataclass(frozen=True, slots=True)
class Move:
    """A phase that the deployment comes to, and what is said of it."""

    phase: Phase
    words: str = ""
    environment_url: str = ""


async def end(relay: Relay, row: DeploymentRow, words: str) -> None:
    """`error`: it could not run, or its run cannot be followed any more."""
    async with relay.pool.connection() as connection, connection.transaction():
        if row.run is not None:
            run = {**row.run, "state": State.ERROR.value}
            row = await deployments.change(connection, row, run=run)
        if follows(row.phase, Phase.ERROR):
            await make(relay, connection, row, Move(Phase.ERROR, words))


async def record(relay: Relay, row: DeploymentRow, run: Run) -> None:
    """Keep how the run stands; a change of phase goes out to GitHub and Slack."""
    run = replace(run, description=relay.redactor.text(run.description))
    if row.run == asdict(run):
        return
    async with relay.pool.connection() as connection, connection.transaction():
        row = await deployments.change(connection, row, run=asdict(run))
        phase = Phase(run.state.value)
        if follows(row.phase, phase):
            if phase in (Phase.SUCCESS, Phase.FAILURE) and follows(row.phase, Phase.IN_PROGRESS):
                # It ran, only so shortly that nobody saw it.
                row = await make(relay, connection, row, Move(Phase.IN_PROGRESS))
            move = Move(phase, run.description, run.environment_url)
            await make(relay, connection, row, move)
        elif run.state.final:
            words = shorten(f"The run ended with {run.state}: {run.description}")
            step = steps.NewStep(actor=row.handler, state=run.state, words=words, counted=False)
            await steps.add(connection, row.id, step)


async def make(relay: Relay, connection: Async, row: DeploymentRow, move: Move) -> DeploymentRow:
    """A move of ours: the row, and the status for GitHub in its outbox."""
    row = await apply(relay, connection, row, move)
    step = steps.NewStep(
        actor="relay",
        state=row.phase,
        words=row.words or _plain_words(row),
        environment_url=row.environment_url if row.phase is Phase.SUCCESS else "",
        outbox="waiting",
    )
    await steps.add(connection, row.id, step)
    await relay.queue.tell_github(connection, row.id)
    return row


def _plain_words(row: DeploymentRow) -> str:
    """A status without a description would look like a mistake."""
    if row.started_at and row.ended_at:
        seconds = (row.ended_at - row.started_at).total_seconds()
        return f"Finished in {durations.write(seconds)}"
    return f"Running ({row.handler})" if row.started_at else f"Accepted (next: {row.handler})"


async def apply(relay: Relay, connection: Async, row: DeploymentRow, move: Move) -> DeploymentRow:
    """A move by whoever made it: the row; Slack follows."""
    words = shorten(relay.redactor.text(move.words))
    columns: dict[str, Any] = {"phase": move.phase, "words": words}
    if move.environment_url:
        columns["environment_url"] = relay.redactor.text(move.environment_url)
    if move.phase.final:
        columns["ended_at"] = row.ended_at or now()
    row = await deployments.change(connection, row, **columns)
    if row.phase is Phase.SUCCESS:
        for replaced in await deployments.replaced_by(connection, row):
            await relay.queue.tell_slack(connection, replaced)
    await relay.queue.tell_slack(connection, row.id)
    return row
