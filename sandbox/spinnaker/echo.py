"""Echo: which pipelines a webhook triggers.

Source: https://github.com/spinnaker/echo, WebhookEventHandler.java and ArtifactMatcher.java
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.spinnaker.expressions import java_text
from sandbox.spinnaker.model import Json, Pipeline


def triggered(
    pipelines: Iterable[Pipeline], kind: str, source: str, payload: Json
) -> Iterator[tuple[Pipeline, Json]]:
    """Each with the trigger that matches."""
    for pipeline in pipelines:
        if pipeline.config.get("disabled"):
            continue
        for trigger in pipeline.config.get("triggers", ()):
            if _matches(trigger, kind, source, payload):
                yield pipeline, trigger
                break


def _matches(trigger: Json, kind: str, source: str, payload: Json) -> bool:
    if not trigger.get("enabled") or trigger.get("type") != "webhook" or kind != "webhook":
        return False
    constraints = trigger.get("payloadConstraints") or {}
    return trigger.get("source") == source and all(
        constraint_holds(key, pattern, payload) for key, pattern in constraints.items()
    )


def constraint_holds(key: str, pattern: str | None, payload: Mapping[str, Any]) -> bool:
    """The pattern may match any part of the value: `prod` matches `production`."""
    if payload.get(key) is not None:
        return pattern is None or _finds(pattern, java_text(payload[key]))
    value: Any = payload
    for name in key.removeprefix("$.").split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict) or value is None or pattern is None:
        return False
    values = value if isinstance(value, list) else [java_text(value)]
    return all(isinstance(v, str) for v in values) and any(_finds(pattern, v) for v in values)


def _finds(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False
