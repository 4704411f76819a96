"""The data of the stand-in for Spinnaker: pipelines and their executions.

Source: https://github.com/spinnaker/orca, PipelineExecution.java and CompleteExecutionHandler.kt
Units: milliseconds since 1970 in documents.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

Json = dict[str, Any]
COMPLETE = {"SUCCEEDED", "FAILED_CONTINUE", "TERMINAL", "CANCELED", "STOPPED", "SKIPPED"}


def milliseconds() -> int:
    return int(time.time() * 1000)


def ulid() -> str:
    return f"01{uuid4().hex[:24].upper()}"


@dataclass(slots=True)
class Pipeline:
    """`config` is the JSON of a pipeline, as in Deck, with `application` and `name`."""

    config: Json
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def application(self) -> str:
        return str(self.config["application"])

    @property
    def name(self) -> str:
        return str(self.config["name"])


@dataclass(slots=True)
class Stage:
    config: Json
    id: str = field(default_factory=ulid)
    status: str = "NOT_STARTED"
    context: Json = field(default_factory=dict)
    judged: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return str(self.config.get("name", self.type))

    @property
    def type(self) -> str:
        return str(self.config["type"])

    def fail(self) -> None:
        """End as configured under "If stage fails" in Deck."""
        if self.config.get("continuePipeline"):
            self.status = "FAILED_CONTINUE"
        else:
            self.status = "TERMINAL" if self.config.get("failPipeline", True) else "STOPPED"

    def fail_with(self, message: str) -> None:
        details = {"error": "Unexpected Task Failure", "errors": [message]}
        self.context["exception"] = {"exceptionType": "RuntimeException", "details": details}
        self.fail()

    def document(self, expand: bool) -> Json:
        return {
            "id": self.id,
            "refId": str(self.config.get("refId", "1")),
            "type": self.type,
            "name": self.name,
            "status": self.status,
            "context": self.context if expand else {},
            "outputs": {},
            "tasks": [],
        }


@dataclass(slots=True)
class Execution:
    pipeline: Pipeline
    trigger: Json
    id: str = field(default_factory=ulid)
    status: str = "NOT_STARTED"
    build_time: int = field(default_factory=milliseconds)
    stages: list[Stage] = field(default_factory=list)
    canceled: bool = False
    canceled_by: str | None = None
    reason: str | None = None

    @property
    def complete(self) -> bool:
        return self.status in COMPLETE

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def end(self) -> None:
        """Set the status that results from those of the stages."""
        statuses = {stage.status for stage in self.stages}
        for status in ("TERMINAL", "CANCELED"):
            if status in statuses:
                self.status = status
                return
        self.status = "SUCCEEDED"

    def document(self, expand: bool = True) -> Json:
        return {
            "type": "PIPELINE",
            "id": self.id,
            "application": self.pipeline.application,
            "name": self.pipeline.name,
            "pipelineConfigId": self.pipeline.id,
            "status": self.status,
            "buildTime": self.build_time,
            "canceled": self.canceled,
            "canceledBy": self.canceled_by,
            "cancellationReason": self.reason,
            "trigger": self.trigger,
            "stages": [stage.document(expand) for stage in self.stages],
        }
