"""Transitions of a deployment: its phase, its timeline, and who is notified.

Nothing else writes a phase.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

from handlers import durations
from handlers.contract import Run, State
from webhook.deployments.phases import Phase, follows, phase_of
from webhook.engine.promotions import chained_in, promote_next, promoted_from
from webhook.engine.services import Services
from webhook.errors import Conflict
from webhook.github.events import DeploymentStatus
from webhook.logs import Redactor
from webhook.store import (
    actions,
    deployment_order,
    deployments,
    protection_rules,
    schedule,
    timeline,
)
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.environments import EnvironmentKey
from webhook.store.schedule import Key
from webhook.text import LONGEST_KEPT, one_line

LONGEST_URL = 2000
LET_THROUGH = "No gate holds it back: its workflow goes on"
# GitHub takes ten comments on a job that waits; the last is for the decision. That is repeated
# where GitHub asks again.
MOST_RULE_COMMENTS, MOST_RULE_DECISIONS = 9, 100
TOOL_RESPONDS: deployments.Columns = {
    "tool_error": "",
    "tool_error_since": None,
    "rejected_call": "",
    "rejected_since": None,
    "rejected_at": None,
}


@dataclass(frozen=True, slots=True)
class Transition:
    """The phase that a deployment enters, or stays in with another description. `held`: it waits
    for a person; `asked_before`: who knows that already. `outage`: it waits for a tool that is
    unavailable."""

    phase: Phase
    description: str = ""
    environment_url: str = ""
    held: bool = False
    asked_before: bool = False
    outage: bool = False


def counts(row: DeploymentRow, phase: Phase, description: str) -> bool:
    """Whether anything is new: another phase, or another description of one that continues."""
    if follows(row.phase, phase):
        return True
    changed = bool(description) and description != row.status_description
    return phase is row.phase and not phase.final and changed


async def end(services: Services, row: DeploymentRow, description: str) -> None:
    """`error`: it could not run, or its run cannot be followed any more."""
    columns: deployments.Columns = {}
    if row.run is not None:
        columns["run"] = replace(row.run, state=State.ERROR)
    elif row.started_at is not None:
        columns["starting"] = False
    async with services.pool.connection() as connection, connection.transaction():
        if follows(row.phase, Phase.ERROR):
            transition = Transition(Phase.ERROR, description)
            await announce(services, connection, row, transition, columns=columns)
        elif columns:
            await _stop_following(connection, row, columns)
        await require_reports_judged(connection, row)


async def stop_searching(services: Services, row: DeploymentRow) -> None:
    """Its deployment has ended, and nothing came of its start."""
    async with services.pool.connection() as connection, connection.transaction():
        await _stop_following(connection, row, {"starting": False})


async def _stop_following(
    connection: Async, row: DeploymentRow, columns: deployments.Columns
) -> None:
    await deployments.change(connection, row, **columns)
    await schedule.request(connection, [], ended_in=_where(row))


async def require_reports_judged(connection: Async, row: DeploymentRow) -> None:
    """What a tool has reported in time counts before what we conclude ourselves: raises
    `Conflict`, so that the job is run again and judges those reports first.

    A statement of its own: one that has waited for the row's lock, which whoever reports has, does
    not see that report.
    """
    if row.ended_at is None and await timeline.not_judged(connection, row.id):
        raise Conflict(f"deployment {row.id} has reports that are not judged yet")


async def wait_for_tool(
    services: Services,
    row: DeploymentRow,
    error: str,
    *,
    announced: bool,
    rejection: deployments.Columns | None = None,
) -> DeploymentRow:
    """The tool is unavailable, or rejects a call in a way that does not count yet: kept for the
    page, and announced where that lasts."""
    columns: deployments.Columns = {
        "tool_error": services.redactor.text(error),
        "tool_error_since": row.tool_error_since or services.clock(),
        **(rejection or {}),
    }
    error = columns["tool_error"]
    async with services.pool.connection() as connection, connection.transaction():
        row = await deployments.change(connection, row, **columns)
        description = one_line(f"Waiting: {error}", LONGEST_KEPT)
        if announced and row.ended_at is None and description != row.status_description:
            transition = Transition(row.phase, description, outage=True)
            row = await announce(services, connection, row, transition)
    return row


async def not_ready(services: Services, row: DeploymentRow, reason: str, *, held: bool) -> None:
    """Nothing is wrong, but it cannot start yet; the status says why."""
    description = one_line(services.redactor.text(reason), LONGEST_KEPT)
    if description == row.status_description and not row.tool_error:
        return
    async with services.pool.connection() as connection, connection.transaction():
        row = await deployments.change(connection, row, **TOOL_RESPONDS)
        if row.ended_at is None and description != row.status_description:
            transition = Transition(row.phase, description, held=held)
            await announce(services, connection, row, transition)


async def not_cancelled(services: Services, row: DeploymentRow, reason: str) -> DeploymentRow:
    """The person who requested it gets that as the reply; the deployment continues."""
    message = f"Could not be cancelled: {services.redactor.text(reason)}"
    message = one_line(message, LONGEST_KEPT)
    async with services.pool.connection() as connection, connection.transaction():
        row = await deployments.change(connection, row, cancel_requested_by=None)
        entry = timeline.NewEntry(
            actor="relay", state=timeline.REQUESTED, description=message, counted=False
        )
        await timeline.add(connection, row.id, entry)
        await actions.not_cancelled(connection, row.id, message)
        await services.notify(connection, row)
    return row


async def record_run(services: Services, row: DeploymentRow, run: Run) -> None:
    """Record the state of the run. A change of phase is announced; another description too, once
    two checks in a row have found it.

    Whatever else changes the row meanwhile, a run that was started must not be forgotten.
    """
    run = _clean(services.redactor, run)
    known = row.run
    while row.run == known:
        if row.run == run and not row.tool_error and not _is_news(row, run):
            return
        try:
            await _record_run(services, row, run)
        except Conflict:
            before, row = row.version, await services.read(row.id) or row
            if row.version == before:
                raise
        else:
            return
    raise Conflict(f"the run of deployment {row.id} was recorded by another job")


def _clean(redactor: Redactor, run: Run) -> Run:
    """Without secrets, and without what the store cannot keep or a line cannot show."""

    def text(text: str, longest: int = LONGEST_KEPT) -> str:
        return one_line(redactor.text(text), longest)

    return Run(
        id=run.id,
        state=run.state,
        url=text(run.url, LONGEST_URL),
        description=text(run.description),
        environment_url=text(run.environment_url, LONGEST_URL),
        held=run.held,
    )


async def _record_run(services: Services, row: DeploymentRow, run: Run) -> None:
    columns: deployments.Columns = {**TOOL_RESPONDS, "run": run}
    is_news = _is_news(row, run)
    is_linked = bool(run.url) and (row.run is None or row.run.url != run.url)
    async with services.pool.connection() as connection:
        if not (is_news or is_linked or run.state.final):
            await deployments.change(connection, row, **columns)
            return
        async with connection.transaction():
            if is_news:
                transition = _transition(row, run)
                await _announce_run(services, connection, row, transition, columns)
            elif run.state.final:
                await _stop_following(connection, row, columns)
                await _keep_end(connection, row, run)
            else:
                await deployments.change(connection, row, **columns)
                await services.notify(connection, row)  # messages link to it
            if run.state.final:
                await require_reports_judged(connection, row)
            if is_linked:  # gates know now who asked for its jobs, and that these need not wait
                jobs = await protection_rules.waiting_in_run(connection, row.repo_id, run.id)
                await schedule.request(connection, [Key("advance", one) for one in jobs])


async def _keep_end(connection: Async, row: DeploymentRow, run: Run) -> None:
    """Of a run whose deployment had ended before."""
    message = f"The run ended with {run.state}: {run.description}"
    entry = timeline.NewEntry(
        actor=row.handler,
        state=run.state,
        description=one_line(message, LONGEST_KEPT),
        counted=False,
    )
    await timeline.add(connection, row.id, entry)


def _is_news(row: DeploymentRow, run: Run) -> bool:
    transition = _transition(row, run)
    if follows(row.phase, transition.phase):
        return True
    if row.reported_at is not None:
        return False  # the tool's own reports say more
    before = row.run.description if row.run else None
    description = one_line(transition.description, LONGEST_KEPT)
    return run.description == before and counts(row, transition.phase, description)


def _transition(row: DeploymentRow, run: Run) -> Transition:
    phase = Phase(run.state.value)
    if phase is Phase.QUEUED and row.phase is Phase.IN_PROGRESS:
        phase = row.phase  # it waits once more, which only the description can show
    description = run.description
    if not description and not run.state.final and row.outage_announced:
        description = "The tool responds again"
    return Transition(phase, description, run.environment_url, run.held)


async def _announce_run(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    columns: deployments.Columns,
) -> None:
    ran = transition.phase in (Phase.SUCCESS, Phase.FAILURE)
    if ran and follows(row.phase, Phase.IN_PROGRESS):  # it ended before a check found it running
        running = replace(row, phase=Phase.IN_PROGRESS, status_description="")
        await _add_status(connection, running)
    await announce(services, connection, row, transition, columns=columns)


async def announce(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    *,
    columns: deployments.Columns | None = None,
    also: Collection[Key] = (),
) -> DeploymentRow:
    """A transition of our own: the row, and a status for GitHub in the outbox, or the answer to the
    protection rule that holds it back there. `columns`: what else to change. `also`: what else to
    do then."""
    before, row = row, await _change(services, connection, row, transition, columns or {})
    await _add_status(connection, row, held=transition.held, asked_before=transition.asked_before)
    await _after(services, connection, before, row, [Key("send_statuses", row.id), *also])
    if before.waits_for_rule and transition.phase.final:
        ended = Transition(row.phase, f"Its run was rejected with deployment {row.id}")
        with_it: deployments.Columns = {"superseded_by": row.superseded_by}
        for other in await protection_rules.siblings(connection, row):
            await apply(services, connection, other, ended, columns=with_it)
    return row


def is_other_attempt(row: DeploymentRow, newer: DeploymentRow) -> bool:
    """Whether somebody else has started its run again since. Where nobody knows who has started it,
    it may be the same attempt, and its own approvals count for less anyway."""
    known = bool(row.asker_id and newer.asker_id)
    return newer.id > row.id and known and newer.asker_id != row.asker_id


async def let_through(
    services: Services, connection: Async, row: DeploymentRow, columns: deployments.Columns
) -> DeploymentRow:
    """Its job may run: GitHub gets the answer to its protection rule, and reports the rest by
    itself. The answer is for all jobs of the run that wait for this environment."""
    siblings = await protection_rules.siblings(connection, row)
    if any(is_other_attempt(row, one) for one in siblings):
        raise Conflict(f"the run of deployment {row.id} was started again by somebody else")
    through = Transition(row.phase, LET_THROUGH)
    before, row = row, await _change(services, connection, row, through, columns)
    await _add_answer(connection, row, "approved")
    await _after(services, connection, before, row, [Key("send_statuses", row.id)])
    for other in siblings:
        transition = Transition(other.phase, f"{LET_THROUGH}, with deployment {row.id}")
        await apply(services, connection, other, transition, columns=columns)
    return row


async def announce_again(connection: Async, row: DeploymentRow) -> None:
    """Write the row's phase to GitHub as a status of ours; GitHub itself writes those of a job."""
    if row.watched:
        return
    held = any(one.for_person for one in row.blockers)
    await _add_status(connection, row, held=held, asked_before=held)
    await schedule.request(connection, [Key("send_statuses", row.id)])


