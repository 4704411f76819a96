"""The buttons below a deployment's message; each has a confirmation that describes its effect.

Source: docs.slack.dev/reference/block-kit, "Button element" and "Confirmation dialog object" (its
texts are plain text of at most 100, 300 and 30 characters; action_ids are unique in a block).
"""

from slack_sdk.models.blocks import (
    ActionsBlock,
    ButtonElement,
    ConfirmObject,
    InteractiveElement,
    PlainTextObject,
)

from webhook.deployments.notice import Button, Confirmation, DeploymentNotice
from webhook.slack.blocks.mrkdwn import short_url


def actions(notice: DeploymentNotice) -> list[ActionsBlock]:
    """None where nothing can be done. The value of each is the deployment's id, and behind dots the
    target's and the environment."""
    if not notice.actions:
        return []
    buttons = [_button(notice, button) for button in notice.actions]
    elements: list[InteractiveElement] = [*buttons, *_logs(notice)]
    return [ActionsBlock(elements=elements)]


def _button(notice: DeploymentNotice, button: Button) -> ButtonElement:
    return ButtonElement(
        text=_text(button.label),
        action_id=button.action,
        value=_value(notice, button),
        style=button.style,
        confirm=_confirm(button.confirmation) if button.confirmation else None,
    )


def _value(notice: DeploymentNotice, button: Button) -> str:
    if button.environment:
        return f"{notice.deployment_id}.{button.target}.{button.environment}"
    return f"{notice.deployment_id}.{button.target}".removesuffix(".0")


def _confirm(confirmation: Confirmation) -> ConfirmObject:
    return ConfirmObject(
        title=_text(confirmation.title),
        text=_text(confirmation.text),
        confirm=_text(confirmation.confirm),
        deny=_text(confirmation.deny),
        style=confirmation.style,
    )


def _logs(notice: DeploymentNotice) -> list[ButtonElement]:
    url = short_url(notice.page_url)
    return [ButtonElement(text=_text("Logs"), action_id="logs", url=url)] if url else []


def _text(text: str) -> PlainTextObject:
    return PlainTextObject(text=text)
