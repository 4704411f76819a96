"""How a deployment's row moves on: phase, timeline, and what GitHub and Slack are to hear of it."""

from dataclasses import dataclass, replace
from datetime import datetime

from handlers import HANDLERS, durations
from handlers.contract import Run, State
from webhook.deployments.phases import Phase, follows, phase_of
from webhook.engine.services import Services, log_about
from webhook.errors import Conflict
from webhook.store import actions, deployments, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import TimelineEntry
from webhook.text import LONGEST_KEPT, one_line

_WAITING = "Waiting: "
LONGEST_URL = 2000


@dataclass(frozen=True, slots=True)
class Transition:
    """A phase that the deployment comes to, and what is said of it."""

    phase: Phase
    words: str = ""
    environment_url: str = ""
    held: bool = False


def counts(row: DeploymentRow, phase: Phase, words: str) -> bool:
    """Whether it says anything new: another phase, or other words while it goes on."""
    if follows(row.phase, phase):
        return True
    return (
        phase is row.phase and not phase.final and bool(words) and words != row.status_description
    )


async def end(services: Services, row: DeploymentRow, words: str) -> None:
    """`error`: it could not run, or its run cannot be followed any more."""
    async with services.pool.connection() as connection, connection.transaction():
        await reports_first(connection, row)
        if row.run is not None:
            run = replace(row.run, state=State.ERROR)
            row = await deployments.change(connection, row, run=run)
        if follows(row.phase, Phase.ERROR):
            await make(services, connection, row, Transition(Phase.ERROR, words))


async def reports_first(connection: Async, row: DeploymentRow) -> None:
    """What a tool has reported in time counts before what we conclude ourselves."""
    if row.ended_at is None and await timeline.not_judged(connection, row.id):
        raise Conflict(f"deployment {row.id} has reports that nobody has judged")


async def wait(
    services: Services, row: DeploymentRow, trouble: str, *, tell: bool
) -> DeploymentRow:
    """The tool cannot be asked; kept for the page and, where it lasts, told everybody."""
    trouble = services.redactor.text(trouble)
    async with services.pool.connection() as connection, connection.transaction():
        since = row.tool_error_since or services.clock()
        row = await deployments.change(connection, row, tool_error=trouble, tool_error_since=since)
        words = one_line(_WAITING + trouble, LONGEST_KEPT)
        if tell and row.ended_at is None and words != row.status_description:
            row = await make(services, connection, row, Transition(row.phase, words))
    return row


async def not_ready(services: Services, row: DeploymentRow, words: str, *, held: bool) -> None:
    """Nothing is wrong, but it cannot begin yet; everybody may know why."""
    words = one_line(services.redactor.text(words), LONGEST_KEPT)
    if words == row.status_description and not row.tool_error:
        return
    async with services.pool.connection() as connection, connection.transaction():
        row = await deployments.change(connection, row, tool_error="", tool_error_since=None)
        if row.ended_at is None and words != row.status_description:
            await make(services, connection, row, Transition(row.phase, words, held=held))


async def not_cancelled(services: Services, row: DeploymentRow, words: str) -> DeploymentRow:
    """Said where it was asked for; the deployment goes on."""
    words = one_line(f"Could not be cancelled: {services.redactor.text(words)}", LONGEST_KEPT)
    async with services.pool.connection() as connection, connection.transaction():
        row = await deployments.change(connection, row, cancel_requested_by=None)
        entry = timeline.NewEntry(
            actor="relay", state=timeline.ASKED, description=words, counted=False
        )
        await timeline.add(connection, row.id, entry)
        await actions.not_cancelled(connection, row.id, words)
        await services.notify(connection, row)
    return row


async def record(services: Services, row: DeploymentRow, run: Run) -> None:
    """Keep how the run stands; a change of phase goes out to GitHub and Slack, and so do other
    words, once they have been there for two looks.

    Whatever else changes the row meanwhile, a run that was started must not be forgotten.
    """
    run = _clean(services, run)
    known = row.run
    while row.run == known:
        if row.run == run and not row.tool_error and not _says_more(row, run):
            return
        try:
            await _record(services, row, run)
        except Conflict:
            before, row = row.version, await services.read(row.id) or row
            if row.version == before:
                raise
        else:
            return
    raise Conflict(f"the run of deployment {row.id} was recorded by somebody else")


def _clean(services: Services, run: Run) -> Run:
    """Without secrets, and without what the store cannot keep or a line cannot show."""

    def text(text: str, longest: int = LONGEST_KEPT) -> str:
        return one_line(services.redactor.text(text), longest)

    return Run(
        id=run.id,
        state=run.state,
        url=text(run.url, LONGEST_URL),
        description=text(run.description),
        environment_url=text(run.environment_url, LONGEST_URL),
        held=run.held,
    )


