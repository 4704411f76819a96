"""Orca: starts, runs, finds and cancels executions of pipelines.

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

from sandbox.spinnaker.expressions import ExpressionError, evaluate, render
from sandbox.spinnaker.model import Execution, Json, Pipeline, Stage
from sandbox.spinnaker.webhook_stages import Preconfigured, call, fill_in


class Rejected(Exception):
    """HTTP 400 with this message."""


@dataclass(slots=True)
class Orca:
    """A stage takes `stage_takes`, and longer if it is held or waits for a judgment."""

    stage_takes: float = 0.02
    webhook_retry_delay: float = 0.05
    webhook_timeout: float = 5
    webhooks: dict[str, Preconfigured] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    session: aiohttp.ClientSession | None = None
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def start(self, pipeline: Pipeline, trigger: Json) -> Execution:
        trigger = _with_parameters(pipeline, trigger)
        # Orca evaluates the expressions in a trigger too.
        trigger = render(trigger, _context(trigger, None))
        execution = Execution(pipeline, trigger)
        if (correlated := self._correlated(trigger.get("correlationId"))) is not None:
            return correlated
        execution.stages = [Stage(config) for config in pipeline.config.get("stages", ())]
        self.executions[execution.id] = execution
        if pipeline.config.get("disabled"):
            message = "Pipeline is disabled and cannot be started."
            execution.status, execution.canceled, execution.canceled_by = "TERMINAL", True, "system"
            execution.reason = f"ExpressionError on startup: {message}"
            raise Rejected(message)
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
        """The execution stops, and keeps that status."""
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
        if message := self.failing.get(stage.name):
            stage.fail_with(message)
        elif stage.context.get("judgmentStatus") == "stop":
            stage.fail()

    async def _call(self, webhook: Preconfigured, execution: Execution, stage: Stage) -> None:
        assert self.session is not None
        request = fill_in(webhook, stage, _context(execution.trigger, execution))
        try:
            async with asyncio.timeout(self.webhook_timeout):
                error = await call(self.session, request, stage, self.webhook_retry_delay)
        except TimeoutError:
            error = "the task timed out"
        stage.status = "SUCCEEDED"
        if error:
            stage.context.setdefault("webhook", {})["error"] = error
            stage.fail()

    def search(self, application: str, query: Mapping[str, str], subset: Json) -> list[Execution]:
        """Newest first."""
        found = [
            execution
            for execution in self._newest_first()
            if application in ("*", execution.pipeline.application)
            and _matches_query(execution, query)
            and _contains(execution.trigger, subset)
        ]
        first, size = int(query.get("startIndex", 0)), int(query.get("size", 10))
        return found[first : first + size]

    def _correlated(self, id_: str | None) -> Execution | None:
        """Only while it is not complete."""
        for execution in self.executions.values():
            if id_ and execution.trigger.get("correlationId") == id_ and not execution.complete:
                return execution
        return None

    def _newest_first(self) -> list[Execution]:
        return sorted(self.executions.values(), key=lambda e: e.build_time, reverse=True)


def _matches_query(execution: Execution, query: Mapping[str, str]) -> bool:
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


def _contains(value: Any, subset: Any) -> bool:
    """Strings are compared without case, or match as a regular expression."""
    if isinstance(value, str) and isinstance(subset, str):
        return value.lower() == subset.lower() or re.fullmatch(subset, value) is not None
    if isinstance(value, dict) and isinstance(subset, dict):
        return all(_contains(value.get(key), part) for key, part in subset.items())
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
    except ExpressionError:
        return False
