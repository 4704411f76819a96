"""What forms have in common: how one is opened, its fields, and what it remembers until it is
filled in.

Source: docs.slack.dev/reference/views/modal-views and docs.slack.dev/reference/block-kit (an input
block, private_metadata of at most 3000 characters), and
docs.slack.dev/reference/interaction-payloads/view-interactions-payload (`response_action: errors`).
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Self

import structlog
from pydantic import Field
from slack_sdk.models.blocks import (
    InputBlock,
    PlainTextInputElement,
    PlainTextObject,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.slack.actions.payloads import Payload, Response, Text
from webhook.slack.actions.permissions import Declined
from webhook.slack.actions.services import ActionServices
from webhook.slack.client import Slack
from webhook.store import actions
from webhook.store.actions import ActionRow

log = structlog.get_logger()

# How long a form may be filled in: a little less than Slack accepts its reply.
VALID_FOR = timedelta(minutes=29)


class Metadata(Payload):
    """Where the reply goes, and when the form was requested."""

    url: Text = ""
    at: float = 0

    @classmethod
    def of(cls, metadata: str) -> Self:
        """Of what was filled in; the oldest where that is not ours."""
        try:
            return cls.model_validate_json(metadata)
        except ValueError:
            return cls()

    def is_late(self, now: datetime) -> bool:
        return now.timestamp() > self.at + VALID_FOR.total_seconds()


class AboutDeployment(Metadata):
    deployment: int = Field(default=0, ge=0, lt=2**63)


async def open_form(
    services: ActionServices, action: ActionRow, view: View, *, without: str
) -> None:
    """Open it, by which the action is done: what people do with the form is another one. Raises
    `Declined`. `without`: what to do where the form cannot be opened."""
    reply, late = action.reply, services.clock() > action.at + services.timing.form_within
    if services.slack is None or reply is None or late:
        message = f"The form could not be opened in time; {without}"
        raise Declined("too_late", message, "failed")

    async def open_view(slack: Slack) -> None:
        await slack.call(lambda: slack.client.views_open(trigger_id=reply.trigger, view=view))

    try:
        await services.slack.using(action.team, open_view)
    except (RetryAt, UnknownOutcome, Rejected) as error:
        log.warning("the form was not opened", error=str(error))
        message = f"The form could not be opened; {without}"
        raise Declined("slack_rejected", message, "failed") from error
    async with services.pool.connection() as connection:
        await actions.end(connection, action.id, "done", "", audited=False)


def metadata(action: ActionRow, **more: object) -> str:
    """What its form brings back when it is filled in (`Metadata`)."""
    url = action.reply.url if action.reply else ""
    return json.dumps({"url": url, "at": int(action.at.timestamp()), **more})


def wrong_fields(errors: Mapping[str, str]) -> Response:
    """Shown beside the fields of those names; the form stays open."""
    return Response({"response_action": "errors", "errors": dict(errors)})


def text_field(
    name: str,
    label: str,
    hint: str,
    longest: int,
    *,
    value: str = "",
    optional: bool = False,
    lines: bool = False,
) -> InputBlock:
    element = PlainTextInputElement(
        action_id=name,
        placeholder=PlainTextObject(text=hint) if hint else None,
        initial_value=value or None,
        max_length=longest,
        multiline=lines or None,
    )
    return field(name, label, element, optional=optional)


def field(
    name: str,
    label: str,
    element: PlainTextInputElement | StaticSelectElement,
    *,
    optional: bool = False,
) -> InputBlock:
    """A block with one element, of the same name."""
    return InputBlock(
        block_id=name, label=PlainTextObject(text=label), element=element, optional=optional
    )
