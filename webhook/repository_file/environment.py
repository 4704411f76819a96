"""One of `envs` in a repository's file.

Source: gitploy-io/website, its reference of deploy.yml; gitploy-io/gitploy, model/extent/env.go.
"""

from datetime import timedelta

import yaml

from webhook.config.creation import Payload
from webhook.config.patterns import error_of, full_ref_error, warning_of
from webhook.config.source import Path
from webhook.gates.freeze import FrozenWindow
from webhook.repository_file import keys
from webhook.repository_file.approvers import read_approval, read_review
from webhook.repository_file.document import Document
from webhook.repository_file.fields import Fields
from webhook.repository_file.inputs import read_dynamic_payload
from webhook.repository_file.model import FileEnvironment
from webhook.repository_file.variables import NOT_IMPLEMENTED
from webhook.repository_file.windows import (
    MOST_WINDOWS,
    cron_error,
    duration_of,
    location_error,
    window,
)


def read_environment(
    document: Document, node: yaml.Node, path: Path, approvers: tuple[str, ...]
) -> FileEnvironment:
    """`approvers`: those at the top of the file. Without a name, it has an error."""
    fields = Fields(document, node, path, keys.ENVIRONMENT, also={"approval"})
    lines = {key: fields.line(key) for key in fields.entries}
    enabled, review = read_review(fields)
    approval = read_approval(fields, approvers, review=review is not None)
    return FileEnvironment(
        name=_name(fields),
        task=fields.text("task") or None,
        description=fields.text("description"),
        auto_merge=fields.boolean("auto_merge"),
        required_contexts=fields.texts("required_contexts"),
        payload=_payload(fields),
        dynamic_payload=read_dynamic_payload(fields),
        production_environment=fields.boolean("production_environment"),
        deployable_ref=_pattern(fields, "deployable_ref"),
        auto_deploy_on=_pattern(fields, "auto_deploy_on"),
        serialization=fields.boolean("serialization"),
        review_enabled=enabled,
        approvers=tuple(one for one in (review, approval) if one is not None),
        frozen_windows=tuple(_windows(fields, lines)),
        line=document.position(node)[0],
        lines=lines,
    )


def _name(fields: Fields) -> str:
    name = fields.text("name")
    if not name:
        message = "has no name; write name: production, as GitHub calls the environment"
        fields.document.error(fields.node, fields.path, message)
    elif set("*?") & set(name):
        fields.warn("name", "is no pattern: Gitploy has none, so that it is just this name")
    elif NOT_IMPLEMENTED in name:
        return ""  # whose it is, nobody knows
    return name or ""


def _payload(fields: Fields) -> Payload | None:
    value = fields.plain("payload")
    if isinstance(value, dict | str | None):
        return value
    message = "must have keys with values, or be text: GitHub takes no other payload"
    fields.error("payload", message, quoted=False)
    return None


def _pattern(fields: Fields, key: str) -> str | None:
    pattern = fields.text(key)
    if pattern is None:
        return None
    if error := error_of(pattern):
        fields.error(key, error, quoted=bool(pattern))
        return None
    never = full_ref_error(pattern) if key == "auto_deploy_on" else ""
    if warning := never or warning_of(pattern):
        fields.warn(key, warning)
    return pattern


def _windows(fields: Fields, lines: dict[str, int]) -> list[FrozenWindow]:
    """Adds the line of each to `lines`."""
    entry = fields.given("frozen_windows")
    nodes = fields.document.items(entry.value, entry.path) if entry else []
    if entry and len(nodes) > MOST_WINDOWS:
        message = f"are more than {MOST_WINDOWS}; write fewer"
        fields.error("frozen_windows", message, quoted=False)
        return []
    found: list[FrozenWindow] = []
    for index, node in enumerate(nodes):
        path: Path = (*fields.path, "frozen_windows", index)
        inner = Fields(fields.document, node, path, keys.WINDOW)
        if inner.is_mapping and (one := _window(inner)) is not None:
            lines[f"frozen_windows[{len(found)}]"] = fields.document.position(node)[0]
            found.append(one)
    return found


def _window(fields: Fields) -> FrozenWindow | None:
    before = len(fields.document.errors)
    start, location = _needed(fields, "start", '"0 18 * * FRI"'), fields.text("location") or ""
    if start and (error := cron_error(start)):
        fields.error("start", error)
    if error := location_error(location):
        fields.error("location", error)
    duration = _duration(fields)
    if len(fields.document.errors) > before:
        return None
    if duration <= timedelta():
        fields.warn("duration", "is no time, so that this window never holds; write 30m or 62h")
        return None
    return window(" ".join(start.split()), duration, location)


def _duration(fields: Fields) -> timedelta:
    text = _needed(fields, "duration", "62h")
    try:
        return duration_of(text) if text else timedelta()
    except ValueError as error:
        fields.error("duration", str(error))
        return timedelta()


def _needed(fields: Fields, key: str, example: str) -> str:
    text = fields.text(key)
    if not text and fields.given(key) is None:
        fields.document.error(fields.node, fields.path, f"lacks {key}; write {key}: {example}")
    return text or ""
