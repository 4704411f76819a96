"""Reject: with a comment that says why, for which its button opens a form.

Source: docs.slack.dev/surfaces/modals; a trigger opens a form for three seconds.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from slack_sdk.models.blocks import PlainTextObject, SectionBlock
from slack_sdk.models.views import View

from webhook.config.environments import Config
from webhook.deployments.actions import ActionRequest, Reply, request_key
from webhook.deployments.notice import Question
from webhook.gates.approval import Review
from webhook.slack.actions.forms import (
    AboutDeployment,
    metadata,
    open_form,
    text_field,
    wrong_fields,
)
from webhook.slack.actions.payloads import Parsed, ViewSubmission, read
from webhook.slack.actions.permissions import Authorized, Declined
from webhook.slack.actions.review import (
    COMMENT,
    LONGEST_COMMENT,
    Answer,
    comment_error,
    comment_of,
    named,
    waiting_deployment,
)
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import visible
from webhook.slack.blocks.mrkdwn import BlockMessage, plain
from webhook.store.actions import ActionRow
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow

FORM = "reject_form"


class Reject(Answer):
    name = "reject"
    label = "Reject"
    style = "danger"
    opens_form = True
    verb = "reject"
    usage = (
        "reject owner/repo environment comment",
        "ends the newest deployment that waits for approval there",
    )
    approves = False
    past = "rejected"
    question = Question(
        name=COMMENT, label="Why", hint="Everybody sees it", longest=LONGEST_COMMENT
    )

    def missing(self, command: str, comment: str) -> str:
        return "" if comment else f"Say why: `{command} {self.usage[0]}`"

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        if comment_of(action):
            return await super().run(services, action)
        if action.source:
            message = "Nothing was rejected: say why in the comment, which everybody sees"
            raise Declined("not_possible", message)
        return await _ask_for_comment(services, action)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        opened = action.outcome == "done" and not action.inputs.get(COMMENT)
        return None if opened else await super().reply(services, action)

    def done(self, action: ActionRow) -> str:
        return f"You have rejected it, {named(action)}, which ends it"

    async def _require_counts(
        self,
        services: ActionServices,
        connection: Async,
        row: DeploymentRow,
        review: Review,
        by: Authorized,
    ) -> None:
        """One no is enough, whoever asked for it and whatever that person said before."""


async def _ask_for_comment(services: ActionServices, action: ActionRow) -> None:
    """Whether that person may answer is checked with the answer: a form must be opened at once."""
    async with services.pool.connection() as connection:
        row = await waiting_deployment(connection, action)
    view = _form(row, metadata(action, deployment=row.id))
    without = f"type it instead: /deploy reject {row.repo} {row.environment} and why"
    await open_form(services, action, view, without=without)


def parse_rejection(payload: Mapping[str, Any], config: Config, now: datetime) -> Parsed:
    """The form, filled in."""
    submission = read(ViewSubmission, payload)
    opened = AboutDeployment.of(submission.view.private_metadata)
    comment = visible(submission.view.field(COMMENT)).strip()
    if opened.is_late(now):
        return wrong_fields({COMMENT: "This form was open for too long; press Reject again"})
    if error := comment_error(comment) if comment else "Say why":
        return wrong_fields({COMMENT: error})
    who = submission.requester
    return ActionRequest(
        key=request_key("form", who.team, who.user, submission.view.id or submission.trigger_id),
        kind=Reject.name,
        requester=who,
        reply=Reply(opened.url),
        deployment_id=opened.deployment,
        inputs={COMMENT: comment},
    )


def _form(row: DeploymentRow, about: str) -> View:
    ask = Reject.question
    ref = "" if row.shown_ref == row.sha else f"{plain(row.shown_ref, 100)} @ "
    what = f"{ref}{row.sha[:7]} of {plain(row.repo, 200)} to {plain(row.environment, 200)}"
    return View(
        type="modal",
        callback_id=FORM,
        title=PlainTextObject(text="Reject this deployment"),
        submit=PlainTextObject(text="Reject"),
        close=PlainTextObject(text="Back"),
        private_metadata=about,
        blocks=[
            SectionBlock(text=PlainTextObject(text=what)),
            text_field(ask.name, ask.label, ask.hint, ask.longest, lines=True),
        ],
    )