async def _add_status(
    connection: Async, row: DeploymentRow, *, held: bool = False, asked_before: bool = False
) -> None:
    if row.watched:
        kind = "rejected" if row.phase.final else "comment"
        await _add_answer(connection, row, kind, held=held, asked_before=asked_before)
        return
    entry = own_entry(row, held=held, asked_before=asked_before)
    await timeline.add_status(connection, row.id, entry)


def own_entry(row: DeploymentRow, *, held: bool, asked_before: bool) -> timeline.NewEntry:
    """Of the row's state, in its timeline and for GitHub."""
    return timeline.NewEntry(
        actor="relay",
        state=row.phase.on_github,
        description=row.status_description or default_description(row),
        environment_url=row.environment_url if row.phase is Phase.SUCCESS else "",
        held=held,
        asked_before=asked_before,
    )


async def _add_answer(
    connection: Async,
    row: DeploymentRow,
    kind: str,
    *,
    held: bool = False,
    asked_before: bool = False,
) -> None:
    """What was let through before is not rejected any more."""
    entry = own_entry(row, held=held, asked_before=asked_before)
    if kind != "approved" and row.started_at is not None:
        await timeline.add(connection, row.id, entry)
        return
    most = MOST_RULE_COMMENTS if kind == "comment" else MOST_RULE_DECISIONS
    await timeline.add_answer(connection, row.id, entry, kind, most)


