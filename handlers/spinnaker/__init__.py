"""Spinnaker: runs the pipelines whose webhook trigger fits the deployment, or one by name.

A webhook's response names an event, whether or not a pipeline starts; the handler searches the
executions of that event for as long as `start_within`. After a crash it searches them by what was
sent.

Source: https://spinnaker.io/docs/guides/user/pipeline/triggers/webhooks
Errors: those of http.py and gate.py, which are all tried again while a run is under way; `Rejected`
(404) where Spinnaker does not know the execution.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from handlers import contract, durations
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.errors import Rejected, Unavailable
from handlers.preview import HttpPreview, Preview
from handlers.spinnaker.gate import (
    ID,
    Execution,
    Gate,
    correlation_id,
    encode,
    event,
    trigger_subset,
)
from handlers.spinnaker.options import SpinnakerOptions
from handlers.spinnaker.states import (
    ExecutionState,
    combined,
    decisive,
    execution_state,
    page,
    vanished,
)

WAITING = "waiting for a Spinnaker pipeline to start"
NOTHING_TO_STOP = "none of its Spinnaker pipelines is known yet, so none could be stopped"
# `Rejected`: Spinnaker does not know the execution now, right after the trigger for example.
GONE = "gone"
REASON = "requested by the relay of the GitHub deployment"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """`Run.id` in parts: the known executions, and the event that may still start others."""

    executions: tuple[str, ...] = ()
    event: str = ""
    sent_at: int = 0  # seconds since 1970

    def __str__(self) -> str:
        event = [f"event={self.event}", f"sent_at={self.sent_at}"] if self.event else []
        return " ".join([*self.executions, *event])

    @classmethod
    def parse(cls, text: str) -> Self:
        parts = [part.partition("=") for part in text.split()]
        values = {name: value for name, equals, value in parts if equals}
        ids = tuple(name for name, equals, _ in parts if not equals)
        return cls(ids, values.get("event", ""), int(values.get("sent_at", 0)))

    def may_grow(self, within: timedelta, now: datetime) -> bool:
        return bool(self.event) and int(now.timestamp()) <= self.sent_at + within.total_seconds()

    def with_executions(self, executions: Sequence[Execution]) -> Self:
        ids = dict.fromkeys([*self.executions, *(execution.id for execution in executions)])
        return replace(self, executions=tuple(ids))


class Spinnaker:
    Options: ClassVar[type[contract.Options]] = SpinnakerOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=3, most=20)
    # Echo queues what it has accepted and offers it to Orca five times, five seconds apart.
    appears_within: ClassVar[timedelta] = timedelta(minutes=2)

    def __init__(self, options: SpinnakerOptions, context: HandlerContext) -> None:
        self._options = options
        self._gate = Gate(options, context.http)
        self._clock = context.clock

    async def find(self, deployment: Deployment) -> Run | None:
        found = await self._find_executions(deployment)
        if not found:
            return None
        tracked = TrackedRun().with_executions(found)
        if self._options.source:
            tracked = replace(tracked, event=_event_of(found[0]), sent_at=self._now())
        return await self._run(deployment, Run(str(tracked), State.QUEUED), tracked, found)

    async def start(self, deployment: Deployment) -> Run:
        url, sent = page(self._options.deck, self._options.application), self._sent(deployment)
        if self._options.source:
            event_id = await self._gate.send_event(self._options.source, sent)
            tracked = TrackedRun(event=event_id, sent_at=self._now())
            return Run(str(tracked), State.QUEUED, url, WAITING)
        application, pipeline = self._options.application or "", self._options.pipeline or ""
        id_ = await self._gate.run_pipeline(application, pipeline, sent)
        return Run(id_, State.QUEUED, page(self._options.deck, application, id_))

    def preview(self, deployment: Deployment) -> Preview:
        options, sent = self._options, self._sent(deployment)
        if not options.source:
            application, pipeline = options.application or "", options.pipeline or ""
            request = self._gate.to_run_pipeline(application, pipeline, sent)
            return Preview(calls=(HttpPreview.of(request),))
        within = durations.write(options.start_within.total_seconds())
        note = f"Which pipelines that starts is Spinnaker's to say; if none does in {within}, it"
        request = self._gate.to_send_event(options.source, sent)
        return Preview(calls=(HttpPreview.of(request),), notes=(f"{note} ends as an error",))

    def _sent(self, deployment: Deployment) -> bytes:
        """The event, or what triggers the one pipeline."""
        document = event(deployment, self._options.parameters)
        if self._options.source:
            return encode(document)
        trigger = {
            "type": "manual",
            "correlationId": correlation_id(deployment),
            "parameters": document["parameters"],
            "payload": document,
        }
        return encode(trigger)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        try:
            tracked, read = await self._with_new_executions(deployment, TrackedRun.parse(run.id))
            if not tracked.executions:
                return self._no_execution_yet(deployment, run, tracked)
            return await self._run(deployment, run, tracked, read)
        except Rejected as error:
            if error.code == GONE:
                raise
            # It may be fixed while the pipeline runs.
            raise Unavailable(str(error), code=error.code) from error

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        tracked = TrackedRun.parse(run.id)
        if not tracked.executions:
            tracked, _ = await self._with_new_executions(deployment, tracked)
        if not tracked.executions and tracked.may_grow(self._options.start_within, self._clock()):
            raise Unavailable(NOTHING_TO_STOP)
        failure: Unavailable | Rejected | None = None
        for id_ in tracked.executions:
            try:
                await self._gate.cancel(id_, REASON)
            except (Unavailable, Rejected) as error:
                failure = error
        if failure:
            raise failure

    async def verify_access(self) -> str:
        """With a search, as `find` does it; a webhook that is open to all would prove less."""
        application = self._options.application
        if application:
            await self._gate.require_application(application)
        await self._gate.search(self._clock(), size="1")
        return f"responds, and has the application '{application}'" if application else "responds"

    async def _find_executions(self, deployment: Deployment) -> list[Execution]:
        """The executions of an earlier start, by what it has sent."""
        if self._options.pipeline:
            mark: dict[str, Any] = {"correlationId": correlation_id(deployment)}
            criteria = {"trigger": trigger_subset(mark)}
        else:
            report = {"report_url": deployment.report.url}
            mark = {"payload": {"deployment": {"id": deployment.id}, "parameters": report}}
            criteria = {"triggerTypes": "webhook", "trigger": trigger_subset(mark)}
        found = await self._gate.search(deployment.started_at, **criteria)
        return [execution for execution in found if _contains(execution.trigger, mark)]

    async def _with_new_executions(
        self, deployment: Deployment, tracked: TrackedRun
    ) -> tuple[TrackedRun, list[Execution]]:
        """With the executions that its event has started by now."""
        # Once more after `start_within`, so that a late check does not miss one.
        if tracked.executions and not tracked.may_grow(self._options.start_within, self._clock()):
            return tracked, []
        if not tracked.event:
            return tracked, []
        found = await self._gate.search(
            deployment.started_at, triggerTypes="webhook", eventId=tracked.event
        )
        ours = [e for e in found if _contains(e.trigger, {"eventId": tracked.event})]
        return tracked.with_executions(ours), ours

    def _now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock().timestamp())

    def _no_execution_yet(self, deployment: Deployment, run: Run, tracked: TrackedRun) -> Run:
        options = self._options
        if tracked.may_grow(options.start_within, self._clock()):
            return replace(run, description=WAITING)
        one = f"application '{options.application}'"
        where = one if options.application else "all applications"
        within = durations.write(options.start_within.total_seconds())
        description = (
            f"no Spinnaker pipeline matched in {within} (searched {where}): {deployment.repo},"
            f" {deployment.environment}, source '{options.source}'"
        )
        return replace(run, state=State.ERROR, description=description)

    async def _run(
        self, deployment: Deployment, run: Run, tracked: TrackedRun, read: Sequence[Execution]
    ) -> Run:
        """`read` are executions that need not be read again."""
        by_id = {execution.id: execution for execution in read}
        unread = [id_ for id_ in tracked.executions if id_ not in by_id]
        if unread:
            by_id |= {e.id: e for e in await self._gate.executions(unread)}
        states = [
            await self._execution_state(deployment, run, id_, by_id.get(id_))
            for id_ in tracked.executions
        ]
        if gone := decisive(states):
            raise Rejected(gone.description, code=GONE, status=404)
        return combined(states, run, str(tracked))

    async def _execution_state(
        self, deployment: Deployment, run: Run, id_: str, execution: Execution | None
    ) -> ExecutionState:
        if execution is None:
            execution = await self._gate.execution(id_)
        elif execution.status == "TERMINAL":
            execution = await self._with_details(execution)
        if execution is None:
            return vanished(id_)
        url = page(self._options.deck, execution.application or self._options.application, id_)
        return execution_state(execution, run.state, url, deployment.report.token)

    async def _with_details(self, execution: Execution) -> Execution:
        """With the messages of its stages, if Spinnaker returns them."""
        try:
            return await self._gate.execution(execution.id) or execution
        except (Unavailable, Rejected):
            return execution


def _event_of(execution: Execution) -> str:
    id_ = (execution.trigger or {}).get("eventId")
    return id_ if isinstance(id_, str) and re.fullmatch(ID, id_) else ""


def _contains(value: Any, part: Any) -> bool:
    if not isinstance(part, dict):
        return bool(value == part)
    return isinstance(value, dict) and all(_contains(value.get(key), part[key]) for key in part)
