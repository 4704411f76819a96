"""What people have filled in: each form by its callback_id, with a line here."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from webhook.config.environments import Config
from webhook.slack.actions import modal, override, reject
from webhook.slack.actions.payloads import Parsed, Response

Parse = Callable[[Mapping[str, Any], Config, datetime], Parsed]

FORMS: Mapping[str, Parse] = {
    modal.FORM: modal.parse_submission,
    reject.FORM: reject.parse_rejection,
    override.FORM: override.parse_override,
}


def parse_form(payload: Mapping[str, Any], config: Config, now: datetime) -> Parsed:
    """Other forms of the same app may have any shape."""
    view = payload.get("view")
    callback = view.get("callback_id") if isinstance(view, dict) else None
    parse = FORMS.get(callback) if isinstance(callback, str) else None
    return Response() if parse is None else parse(payload, config, now)