def default_description(row: DeploymentRow) -> str:
    """Of a status that has none of its own."""
    if row.started_at and row.ended_at:
        seconds = (row.ended_at - row.started_at).total_seconds()
        return f"Finished in {durations.write(seconds)}"
    return f"Running ({row.handler})" if row.started_at else f"Accepted (next: {row.handler})"


async def apply(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    *,
    columns: deployments.Columns | None = None,
    also: Collection[Key] = (),
) -> DeploymentRow:
    """Change the row and notify people. `columns`: what else to change. `also`: what else to do
    then."""
    before, row = row, await _change(services, connection, row, transition, columns or {})
    await _after(services, connection, before, row, also)
    return row


async def take_over(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    status: DeploymentStatus,
    columns: deployments.Columns,
) -> None:
    """It has ended with that status, before the relay knew of it: nobody is notified of what is
    over, and nothing is promoted by it once more."""
    phase = phase_of(status.state) or row.phase
    ended: deployments.Columns = {**columns, "ended_at": status.created_at}
    row = await deployments.change(connection, row, **ended)
    transition = Transition(phase, status.description, status.environment_url)
    row = await _change(services, connection, row, transition, {})
    if row.phase is Phase.SUCCESS:
        await deployment_order.deactivate_replaced(connection, row)
    entry = timeline.NewEntry(
        actor=status.creator or "somebody",
        state=phase.on_github,
        description=row.status_description,
        log_url=status.log_url,
        environment_url=status.environment_url,
        github_id=status.id,
    )
    await timeline.add(connection, row.id, entry)
    chained = chained_in(services, row)
    await schedule.request(connection, [], ended_in=_where(row), chained_in=chained)


