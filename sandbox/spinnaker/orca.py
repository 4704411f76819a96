"""Executions of pipelines, as Orca starts, runs, finds and cancels them.

Source: https://github.com/spinnaker/orca, OperationsController.groovy, TaskController.groovy,
    SqlExecutionRepository.kt (correlation IDs)
Units: seconds.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sandbox.spinnaker.expressions import Failed, evaluate, render
from sandbox.spinnaker.model import Execution, Json, Pipeline, Stage
from sandbox.spinnaker.webhooks import Preconfigured, call, fill_in


class Refused(Exception):
    """HTTP 400, with these words."""


@dataclass(slots=True)
class Orca:
    """A stage takes `stage_takes`, unless it is held or waits for a judgment."""

    stage_takes: float = 0.02
    webhook_again_after: float = 0.05
    webhook_within: float = 5
    webhooks: dict[str, Preconfigured] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    session: aiohttp.ClientSession | None = None
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def start(self, pipeline: Pipeline, trigger: Json) -> Execution:
        given = _with_parameters(pipeline, trigger)
        # Expressions in a trigger are evaluated too, whoever wrote them.
        given = render(given, _context(given, None))
        execution = Execution(pipeline, given)
        if (correlated := self._correlated(given.get("correlationId"))) is not None:
            return correlated
        execution.stages = [Stage(config) for config in pipeline.config.get("stages", ())]
        self.executions[execution.id] = execution
        if pipeline.config.get("disabled"):
            words = "Pipeline is disabled and cannot be started."
            execution.status, execution.canceled, execution.canceled_by = "TERMINAL", True, "system"
            execution.reason = f"Failed on startup: {words}"
            raise Refused(words)
        self._running[execution.id] = asyncio.create_task(self._run(execution))
        return execution

    def cancel(self, execution: Execution, user: str, reason: str | None) -> None:
        execution.canceled, execution.canceled_by = True, user
        execution.reason = reason or execution.reason
        if not execution.complete:
            self._running.pop(execution.id).cancel()
            for stage in execution.stages:
                stage.status = "CANCELED" if stage.status == "RUNNING" else stage.status
            execution.status = "CANCELED"

    def set_status(self, execution: Execution, status: str) -> None:
        """From now on, whatever its stages do."""
        if running := self._running.pop(execution.id, None):
            running.cancel()
        execution.status = status

    async def stop(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, execution: Execution) -> None:
        await asyncio.sleep(self.stage_takes)
        execution.status = "RUNNING"
        for stage in execution.stages:
            stage.status = "RUNNING"
            await self._run_stage(execution, stage)
            if stage.status in ("TERMINAL", "STOPPED"):
                break
        execution.end()
        self._running.pop(execution.id, None)

    async def _run_stage(self, execution: Execution, stage: Stage) -> None:
        if not _enabled(execution, stage):
            stage.status = "SKIPPED"
            return
        if stage.type == "manualJudgment":
            await stage.judged.wait()
        await asyncio.sleep(self.stage_takes)
        if stage.name in self.held:
            await self.held[stage.name].wait()
        if webhook := self.webhooks.get(stage.type):
            await self._call(webhook, execution, stage)
            return
        stage.status = "SUCCEEDED"
        if wrong := self.failing.get(stage.name):
            stage.raise_(wrong)
        elif stage.context.get("judgmentStatus") == "stop":
            stage.fail()

    async def _call(self, webhook: Preconfigured, execution: Execution, stage: Stage) -> None:
        assert self.session is not None
        request = fill_in(webhook, stage, _context(execution.trigger, execution))
        try:
            async with asyncio.timeout(self.webhook_within):
                wrong = await call(self.session, request, stage, self.webhook_again_after)
        except TimeoutError:
            wrong = "the task timed out"
        stage.status = "SUCCEEDED"
        if wrong:
            stage.context.setdefault("webhook", {})["error"] = wrong
            stage.fail()

    def search(self, application: str, query: Mapping[str, str], subset: Json) -> list[Execution]:
        """Newest first."""
        found = [
            execution
            for execution in self._newest_first()
            if application in ("*", execution.pipeline.application)
            and _fits(execution, query)
            and _matches(execution.trigger, subset)
        ]
        first, size = int(query.get("startIndex", 0)), int(query.get("size", 10))
        return found[first : first + size]

    def _correlated(self, id_: str | None) -> Execution | None:
        """A complete one counts as none."""
        for execution in self.executions.values():
            if id_ and execution.trigger.get("correlationId") == id_ and not execution.complete:
                return execution
        return None

    def _newest_first(self) -> list[Execution]:
        return sorted(self.executions.values(), key=lambda e: e.build_time, reverse=True)


def _fits(execution: Execution, query: Mapping[str, str]) -> bool:
    def one_of(name: str, value: Any) -> bool:
        return not query.get(name) or value in query[name].split(",")

    earliest = int(query.get("triggerTimeStartBoundary", 0))
    latest = int(query.get("triggerTimeEndBoundary", 2**63 - 1))
    return (
        one_of("triggerTypes", execution.trigger.get("type"))
        and one_of("eventId", execution.trigger.get("eventId"))
        and one_of("pipelineName", execution.pipeline.name)
        and one_of("statuses", execution.status)
        and earliest <= execution.build_time <= latest
    )


def _matches(value: Any, subset: Any) -> bool:
    """Text is equal without regard to case, or fits as a regular expression."""
    if isinstance(value, str) and isinstance(subset, str):
        return value.lower() == subset.lower() or re.fullmatch(subset, value) is not None
    if isinstance(value, dict) and isinstance(subset, dict):
        return all(_matches(value.get(key), part) for key, part in subset.items())
    return bool(value == subset)


def _with_parameters(pipeline: Pipeline, trigger: Json) -> Json:
    parameters = dict(trigger.get("parameters") or {})
    for parameter in pipeline.config.get("parameterConfig", ()):
        parameters.setdefault(parameter["name"], parameter.get("default"))
    return {"type": "manual", "user": "anonymous", **trigger, "parameters": parameters}


def _context(trigger: Json, execution: Execution | None) -> Json:
    context: Json = {"trigger": trigger, "parameters": trigger["parameters"]}
    if execution:
        context["execution"] = execution.document(expand=False)
    return context


def _enabled(execution: Execution, stage: Stage) -> bool:
    condition = stage.config.get("stageEnabled") or {}
    if condition.get("type") != "expression":
        return True
    try:
        return evaluate(condition["expression"], _context(execution.trigger, execution)) is True
    except Failed:
        return False
