"""The form of the slash command, as Slack shows it.

Source: docs.slack.dev/reference/views/modal-views and docs.slack.dev/reference/block-kit (an input
block, a static select of at most 100 options, private_metadata of at most 3000 characters).
Errors: those of `Slack.call`, where Slack does not open it.
"""

import json
from collections.abc import Sequence

from slack_sdk.models.blocks import (
    InputBlock,
    Option,
    PlainTextInputElement,
    PlainTextObject,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from webhook.slack.actions.command import CHOSEN, FORM, LONGEST_ENVIRONMENT, REF, REPO, TYPED
from webhook.slack.blocks.mrkdwn import plain
from webhook.slack.client import Slack

LONGEST_OPTION = 75
_LONGEST_REPO = 201
_LONGEST_REF = 255


async def open_form(slack: Slack, trigger: str, view: View) -> None:
    await slack.call(lambda: slack.client.views_open(trigger_id=trigger, view=view))


def deploy_form(repo: str, names: Sequence[str], *, typed: bool, url: str, at: int) -> View:
    """`names` can be chosen; `typed`: others can be typed. `url` is where the answer goes,
    which Slack gave out `at` (seconds since 1970)."""
    blocks = [_text(REPO, "Repository", "owner/repo", _LONGEST_REPO, value=repo)]
    if names:
        blocks.append(_choice(names, optional=typed))
    if typed or not names:
        label = "Or another environment" if names else "Environment"
        hint = "One whose name follows a pattern of deploy.yml" if names else ""
        blocks.append(
            _text(TYPED, label, hint, LONGEST_ENVIRONMENT, optional=bool(names)),
        )
    hint = "A branch, tag or commit; the default branch if empty"
    blocks.append(_text(REF, "Ref", hint, _LONGEST_REF, optional=True))
    return View(
        type="modal",
        callback_id=FORM,
        title=PlainTextObject(text="Deploy"),
        submit=PlainTextObject(text="Deploy"),
        close=PlainTextObject(text="Cancel"),
        private_metadata=json.dumps({"url": url, "at": at}),
        blocks=blocks,
    )


def _text(
    name: str, label: str, hint: str, longest: int, *, value: str = "", optional: bool = False
) -> InputBlock:
    element = PlainTextInputElement(
        action_id=name,
        placeholder=PlainTextObject(text=hint) if hint else None,
        initial_value=value or None,
        max_length=longest,
    )
    return _input(name, label, element, optional=optional)


def _choice(names: Sequence[str], *, optional: bool) -> InputBlock:
    options = [
        Option(text=PlainTextObject(text=plain(name, LONGEST_OPTION)), value=name) for name in names
    ]
    element = StaticSelectElement(
        action_id=CHOSEN,
        placeholder=PlainTextObject(text="Choose"),
        options=options,
    )
    return _input(CHOSEN, "Environment", element, optional=optional)


def _input(
    name: str,
    label: str,
    element: PlainTextInputElement | StaticSelectElement,
    *,
    optional: bool,
) -> InputBlock:
    return InputBlock(
        block_id=name, label=PlainTextObject(text=label), element=element, optional=optional
    )