async def learn(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    columns: deployments.Columns | None = None,
) -> DeploymentRow:
    """What became of it on GitHub, which need not hear of that."""
    row = await apply(services, connection, row, transition, columns=columns)
    await timeline.add(connection, row.id, own_entry(row, held=False, asked_before=False))
    return row


async def _change(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    more: deployments.Columns,
) -> DeploymentRow:
    return await deployments.change(connection, row, **_changes(services, row, transition, more))


def entered(
    services: Services, row: DeploymentRow, transition: Transition, columns: deployments.Columns
) -> DeploymentRow:
    """The row as `announce` and `apply` would leave it."""
    changes = _changes(services, row, transition, columns)
    own = {one.name for one in fields(DeploymentRow)}
    known: dict[str, Any] = {name: value for name, value in changes.items() if name in own}
    return replace(row, **known, phase_at=services.clock())


def _changes(
    services: Services, row: DeploymentRow, transition: Transition, more: deployments.Columns
) -> deployments.Columns:
    description = one_line(services.redactor.text(transition.description), LONGEST_KEPT)
    columns: deployments.Columns = {
        **more,
        "phase": transition.phase,
        "status_description": description,
        "outage_announced": transition.outage,
    }
    if transition.environment_url:
        columns["environment_url"] = services.redactor.text(transition.environment_url)
    if transition.phase.final:
        columns["ended_at"] = row.ended_at or services.clock()
        if row.blockers:
            columns["blockers"] = ()
    return columns


async def _after(
    services: Services,
    connection: Async,
    before: DeploymentRow,
    row: DeploymentRow,
    also: Collection[Key],
) -> None:
    """Of every transition."""
    if row.phase is Phase.SUCCESS:
        others = await deployment_order.deactivate_replaced(connection, row)
        others += await promoted_from(services, connection, row)
        await promote_next(services, connection, row)
        if others:
            await schedule.request(connection, [], notified=others)
    # Nobody waits for a superseded one.
    frees = row.phase.final and row.phase is not Phase.SUPERSEDED
    await services.notify(
        connection,
        row,
        also=also,
        ended_in=_where(row) if frees else None,
        chained_in=0 if row.phase is before.phase else chained_in(services, row),
    )


def _where(row: DeploymentRow) -> EnvironmentKey:
    return EnvironmentKey(row.repo_id, row.environment)
