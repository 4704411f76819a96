"""A delivery from a file: its payload, as GitHub shows it under "Recent Deliveries", or a document
that has the payload in it: of `deliveries show --json`, or of GitHub's API.

Source: docs.github.com/rest/apps/webhooks, "Get a delivery for an app webhook".
Errors: `UserError`, with the remedy.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webhook.engine.simulate import Subject
from webhook.errors import UserError
from webhook.github.event_names import guessed_event
from webhook.values import shown

STDIN = "-"
_LARGEST = 25 * 1024 * 1024
_HEADER = "x-github-event"


@dataclass(frozen=True, slots=True)
class Payload:
    """`note`: what is to be said of it."""

    subject: Subject
    note: str = ""


def is_file(text: str) -> bool:
    """Rather than a GUID."""
    return text == STDIN or text.endswith(".json") or "/" in text or Path(text).is_file()


def read_payload(path: str, event: str) -> Payload:
    """`event`: as it was given, "" if it was not."""
    document = _document(path, _text(path))
    payload, said = _parts(document)
    body = json.dumps(payload).encode()  # an editor's file may begin with a mark of its encoding
    guessed = guessed_event(payload)
    if event:
        subject = Subject(name=path, event=event, body=body)
        differs = guessed and guessed != event
        hint = f"Its keys are those of a '{guessed}' event; --event {guessed} reads it as that"
        return Payload(subject, hint if differs else "")
    if said:
        return Payload(Subject(name=path, event=said, body=body))
    if not guessed:
        raise UserError(
            f"{shown(path)} does not say which event it is of, and its keys are of none that the"
            " relay knows; add --event, with what GitHub shows as X-GitHub-Event"
        )
    note = f"Taken for a '{guessed}' event, by its keys; --event names another"
    return Payload(Subject(name=path, event=guessed, body=body), note)


def _text(path: str) -> bytes:
    try:
        text = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        reason = f"{shown(path)} cannot be read: {error.strerror}"
        raise UserError(f"{reason}; write a file with a payload, or a GUID") from None
    if len(text) > _LARGEST:
        raise UserError(f"{shown(path)} has more than 25 MB, which is more than GitHub sends")
    return text


def _document(path: str, text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, json.JSONDecodeError):
            where = f" (line {error.lineno}, column {error.colno})"
        copy = "copy the whole Payload of the delivery, as GitHub shows it under Recent Deliveries"
        raise UserError(f"{shown(path)} is not JSON{where}; {copy}") from None
    if not isinstance(document, dict):
        raise UserError(f"{shown(path)} is JSON, but no object; a payload begins with {{")
    return document


def _parts(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The payload, and the event that stands beside it."""
    request = document.get("request")
    for around, key in ((document, "body"), (request, "payload")):
        if not isinstance(around, dict) or not isinstance(around.get(key), dict):
            continue
        event = document.get("event") or _header(around.get("headers"))
        if isinstance(event, str) and event:
            return around[key], event
    return document, ""


def _header(headers: Any) -> str:
    found = headers.items() if isinstance(headers, Mapping) else ()
    return next((str(value) for name, value in found if str(name).lower() == _HEADER), "")
