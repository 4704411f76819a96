"""Which pipelines a webhook triggers, as Echo decides it.

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
    """Each with the trigger that fits."""
    for pipeline in pipelines:
        if pipeline.config.get("disabled"):
            continue
        for trigger in pipeline.config.get("triggers", ()):
            if _fits(trigger, kind, source, payload):
                yield pipeline, trigger
                break


def _fits(trigger: Json, kind: str, source: str, payload: Json) -> bool:
    if not trigger.get("enabled") or trigger.get("type") != "webhook" or kind != "webhook":
        return False
    constraints = trigger.get("payloadConstraints") or {}
    return trigger.get("source") == source and all(
        constraint_holds(key, pattern, payload) for key, pattern in constraints.items()
    )


def constraint_holds(key: str, pattern: str | None, payload: Mapping[str, Any]) -> bool:
    """The pattern is looked for anywhere in the value: `prod` is in `production`."""
    if payload.get(key) is not None:
        return pattern is None or _is_in(pattern, java_text(payload[key]))
    value: Any = payload
    for step in key.removeprefix("$.").split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, dict) or value is None or pattern is None:
        return False
    values = value if isinstance(value, list) else [java_text(value)]
    return all(isinstance(v, str) for v in values) and any(_is_in(pattern, v) for v in values)


def _is_in(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False
