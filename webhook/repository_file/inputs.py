"""`dynamic_payload` of a repository's file.

Gitploy reads it with little care: what it does not act on is a warning here, and left out.

Source: gitploy-io/gitploy, model/extent/env.go (Input, ValidateDynamicPayload).
"""

from typing import Any, Literal, cast, get_args

import yaml

from webhook.config.creation import DynamicPayload, Input
from webhook.config.source import Path
from webhook.repository_file import keys
from webhook.repository_file.document import Document
from webhook.repository_file.fields import Fields

_TYPES = get_args(Input.model_fields["type"].annotation)


def read_dynamic_payload(env: Fields) -> DynamicPayload | None:
    entry = env.given("dynamic_payload")
    if entry is None:
        return None
    fields = Fields(env.document, entry.value, entry.path, keys.DYNAMIC_PAYLOAD)
    enabled = bool(fields.boolean("enabled"))
    inputs = fields.given("inputs")
    if inputs is None or not enabled:
        if inputs is not None:
            message = "are not asked for, as enabled is not true; write enabled: true"
            fields.warn("inputs", message, quoted=False)
        return DynamicPayload(enabled=enabled)
    found = {
        name: one
        for name, inner in env.document.mapping(inputs.value, inputs.path).items()
        if (one := _input(env.document, inner.value, inner.path)) is not None
    }
    return DynamicPayload(enabled=True, inputs=found)


def _input(document: Document, node: yaml.Node, path: Path) -> Input | None:
    fields = Fields(document, node, path, keys.INPUT)
    kind = fields.text("type")
    options = fields.texts("options") or ()
    if kind not in _TYPES:
        known = ", ".join(_TYPES)
        message = f"is not a type; write one of {known}" if kind else f"lacks type: one of {known}"
        if kind:
            fields.error("type", message)
        else:
            document.error(node, path, message)
        return None
    if kind == "select" and not options:
        document.error(node, path, "is a select without options; write options: [a, b]")
        return None
    if options and kind != "select":
        fields.warn("options", f"do nothing: they are of a select, not of a {kind}", quoted=False)
        options = ()
    found = Input(
        type=cast("Literal['select', 'number', 'string', 'boolean']", kind),
        required=bool(fields.boolean("required")),
        description=fields.text("description") or "",
        options=options,
    )
    return _with_default(found, fields)


def _with_default(found: Input, fields: Fields) -> Input:
    default: Any = fields.plain("default")
    if found.type in ("select", "string") and default is not None:
        # Of true, Gitploy's page has the text too.
        default = fields.text("default")
    if default is None:
        return found
    if not found.accepts(default):
        fields.warn("default", f"is left out: it is not {found.expected}")
        return found
    return found.model_copy(update={"default": default})
