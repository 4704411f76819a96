"""Orca's preconfigured webhook stages: it reads orca-local.yml, fills in the requests, sends them.

Unlike this one, the real Orca does not call addresses such as 127.0.0.1, and ignores unknown keys.

Source: https://spinnaker.io/docs/guides/operator/custom-webhook-stages
    https://github.com/spinnaker/orca, WebhookService.java and WebhookResponseProcessor.java
Units: seconds.
Errors: ValueError for a file that Orca does not accept.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from sandbox.spinnaker.expressions import check, render, with_defaults
from sandbox.spinnaker.model import Json, Stage

# RestTemplate's content type of a string, unless a header sets another.
PLAIN = "text/plain;charset=ISO-8859-1"
_KEYS = {
    "label",
    "type",
    "enabled",
    "description",
    "method",
    "url",
    "customHeaders",
    "sensitiveHeaders",
    "failFastStatusCodes",
    "payload",
    "parameters",
}
# Of StageData in WebhookStage.java: other 5xx are tried again.
FAIL_FAST = (504,)
_PARAMETER_KEYS = {"label", "name", "type", "description", "defaultValue", "order"}


@dataclass(frozen=True, slots=True)
class Preconfigured:
    """One entry of `webhook.preconfigured`."""

    type: str
    label: str
    url: str
    method: str = "POST"
    description: str = ""
    payload: str = ""
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    sensitive_headers: Mapping[str, list[str]] = field(default_factory=dict)
    fail_fast: tuple[int, ...] = FAIL_FAST
    parameters: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """The request of one stage."""

    method: str
    url: str
    payload: str
    headers: list[tuple[str, str]]
    fail_fast: tuple[int, ...]


def load(path: Path) -> dict[str, Preconfigured]:
    """Type -> stage."""
    entries = yaml.safe_load(path.read_text())["webhook"]["preconfigured"]
    return {entry["type"]: _read(entry) for entry in entries if entry.get("enabled", True)}


def _read(entry: Json) -> Preconfigured:
    _check_keys(entry, _KEYS)
    entry = _with_spring_defaults(entry)
    headers = entry.get("customHeaders", {})
    if not all(isinstance(values, list) for values in headers.values()):
        raise ValueError("customHeaders have lists of values")
    for parameter in entry.get("parameters", ()):
        _check_keys(parameter, _PARAMETER_KEYS)
        if parameter["type"] != "string":
            raise ValueError("a parameter's type is string")
    return Preconfigured(
        type=entry["type"],
        label=entry["label"],
        url=entry["url"],
        method=entry.get("method", "POST"),
        description=entry.get("description", ""),
        payload=entry.get("payload", ""),
        headers=headers,
        sensitive_headers=entry.get("sensitiveHeaders", {}),
        fail_fast=tuple(entry.get("failFastStatusCodes", FAIL_FAST)),
        parameters=tuple(entry.get("parameters", ())),
    )


def _check_keys(entry: Json, keys: set[str]) -> None:
    if unknown := entry.keys() - keys:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")


def _with_spring_defaults(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_spring_defaults(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_spring_defaults(inner) for inner in value]
    if isinstance(value, str):
        value = with_defaults(value)
        check(value)
    return value


def fill_in(webhook: Preconfigured, stage: Stage, context: Mapping[str, Any]) -> Request:
    values = {**context, "parameterValues": stage.config.get("parameterValues", {})}
    url, payload = (str(render(text, values)) for text in (webhook.url, webhook.payload))
    custom = render(dict(webhook.headers), values)
    stage.context |= {"url": url, "payload": payload, "customHeaders": custom}
    # Expressions in sensitiveHeaders are not evaluated: they never become part of the stage.
    every = {**custom, **webhook.sensitive_headers}
    headers = [(name, str(value)) for name, repeated in every.items() for value in repeated]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", PLAIN))
    return Request(webhook.method, url, payload, headers, webhook.fail_fast)


async def call(
    session: aiohttp.ClientSession, request: Request, stage: Stage, retry_delay: float
) -> str:
    """Retry until there is a final response; returns the error, or an empty string."""
    if "${" in request.url:
        return f"URI not valid: {request.url}"
    while True:
        try:
            async with session.request(
                request.method,
                request.url,
                data=request.payload.encode(),
                headers=request.headers,
            ) as response:
                status, body = response.status, await response.text()
        except aiohttp.ClientError as error:
            return f"An exception occurred performing a request to {request.url}: {error}"
        stage.context["webhook"] = {"statusCodeValue": status, "body": body}
        if status < 400:
            return ""
        if status in request.fail_fast or (status < 500 and status != 429):
            return f"Error submitting webhook to {request.url} with status code {status}."
        await asyncio.sleep(retry_delay)
