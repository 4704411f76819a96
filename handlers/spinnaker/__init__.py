"""Runs pipelines of Spinnaker: those whose webhook trigger fits the deployment, or one by name.

A webhook is answered with the ID of an event, whether or not a pipeline starts; which ones did is
found out by that ID for as long as `start_within`. After a crash they are found by what was sent.

Source: https://spinnaker.io/docs/guides/user/pipeline/triggers/webhooks
Errors: those of http.py and of spinnaker_gate.py; while a run is under way all of them are tried
    again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from handlers import contract, durations
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.errors import Rejected, Unavailable
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
from handlers.spinnaker.states import Standing, combined, gone, page, standing

WAITING = "waiting for a Spinnaker pipeline to start"
NONE_TO_STOP = "no Spinnaker pipeline of it is known yet, so none could be stopped"
REASON = "asked for by the relay of the GitHub deployment"


@dataclass(frozen=True, slots=True)
class Followed:
    """What `Run.id` says: the executions known, and the event that may still start others."""

    executions: tuple[str, ...] = ()
    event: str = ""
    sent_at: int = 0  # seconds since 1970

    def __str__(self) -> str:
        sent = [f"event={self.event}", f"sent_at={self.sent_at}"] if self.event else []
        return " ".join([*self.executions, *sent])

    @classmethod
    def read(cls, text: str) -> Self:
        parts = [part.partition("=") for part in text.split()]
        values = {name: value for name, equals, value in parts if equals}
        ids = tuple(name for name, equals, _ in parts if not equals)
        return cls(ids, values.get("event", ""), int(values.get("sent_at", 0)))

    def grows_for(self, within: timedelta) -> bool:
        return bool(self.event) and _now() <= self.sent_at + within.total_seconds()

    def plus(self, executions: Sequence[Execution]) -> Self:
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

    async def find(self, deployment: Deployment) -> Run | None:
        found = await self._marked(deployment)
        if not found:
            return None
        followed = Followed().plus(found)
        if self._options.source:
            followed = replace(followed, event=_event_of(found[0]), sent_at=_now())
        return await self._seen(deployment, Run(str(followed), State.QUEUED), followed, found)

    async def start(self, deployment: Deployment) -> Run:
        sent = event(deployment, self._options.parameters)
        url = page(self._options.deck, self._options.application)
        if self._options.source:
            event_id = await self._gate.send_event(self._options.source, encode(sent))
            followed = Followed(event=event_id, sent_at=_now())
            return Run(str(followed), State.QUEUED, url, WAITING)
        trigger = {
            "type": "manual",
            "correlationId": correlation_id(deployment),
            "parameters": sent["parameters"],
            "payload": sent,
        }
        application, pipeline = self._options.application or "", self._options.pipeline or ""
        id_ = await self._gate.run_pipeline(application, pipeline, encode(trigger))
        return Run(id_, State.QUEUED, page(self._options.deck, application, id_))

    async def check(self, deployment: Deployment, run: Run) -> Run:
        try:
            followed, known = await self._grown(deployment, Followed.read(run.id))
            if not followed.executions:
                return self._none_yet(deployment, run, followed)
            return await self._seen(deployment, run, followed, known)
        except Rejected as error:
            # It may be mended while the pipeline goes on.
            raise Unavailable(str(error)) from error

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        followed = Followed.read(run.id)
        if not followed.executions:
            followed, _ = await self._grown(deployment, followed)
        if not followed.executions and followed.grows_for(self._options.start_within):
            raise Unavailable(NONE_TO_STOP)
        failure: Unavailable | Rejected | None = None
        for id_ in followed.executions:
            try:
                await self._gate.cancel(id_, REASON)
            except (Unavailable, Rejected) as error:
                failure = error
        if failure:
            raise failure

    async def verify_access(self) -> str:
        """As `find` does, for which a webhook that is open to all is not enough."""
        application = self._options.application
        if application:
            await self._gate.require_application(application)
        await self._gate.search(datetime.now(UTC), size="1")
        return f"answers, and has the application '{application}'" if application else "answers"

    async def _marked(self, deployment: Deployment) -> list[Execution]:
        """What an earlier start has led to, by what it has sent."""
        if self._options.pipeline:
            mark: dict[str, Any] = {"correlationId": correlation_id(deployment)}
            criteria = {"trigger": trigger_subset(mark)}
        else:
            report = {"report_url": deployment.report.url}
            mark = {"payload": {"deployment": {"id": deployment.id}, "parameters": report}}
            criteria = {"triggerTypes": "webhook", "trigger": trigger_subset(mark)}
        found = await self._gate.search(deployment.started_at, **criteria)
        return [execution for execution in found if _contains(execution.trigger, mark)]

    async def _grown(
        self, deployment: Deployment, followed: Followed
    ) -> tuple[Followed, list[Execution]]:
        """With the executions that its event has led to by now."""
        # Once more after the time is over, so that a late check does not miss what has started.
        if followed.executions and not followed.grows_for(self._options.start_within):
            return followed, []
        if not followed.event:
            return followed, []
        found = await self._gate.search(
            deployment.started_at, triggerTypes="webhook", eventId=followed.event
        )
        ours = [e for e in found if _contains(e.trigger, {"eventId": followed.event})]
        return followed.plus(ours), ours

    def _none_yet(self, deployment: Deployment, run: Run, followed: Followed) -> Run:
        options = self._options
        if followed.grows_for(options.start_within):
            return replace(run, description=WAITING)
        only = f"only in application '{options.application}'"
        where = only if options.application else "in all applications"
        within = durations.write(options.start_within.total_seconds())
        words = (
            f"no Spinnaker pipeline matched in {within} (looked {where}): {deployment.repo},"
            f" {deployment.environment}, source '{options.source}'"
        )
        return replace(run, state=State.ERROR, description=words)

    async def _seen(
        self, deployment: Deployment, run: Run, followed: Followed, known: Sequence[Execution]
    ) -> Run:
        """`known` have just been read."""
        by_id = {execution.id: execution for execution in known}
        unread = [id_ for id_ in followed.executions if id_ not in by_id]
        if unread:
            by_id |= {e.id: e for e in await self._gate.executions(unread)}
        standings = [
            await self._standing(deployment, run, id_, by_id.get(id_))
            for id_ in followed.executions
        ]
        return combined(standings, run, str(followed))

    async def _standing(
        self, deployment: Deployment, run: Run, id_: str, execution: Execution | None
    ) -> Standing:
        if execution is None:
            execution = await self._gate.execution(id_)
        elif execution.status == "TERMINAL":
            execution = await self._in_full(execution)
        if execution is None:
            return gone(id_)
        url = page(self._options.deck, execution.application or self._options.application, id_)
        return standing(execution, run.state, url, deployment.report.token)

    async def _in_full(self, execution: Execution) -> Execution:
        """With the messages of its stages, unless that is too much to ask."""
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


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
