"""The form of the slash command: how Slack shows it, and what it requests once it is filled in.

Source: docs.slack.dev/reference/views/modal-views, docs.slack.dev/reference/block-kit (an input
block, a static select of at most 100 options, private_metadata of at most 3000 characters) and
docs.slack.dev/reference/interaction-payloads/view-interactions-payload (`response_action: errors`).
Errors: `UserError`. What was filled in wrongly is shown beside its field.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from slack_sdk.models.blocks import (
    InputBlock,
    Option,
    PlainTextObject,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from webhook.config.creation import DynamicPayload
from webhook.config.environments import Config
from webhook.deployments.actions import ActionRequest, Reply, request_key
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.gates.repository_file import tightens
from webhook.slack.actions.command import OPEN_FORM
from webhook.slack.actions.contract import Action
from webhook.slack.actions.deploy import Deploy
from webhook.slack.actions.forms import Metadata, field, open_form, text_field, wrong_fields
from webhook.slack.actions.payloads import Parsed, ViewSubmission, read
from webhook.slack.actions.payloads import View as Submitted
from webhook.slack.actions.permissions import Declined, authorize
from webhook.slack.actions.policy import inputs_of
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import (
    LONGEST_ENVIRONMENT,
    ROOM_IN_FORM,
    environment_error,
    input_error,
    ref_error,
    repo_error,
    spelling,
    visible,
)
from webhook.slack.blocks.mrkdwn import BlockMessage, plain
from webhook.store.actions import ActionRow

log = structlog.get_logger()

# The blocks of the form; each holds one element, of the same name.
FORM = "deploy_form"
REPO, CHOSEN, TYPED, REF = "repository", "environment", "other_environment", "ref"
INPUTS = "inputs"
# Slack's limits of a menu.
MOST_CHOICES, LONGEST_CHOICE = 100, 150
LONGEST_OPTION = 75
_LONGEST_REPO = 201
_LONGEST_REF = 255
_LONGEST_INPUTS = 3000
# Of a hint, which is 2000 characters at most.
_MOST_LINES, _LONGEST_LINE = 8, 240
_WITHOUT = "type all of it instead: /deploy owner/repo environment [ref]"


class OpenForm(Action):
    """Anybody may open it; permissions are checked at its submission."""

    name = OPEN_FORM
    audited = False
    on_page = False

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        names, typed = choices(services.config)
        takes = _takes_inputs(services.config)
        view = deploy_form(
            action.repo,
            names,
            typed=typed,
            inputs=takes,
            described=await _described_inputs(services, action, names) if takes else "",
            url=action.reply.url if action.reply else "",
            at=int(action.at.timestamp()),
        )
        await open_form(services, action, view, without=_WITHOUT)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        return None if action.outcome == "done" else await super().reply(services, action)


def parse_submission(payload: Mapping[str, Any], config: Config, now: datetime) -> Parsed:
    """The form, filled in. Its reply goes where that of the slash command would have gone."""
    submission = read(ViewSubmission, payload)
    view = submission.view
    repo, typed, chosen, ref = (_field(view, name) for name in (REPO, TYPED, CHOSEN, REF))
    opened = Metadata.of(view.private_metadata)
    if opened.is_late(now):
        return wrong_fields({REPO: "This form was open for too long; open it again: type /deploy"})
    inputs, errors = _inputs(view)
    errors |= _errors_in(config, repo, chosen, typed, ref)
    if not errors and (error := input_error(config, repo, typed or chosen, inputs)):
        errors[INPUTS if INPUTS in view.state.values else REF] = error
    if errors:
        return wrong_fields(errors)
    who = submission.requester
    return ActionRequest(
        key=request_key("form", who.team, who.user, view.id or submission.trigger_id),
        kind=Deploy.name,
        requester=who,
        reply=Reply(opened.url),
        repo=repo,
        environment=spelling(config, repo, typed or chosen),
        ref=ref,
        inputs=inputs,
    )


def _inputs(view: Submitted) -> tuple[dict[str, str], dict[str, str]]:
    """One in each line, and errors."""
    lines = [line.strip() for line in visible(view.field(INPUTS)).splitlines() if line.strip()]
    pairs = [line.partition("=") for line in lines]
    if not all(equals and name.strip() for name, equals, _ in pairs):
        return {}, {INPUTS: "Write name=value in each line"}
    return {name.strip(): value.strip() for name, _, value in pairs}, {}


def _takes_inputs(config: Config) -> bool:
    return any(env.dynamic_payload.enabled or tightens(env) for env in config.envs)


async def _described_inputs(
    services: ActionServices, action: ActionRow, names: Sequence[str]
) -> str:
    """Those of a repository that was typed, for whom it lets in, as far as that is known in time:
    Slack does not wait."""
    if not action.repo:
        return ""
    try:
        async with asyncio.timeout(services.timing.form_details_within.total_seconds()):
            by = await authorize(services, action, Deploy.permission)
            found = await inputs_of(services, by.repository, names)
    except (TimeoutError, Declined, RetryAt, UnknownOutcome, Rejected) as error:
        log.info("a form without the inputs", error=str(error))
        return ""
    lines = [_described(name, payload) for name, payload in found.items()]
    return "\n".join(plain(line, _LONGEST_LINE) for line in lines[:_MOST_LINES])


def _described(name: str, payload: DynamicPayload) -> str:
    inputs = [
        f"{key} ({one.expected}{', needed' if one.required and one.default is None else ''})"
        for key, one in payload.inputs.items()
    ]
    return f"{name}: {'; '.join(inputs)}"


def _field(view: Submitted, name: str) -> str:
    text = view.field(name)
    return text if name == CHOSEN else visible(text).strip()


def _errors_in(config: Config, repo: str, chosen: str, typed: str, ref: str) -> dict[str, str]:
    errors: dict[str, str] = {}
    if error := repo_error(repo):
        errors[REPO] = error
    if typed and chosen:
        errors[TYPED] = "Choose one above or type one here, not both"
    elif not (typed or chosen):
        errors[CHOSEN if choices(config)[0] else TYPED] = "Choose an environment"
    elif not errors and (error := environment_error(config, repo, typed or chosen, ROOM_IN_FORM)):
        errors[TYPED if typed else CHOSEN] = error
    if ref and (error := ref_error(ref)):
        errors[REF] = error
    return errors


def choices(config: Config) -> tuple[list[str], bool]:
    """The environments that a menu can show, and whether others can be typed."""
    names = list(dict.fromkeys(env.name for env in config.envs))
    plain_names = [n for n in names if not set("*?[") & set(n) and len(n) <= LONGEST_CHOICE]
    shown = plain_names[:MOST_CHOICES]
    return shown, len(shown) < len(names)


def deploy_form(
    repo: str,
    names: Sequence[str],
    *,
    typed: bool,
    inputs: bool = False,
    described: str = "",
    url: str,
    at: int,
) -> View:
    """`names` can be chosen; `typed`: others can be typed; `inputs`: some environment takes any,
    `described`: which. `url` is where the reply goes, which Slack gave out `at` (seconds since
    1970)."""
    blocks = [text_field(REPO, "Repository", "owner/repo", _LONGEST_REPO, value=repo)]
    if names:
        blocks.append(_choice(names, optional=typed))
    if typed or not names:
        label = "Or another environment" if names else "Environment"
        hint = "One whose name follows a pattern of deploy.yml" if names else ""
        blocks.append(
            text_field(TYPED, label, hint, LONGEST_ENVIRONMENT, optional=bool(names)),
        )
    hint = "A branch, tag or commit; the default branch if empty"
    blocks.append(text_field(REF, "Ref", hint, _LONGEST_REF, optional=True))
    if inputs:
        hint = "name=value, one in each line"
        given = text_field(INPUTS, "Inputs", hint, _LONGEST_INPUTS, lines=True, optional=True)
        given.hint = PlainTextObject(text=described) if described else None
        blocks.append(given)
    return View(
        type="modal",
        callback_id=FORM,
        title=PlainTextObject(text="Deploy"),
        submit=PlainTextObject(text="Deploy"),
        close=PlainTextObject(text="Cancel"),
        private_metadata=json.dumps({"url": url, "at": at}),
        blocks=blocks,
    )


def _choice(names: Sequence[str], *, optional: bool) -> InputBlock:
    options = [
        Option(text=PlainTextObject(text=plain(name, LONGEST_OPTION)), value=name) for name in names
    ]
    element = StaticSelectElement(
        action_id=CHOSEN,
        placeholder=PlainTextObject(text="Choose"),
        options=options,
    )
    return field(CHOSEN, "Environment", element, optional=optional)