async def _record(services: Services, row: DeploymentRow, run: Run) -> None:
    says_more = _says_more(row, run)
    async with services.pool.connection() as connection, connection.transaction():
        row = await deployments.change(
            connection, row, run=run, tool_error="", tool_error_since=None
        )
        if run.state.final:
            await reports_first(connection, row)
        move = _move(row, run)
        if says_more:
            if move.phase in (Phase.SUCCESS, Phase.FAILURE) and follows(
                row.phase, Phase.IN_PROGRESS
            ):
                # It ran, only so shortly that nobody saw it.
                row = await make(services, connection, row, Transition(Phase.IN_PROGRESS))
            await make(services, connection, row, move)
        elif run.state.final:
            words = f"The run ended with {run.state}: {run.description}"
            words = one_line(words, LONGEST_KEPT)
            entry = timeline.NewEntry(
                actor=row.handler, state=run.state, description=words, counted=False
            )
            await timeline.add(connection, row.id, entry)


def _says_more(row: DeploymentRow, run: Run) -> bool:
    move = _move(row, run)
    if follows(row.phase, move.phase):
        return True
    if row.reported_at is not None:
        return False  # what the tool says by itself tells more
    before = row.run.description if row.run else None
    return run.description == before and counts(row, move.phase, one_line(move.words, LONGEST_KEPT))


def _move(row: DeploymentRow, run: Run) -> Transition:
    phase = Phase(run.state.value)
    if phase is Phase.QUEUED and row.phase is Phase.IN_PROGRESS:
        phase = row.phase  # it waits once more, which only the words can tell
    words = run.description
    if not words and not run.state.final and row.status_description.startswith(_WAITING):
        words = "The tool answers again"
    return Transition(phase, words, run.environment_url, run.held)


async def make(
    services: Services, connection: Async, row: DeploymentRow, move: Transition
) -> DeploymentRow:
    """A move of ours: the row, and the status for GitHub in its outbox."""
    row = await apply(services, connection, row, move)
    await say_again(services, connection, row, held=move.held)
    return row


async def say_again(
    services: Services, connection: Async, row: DeploymentRow, *, held: bool = False
) -> None:
    """The row's phase as a status of ours."""
    entry = timeline.NewEntry(
        actor="relay",
        state=row.phase,
        description=row.status_description or plain_words(row),
        environment_url=row.environment_url if row.phase is Phase.SUCCESS else "",
        held=held,
    )
    await timeline.add_status(connection, row.id, entry)
    await services.queue.send_statuses(connection, row.id)


def plain_words(row: DeploymentRow) -> str:
    """A status without a description would look like a mistake."""
    if row.started_at and row.ended_at:
        seconds = (row.ended_at - row.started_at).total_seconds()
        return f"Finished in {durations.write(seconds)}"
    return f"Running ({row.handler})" if row.started_at else f"Accepted (next: {row.handler})"


async def apply(
    services: Services, connection: Async, row: DeploymentRow, move: Transition
) -> DeploymentRow:
    """A move by whoever made it: the row; Slack follows."""
    words = one_line(services.redactor.text(move.words), LONGEST_KEPT)
    columns: deployments.Columns = {"phase": move.phase, "status_description": words}
    if move.environment_url:
        columns["environment_url"] = services.redactor.text(move.environment_url)
    if move.phase.final:
        columns["ended_at"] = row.ended_at or services.clock()
    row = await deployments.change(connection, row, **columns)
    if row.phase is Phase.SUCCESS:
        for replaced in await deployments.deactivate_replaced(connection, row):
            await services.notify_again(connection, replaced)
    await services.notify(connection, row)
    return row


async def take_reports(services: Services, deployment_id: int) -> None:
    row = await services.read(deployment_id)
    if row is None:
        return
    log_about(row)
    async with services.pool.connection() as connection, connection.transaction():
        waiting = await timeline.not_judged(connection, row.id)
        for entry in waiting:
            row = await _take(services, connection, row, entry)
        if waiting:
            await services.queue.send_statuses(connection, row.id)


async def _take(
    services: Services, connection: Async, row: DeploymentRow, entry: TimelineEntry
) -> DeploymentRow:
    phase = phase_of(entry.state)
    counted = phase is not None and counts(row, phase, entry.description)
    if phase is None or not counted:
        await timeline.judge(connection, entry.id, description=entry.description, counted=False)
        return row
    move = Transition(phase, entry.description, entry.environment_url)
    row = await apply(services, connection, row, move)
    row = await deployments.change(connection, row, **_known_now(row, phase, services.clock()))
    words = row.status_description or plain_words(row)
    await timeline.judge(connection, entry.id, description=words, counted=True)
    return row


def _known_now(row: DeploymentRow, phase: Phase, at: datetime) -> deployments.Columns:
    """It need not be asked meanwhile; after its end, not at all. A command is followed anyway."""
    columns: deployments.Columns = {
        "reported_at": at,
        "tool_error": "",
        "tool_error_since": None,
    }
    remote = row.handler in HANDLERS and not HANDLERS[row.handler].local
    if remote and phase.final and row.run is not None:
        ended = State(phase) if phase is not Phase.INACTIVE else State.ERROR
        columns["run"] = replace(row.run, state=ended)
    return columns
