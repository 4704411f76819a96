"""Advance a deployment: find, start or check its run, at most one of which acts; then record it.

A start is recorded before it is made. While one may have got through although the tool does not
show it yet, nothing is started again; `webhook.engine.restarts` says how often it is started where
the tool cannot show it. A rejection ends the deployment once it counts (`webhook.rejections`).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg
import structlog

from handlers import durations
from handlers import errors as tool_errors
from handlers.contract import Deployment, Handler, Observes, Run, StartsBlindly, State
from webhook.config.environments import Environment
from webhook.config.routing import no_route_message, route
from webhook.deployments.blockers import Blocker
from webhook.deployments.lateness import MAY_RUN, NOT_FOUND_AGAIN, Lateness
from webhook.engine import gates, transitions
from webhook.engine.held_jobs import answer_rule
from webhook.engine.outputs import keep_output
from webhook.engine.polling import Again, Heard, hear
from webhook.engine.restarts import Restarts, is_risky
from webhook.engine.restored import learn_from_github
from webhook.engine.services import Services, log_about, scope
from webhook.engine.tool_reports import take_reports
from webhook.errors import Conflict, Rejected, RetryAt, UnknownOutcome
from webhook.rejections import RejectionPolicy, rejected_since
from webhook.store import deployments, machines
from webhook.store.deployments import DeploymentRow
from webhook.timing import Timing, growing_pause

log = structlog.get_logger()


async def advance(services: Services, deployment_id: int) -> Again | None:
    """None: it is over, or not ours to run."""
    row = await services.read(deployment_id)
    if row is not None and row.has_reports:
        row = await take_reports(services, row)
    if row is None or row.requested_at is None or _is_over(row):
        return None
    log_about(row)
    if row.watched:
        return await answer_rule(services, row)
    environment = await _environment_of(services, row)
    if environment is None:
        return None
    runner = Runner(services, row, environment, services.handler(environment))
    try:
        return runner.again(await runner.step())
    except (tool_errors.Rejected, Rejected) as error:
        return runner.again(await runner.end_if_it_counts(error))
    except (RetryAt, Conflict, psycopg.OperationalError):
        raise
    except Exception:
        # An error of ours: retried until the deadline, but GitHub gets a status in any case.
        if services.clock() < runner.due + services.timing.command_grace:
            raise
        log.exception("deployment given up")
        message = "The relay itself failed on this deployment; its log says why"
        await transitions.end(services, runner.row, message)
        return None


async def _environment_of(services: Services, row: DeploymentRow) -> Environment | None:
    """None: it has ended, as deploy.yml has no place for it now. What has begun keeps its own."""
    begun = await services.begun_in(row)
    if begun is not None:
        return begun
    environment = route(services.config, row.repo, row.environment)
    if environment is None:
        await transitions.end(
            services, row, no_route_message(services.config, row.repo, row.environment)
        )
        return None
    if row.started_at and row.handler != environment.handler:
        handlers = (
            f"deploy.yml gives it to '{environment.handler}' now; '{row.handler}' had begun it"
        )
        await transitions.end(services, row, f"{handlers}, and its run may go on there")
        return None
    return environment


def _is_over(row: DeploymentRow) -> bool:
    """Ended, and no run of ours continues: one may, even where its start is not recorded yet."""
    if row.ended_at is None:
        return False
    return row.started_at is None if row.run is None else row.run.state.final


@dataclass(slots=True)
class Runner:
    """One step of a deployment's run with its handler; `row` is kept as the store has it. Of this
    step, `call` is the last one, `admitted` whether its gates let it start, and `heard` what the
    tool's events said."""

    services: Services
    row: DeploymentRow
    environment: Environment
    handler: Handler
    call: str = ""
    admitted: bool = False
    heard: Heard | None = None

    @property
    def timing(self) -> Timing:
        return self.services.timing

    def now(self) -> datetime:
        return self.services.clock()

    @property
    def deployment(self) -> Deployment:
        return self.services.as_contract(self.row, self.environment)

    @property
    def due(self) -> datetime:
        """Before its start it may wait for its gates, or for access, but not for ever."""
        env = self.environment
        limit = max(env.wait_limit, env.timeout) if self.row.blockers else env.timeout
        return self.row.deadline or (self.row.requested_at or self.now()) + limit

    def again(self, at: datetime | None) -> Again | None:
        return None if at is None else Again(at, is_deadline=at >= self.due)

    async def step(self) -> datetime | None:
        """When to check again; None: it is over."""
        if self.services.precedes_restore(self.row.created_at) and await self._ended_since_backup():
            return None
        if self.handler.local and self.row.started_on not in (None, self.services.machine_id):
            await self._hand_over(self.row.started_on or "")
        continues = self.row.cancel_requested_by is None or self.row.ended_at is not None
        quiet_until = self._reports_until() or await self._events_until()
        if quiet_until and continues:
            return quiet_until
        if not continues and self.row.started_at is None:
            await self._end_unstarted()
            return None
        if continues and self.row.run is None and self.row.ended_at is None:
            await self._require_access()
            before = self.row.blockers
            await self._admit()
            if self._is_held:
                return self._asked_again_at(before)
        return await self._follow(continues=continues)

    async def _ended_since_backup(self) -> bool:
        """From which the store was restored; GitHub knows."""
        self.call = "statuses"
        try:
            self.row = await learn_from_github(self.services, self.row)
        except UnknownOutcome as error:
            raise RetryAt(str(error), self.now() + self.timing.access_recheck) from error
        return _is_over(self.row)

    @property
    def _is_held(self) -> bool:
        """By its gates, or refused by them."""
        return self.row.ended_at is not None or bool(self.row.blockers)

    def _asked_again_at(self, before: tuple[Blocker, ...]) -> datetime | None:
        return gates.asked_again_at(self.services, self.row, self.environment, waited=bool(before))

    async def _follow(self, *, continues: bool) -> datetime | None:
        starts, before = self.row.run is None, self.row.blockers
        try:
            run = await self._run()
        except tool_errors.Unavailable as error:
            return await self._try_later(error)
        if run is None:
            return self._asked_again_at(before) if self._is_held else None
        await keep_output(self.services.pool, self.handler, self.deployment)
        if not continues and not run.state.final:
            return await self._cancel_as_requested(run)
        again = await self._record(run)
        # Its first events may have come before its start was recorded.
        return self.now() if again and starts and isinstance(self.handler, Observes) else again

    async def _hand_over(self, machine_id: str) -> None:
        """Its files are on another machine, whose workers follow it while there are any."""
        async with self.services.pool.connection() as connection:
            gone = await machines.is_gone(connection, machine_id, self.services.machine_id)
        if gone:
            raise tool_errors.Rejected(
                "lost: the machine that ran it is gone, or its disk was replaced"
            )
        raise RetryAt(f"for {machine_id}", self.now(), machine_id=machine_id)

    def _reports_until(self) -> datetime | None:
        """Until when the tool is not polled, because it reports by itself."""
        if self.handler.local or self.row.reported_at is None or self.row.run is None:
            return None
        until = min(self.row.reported_at + self.timing.reports_silent_after, self.due)
        return until if self.now() < until else None

    async def _require_access(self) -> None:
        """Start nothing of which GitHub could get no status: the App may have been removed."""
        self.call = "access"
        try:
            await self.services.github.require_access(scope(self.row))
        except UnknownOutcome as error:
            raise RetryAt(str(error), self.now() + self.timing.access_recheck) from error

    async def _admit(self) -> None:
        """Its start is recorded, before the first call to the tool, unless its gates hold it
        back."""
        if self.row.started_at is not None:
            return
        start = self._first_start()
        if self.handler.local:  # or other machines might take this one for gone
            async with self.services.pool.connection() as connection:
                await machines.seen(connection, self.services.machine_id)
        if gates.has_gates(self.environment) and not await self._began_since_backup():
            await self._ask_gates(start)
            return
        async with self.services.pool.connection() as connection:
            self.row = await deployments.change(connection, self.row, **start)

    async def _began_since_backup(self) -> bool:
        """Its tool has a run of it, of which a restored store knows nothing: it is past its
        gates."""
        observes = isinstance(self.handler, Observes) and self.handler.starts_nothing
        if observes or not self.services.precedes_restore(self.row.created_at):
            return False
        try:
            return await self._find() is not None
        except (tool_errors.Unavailable, tool_errors.Rejected) as error:
            log.warning("whether it runs since the backup is not known", error=str(error))
            return False

    @property
    def _policy(self) -> Environment:
        """Gates are those of the present deploy.yml, of what has begun too."""
        row = self.row
        return route(self.services.config, row.repo, row.environment) or self.environment

    async def _ask_gates(self, start: deployments.Columns) -> None:
        self.call = "read"
        self.row = await gates.admit(self.services, self.row, self._policy, start)
        self.admitted = self.row.ended_at is None and not self.row.blockers

    async def _admit_again(self, *, risky: bool) -> None:
        """Gates are asked before each start: the one that was recorded may not have been made. What
        may have got through is not taken back."""
        if self.admitted or not gates.has_gates(self.environment):
            return
        row, blindly = self.row, isinstance(self.handler, StartsBlindly)
        if row.possible_starts or row.reported_at is not None or (blindly and not risky):
            await gates.require_restart(self.services, self.row, self._policy)
        else:
            await self._ask_gates({})

    def _first_start(self) -> deployments.Columns:
        started = self.now()
        unblocked: deployments.Columns = {"blockers": (), "status_description": ""}
        return {
            **(unblocked if self.row.blockers else {}),
            "handler": self.environment.handler,
            "config_digest": self.services.config.digest,
            "started_at": started,
            "started_on": self.services.machine_id,
            "starting": True,
            "deadline": started + self.environment.timeout,
        }

    async def _run(self) -> Run | None:
        """The run as it is now, started if it was not; None where it must not start any more."""
        if self.row.run is not None:
            self.call = "check"
            return await self._check(self.row.run)
        starts_nothing = isinstance(self.handler, Observes) and self.handler.starts_nothing
        found = None if starts_nothing else await self._find()
        if found is not None:
            log.info("run found again", run=found.id)
            return found
        risky = is_risky(self.handler)
        if self.row.ended_at is not None:
            if not risky:
                self._require_no_claim(risky=False)
            await transitions.stop_searching(self.services, self.row)
            return None
        if risky and self.row.possible_starts and self.row.reported_at is not None:
            return Run(str(self.row.id), State.IN_PROGRESS)  # the report shows that it runs
        if self.row.cancel_requested_by is None or not risky:
            self._require_no_claim(risky=risky)
        if self.row.cancel_requested_by is not None:
            await self._end_unstarted()
            return None
        if self.now() >= self.due:
            held = self.row.status_description if self._restarts.are_over else ""
            raise tool_errors.Rejected(self._given_up(self.row.tool_error or held))
        if self.row.lateness is Lateness.RESUMED:
            self._require_safe_restart(risky=risky)
        return await self._start_admitted(risky=risky)

    async def _start_admitted(self, *, risky: bool) -> Run | None:
        await self._admit_again(risky=risky)
        if self._is_held:
            return None
        return await (self._start_risky() if risky else self._start())

    def _require_safe_restart(self, *, risky: bool) -> None:
        """It was started, and the store has forgotten by whom and how: only a tool that recognizes
        a repeated start is asked for another one."""
        if risky:
            raise tool_errors.NotReady(MAY_RUN, held=True, retry_at=self.due)
        if not isinstance(self.handler, StartsBlindly):
            raise tool_errors.Rejected(NOT_FOUND_AGAIN, certain=True)

    def _require_no_claim(self, *, risky: bool) -> None:
        """Nothing is started while an earlier start may get through; only where the tool can be
        searched, that may show before."""
        until = self.row.start_claimed_until
        if until and self.now() < until:
            again = until if risky else self.now() + self.timing.recheck_at_least
            raise RetryAt("an earlier start may have got through", again)

    async def _events_until(self) -> datetime | None:
        """Until when there is nothing to do for a tool that sends events, and has sent none since
        the last poll."""
        if self.row.run is None or not isinstance(self.handler, Observes):
            return None
        self.heard = heard = await hear(self.services, self.row)
        if heard.is_news or self.now() >= heard.poll_due:
            return None
        return min(self._next_poll(), self.due) if self.now() < self.due else None

    async def _check(self, run: Run) -> Run:
        handler = self.handler
        if not isinstance(handler, Observes):
            return await handler.check(self.deployment, run)
        heard, now = self.heard or await hear(self.services, self.row), self.now()
        if heard.is_news and now < heard.poll_due:
            return await handler.observe(self.deployment, run, heard.events)
        checked = await self.handler.check(self.deployment, run)
        async with self.services.pool.connection() as connection:
            self.row = await deployments.change(
                connection, self.row, polled_at=now, polled_events=heard.digest
            )
        return checked

    async def _find(self) -> Run | None:
        """While a start may have got through, a rejection does not end the deployment."""
        self.call = "find"
        try:
            return await self.handler.find(self.deployment)
        except tool_errors.Rejected as error:
            if self.row.start_claimed_until is None:
                raise
            raise tool_errors.Unavailable(str(error)) from error

    async def _start(self) -> Run:
        appears_within = self.handler.appears_within
        if appears_within:
            await self._claim_start(self.now() + self.timing.claim_lasts + appears_within)
        self.call = "start"
        try:
            run = await self.handler.start(self.deployment)
        except (tool_errors.Unavailable, tool_errors.Rejected) as error:
            if appears_within:
                may_run = isinstance(error, tool_errors.UnknownOutcome)
                await self._end_claim(self.now() + appears_within if may_run else None)
            raise
        log.info("run started", run=run.id, handler=self.row.handler)
        return run

    @property
    def _restarts(self) -> Restarts:
        return Restarts.of(self.row, self.timing)

    async def _start_risky(self) -> Run:
        """Each start counts before it is made, and until the tool says that nothing was done."""
        before = self.row
        if self._restarts.are_over:  # and the process ended before it could record that
            raise await self._hold(before.tool_error or "no response was recorded")
        starts = before.possible_starts + 1
        pause = replace(self._restarts, starts=starts).pause
        await self._claim_start(self.now() + self.timing.claim_lasts + pause, starts)
        self.call = "start"
        try:
            run = await self.handler.start(self.deployment)
        except tool_errors.UnknownOutcome as error:
            if self._restarts.are_over:
                raise await self._hold(str(error)) from error
            await self._end_claim(max(self.now() + pause, error.retry_at or self.now()), starts)
            raise
        except (tool_errors.Unavailable, tool_errors.Rejected) as error:
            await self._end_claim(before.start_claimed_until, before.possible_starts)
            if before.possible_starts and self._counts(error):
                raise await self._hold(str(error)) from error
            raise
        log.info("run started", run=run.id, handler=self.row.handler)
        return run

    def _counts(self, error: tool_errors.HandlerError) -> bool:
        return isinstance(error, tool_errors.Rejected) and self._retry_rejected_at(error) is None

    async def _hold(self, error: str) -> tool_errors.NotReady:
        """A person decides, or the deadline."""
        log.warning("not started again", error=error, starts=self.row.possible_starts)
        await self._end_claim(self.due, self.row.possible_starts)
        return self._restarts.held(error, self.due)

    async def _claim_start(self, until: datetime | None, starts: int = 0) -> None:
        async with self.services.pool.connection() as connection:
            self.row = await deployments.change(
                connection, self.row, start_claimed_until=until, possible_starts=starts
            )

    async def _end_claim(self, until: datetime | None, starts: int = 0) -> None:
        """Even if the deployment has changed meanwhile."""
        while True:
            try:
                return await self._claim_start(until, starts)
            except Conflict:
                self.row = await self.services.read(self.row.id) or self.row

    async def _try_later(self, error: tool_errors.Unavailable) -> datetime | None:
        if self.now() >= self.due:
            going_on = await self._cancel(self.row.run) if self.row.run else ""
            await transitions.end(self.services, self.row, self._given_up(f"{error}{going_on}"))
            return None
        if isinstance(error, tool_errors.NotReady):
            await transitions.not_ready(self.services, self.row, str(error), held=error.held)
            again = error.retry_at or self._recheck(self.timing.not_ready_recheck_at_most)
            return min(again, self.due)
        if error.code == tool_errors.BUSY:
            return min(self._recheck(self.timing.recheck_at_most), self.due)
        log.warning("tool unavailable", error=str(error), code=error.code)
        due = (self.row.tool_error_since or self.now()) + self.timing.outage_announced_after
        lasts = due < max(self.now(), error.retry_at or self.now())
        self.row = await transitions.wait_for_tool(
            self.services, self.row, str(error), announced=lasts
        )
        return min(error.retry_at or self._recheck(self.timing.recheck_at_most), self.due)

    async def end_if_it_counts(self, error: tool_errors.Rejected | Rejected) -> datetime | None:
        """When to try again; None: the rejection counts, and the deployment has ended with it."""
        again = self._retry_rejected_at(error)
        if again is None:
            await transitions.end(self.services, self.row, str(error))
            return None
        return await self._wait_rejected(str(error), again)

    def _retry_rejected_at(self, error: tool_errors.Rejected | Rejected) -> datetime | None:
        """None: it counts."""
        now = self.now()
        if error.certain or now >= self.due:
            return None
        since = rejected_since(self.row, self.call, now)
        again = RejectionPolicy.doubtful(self.timing).retry_at(since, now)
        return again and min(again, self.due)

    async def _wait_rejected(self, error: str, again: datetime) -> datetime:
        since = rejected_since(self.row, self.call, self.now())
        log.warning("tool rejects a call", call=self.call, error=error, since=since.isoformat())
        self.row = await transitions.wait_for_tool(
            self.services,
            self.row,
            error,
            announced=self.now() - since >= self.timing.rejection_announced_after,
            rejection={
                "rejected_call": self.call,
                "rejected_since": since,
                "rejected_at": self.now(),
            },
        )
        return again

    async def _end_unstarted(self) -> None:
        """Unless its tool cannot say whether an earlier start got through."""
        cancelled = f"Cancelled by {self.row.cancel_requested_by}"
        if self.row.started_at is None or self.handler.local or self.handler.appears_within:
            await transitions.end(self.services, self.row, f"{cancelled} before it began")
            return
        going_on = await self._cancel(Run(str(self.row.id), State.IN_PROGRESS))
        message = f"{cancelled}; an earlier start may have got through{going_on}"
        await transitions.end(self.services, self.row, message)

    async def _cancel_as_requested(self, run: Run) -> datetime | None:
        """Where the tool does not cancel it, it is followed as before."""
        async with self.services.pool.connection() as connection:
            await transitions.require_reports_judged(connection, self.row)
        self.call = "cancel"
        try:
            await self.handler.cancel(self.deployment, run)
        except tool_errors.Unavailable as error:
            return await self._try_later(error)
        except tool_errors.Rejected as error:
            if again := self._retry_rejected_at(error):
                return await self._wait_rejected(f"could not be cancelled yet: {error}", again)
            self.row = await transitions.not_cancelled(self.services, self.row, str(error))
            return await self._record(run)
        message = f"Cancelled by {self.row.cancel_requested_by}"
        await transitions.record_run(
            self.services, self.row, replace(run, state=State.ERROR, description=message)
        )
        return None

    def _given_up(self, error: str) -> str:
        timeout = durations.write(self.environment.timeout.total_seconds())
        unclear = self._may_run() and not self._restarts.are_over
        started = "an earlier start may have got through; " if unclear else ""
        return f"Gave up after {timeout}: {started}{error or 'there was no time left to start it'}"

    def _may_run(self) -> bool:
        return self.row.run is None and self.row.start_claimed_until is not None

    async def _record(self, run: Run) -> datetime | None:
        grace = self.timing.command_grace if self.handler.local else timedelta(0)
        if run.state.final:
            await transitions.record_run(self.services, self.row, run)
            return None
        if self.now() < self.due + grace:
            await transitions.record_run(self.services, self.row, run)
            return min(self._next_poll(), self.due + grace)
        going_on = await self._cancel(run)
        timeout = durations.write(self.environment.timeout.total_seconds())
        last = f" ({run.description})" if run.description else ""
        message = f"timed out after {timeout}{going_on}{last}"
        await transitions.record_run(
            self.services, self.row, Run(run.id, State.ERROR, run.url, message)
        )
        return None

    async def _cancel(self, run: Run) -> str:
        """What the status adds where it could not be stopped."""
        async with self.services.pool.connection() as connection:
            await transitions.require_reports_judged(connection, self.row)
        try:
            await self.handler.cancel(self.deployment, run)
        except (tool_errors.Unavailable, tool_errors.Rejected) as error:
            log.warning("run not stopped", run=run.id, error=str(error))
            return f"; its run may go on: {error}"
        return ""

    def _next_poll(self) -> datetime:
        pace = self.handler.pace
        least = min(timedelta(seconds=pace.least), self.timing.first_poll_at_most)
        return self._next(least, timedelta(seconds=pace.most))

    def _recheck(self, most: timedelta) -> datetime:
        return self._next(self.timing.recheck_at_least, most)

    def _next(self, least: timedelta, most: timedelta) -> datetime:
        now = self.now()
        since = now - self.row.started_at if self.row.started_at else timedelta(0)
        return now + self.services.pacing.stretched(growing_pause(since / 10, least, most))
