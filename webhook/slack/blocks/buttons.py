"""The buttons below a deployment's message; each says before it acts what will happen.

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

from webhook.slack.blocks.mrkdwn import plain, web_url
from webhook.slack.blocks.notice import Told


def actions(told: Told) -> list[ActionsBlock]:
    """None where nothing can be done. The value of each is the deployment's id."""
    buttons = [make(told) for name, make in _BUTTONS.items() if name in told.buttons]
    if not buttons:
        return []
    elements: list[InteractiveElement] = [*buttons, *_logs(told)]
    return [ActionsBlock(elements=elements)]


def _cancel(told: Told) -> ButtonElement:
    confirm = _confirm(
        title="Cancel this deployment?",
        text=f"Stop deploying {_what(told)} of {_where(told)}? What is done by then stays done.",
        confirm="Stop it",
        deny="Let it run",
        style="danger",
    )
    return _button(told, "cancel", "Cancel", style="danger", confirm=confirm)


def _retry(told: Told) -> ButtonElement:
    if not told.production:
        return _button(told, "retry", "Retry")
    confirm = _confirm(
        title="Deploy it again?",
        text=f"Deploy {_what(told)} of {_where(told)} again?",
        confirm="Deploy again",
        deny="No",
        style="primary",
    )
    return _button(told, "retry", "Retry", confirm=confirm)


def _rollback(told: Told) -> ButtonElement:
    ref, at, sha = told.rollback_to.rpartition(" @ ")
    back_to = plain(ref, 50) + at + plain(sha, 50) or "its last success"
    confirm = _confirm(
        title="Roll back?",
        text=f"Roll back {_environment(told)} of {plain(told.repo, 100)} to {back_to}?",
        confirm="Roll back",
        deny="No",
        style="danger",
    )
    return _button(told, "rollback", "Roll back", style="danger", confirm=confirm)


# In this order, which never changes under somebody's finger.
_BUTTONS = {"cancel": _cancel, "retry": _retry, "rollback": _rollback}


def _logs(told: Told) -> list[ButtonElement]:
    url = web_url(told.page_url)
    return [ButtonElement(text=_text("Logs"), action_id="logs", url=url)] if url else []


def _button(
    told: Told,
    action: str,
    label: str,
    *,
    style: str | None = None,
    confirm: ConfirmObject | None = None,
) -> ButtonElement:
    return ButtonElement(
        text=_text(label),
        action_id=action,
        value=str(told.deployment_id),
        style=style,
        confirm=confirm,
    )


def _confirm(*, title: str, text: str, confirm: str, deny: str, style: str) -> ConfirmObject:
    return ConfirmObject(
        title=_text(title),
        text=_text(text),
        confirm=_text(confirm),
        deny=_text(deny),
        style=style,
    )


def _what(told: Told) -> str:
    sha = plain(told.sha[:7], 7)
    return sha if told.ref == told.sha else f"{plain(told.ref, 50)} @ {sha}"


def _where(told: Told) -> str:
    return f"{plain(told.repo, 80)} to {_environment(told)}"


def _environment(told: Told) -> str:
    production = " (production)" if told.production and told.environment != "production" else ""
    return plain(told.environment, 50) + production


def _text(text: str) -> PlainTextObject:
    return PlainTextObject(text=text)
