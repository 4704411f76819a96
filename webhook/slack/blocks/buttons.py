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

from webhook.deployments.notice import DeploymentNotice
from webhook.slack.blocks.mrkdwn import plain, web_url


def actions(notice: DeploymentNotice) -> list[ActionsBlock]:
    """None where nothing can be done. The value of each is the deployment's id."""
    buttons = [make(notice) for name, make in _BUTTONS.items() if name in notice.actions]
    if not buttons:
        return []
    elements: list[InteractiveElement] = [*buttons, *_logs(notice)]
    return [ActionsBlock(elements=elements)]


def _cancel(notice: DeploymentNotice) -> ButtonElement:
    confirm = _confirm(
        title="Cancel this deployment?",
        text=f"Stop deploying {_what(notice)} of {_where(notice)}?"
        " What is done by then stays done.",
        confirm="Stop it",
        deny="Let it run",
        style="danger",
    )
    return _button(notice, "cancel", "Cancel", style="danger", confirm=confirm)


def _retry(notice: DeploymentNotice) -> ButtonElement:
    if not notice.production:
        return _button(notice, "retry", "Retry")
    confirm = _confirm(
        title="Deploy it again?",
        text=f"Deploy {_what(notice)} of {_where(notice)} again?",
        confirm="Deploy again",
        deny="No",
        style="primary",
    )
    return _button(notice, "retry", "Retry", confirm=confirm)


def _rollback(notice: DeploymentNotice) -> ButtonElement:
    ref, at, sha = notice.rollback_to.rpartition(" @ ")
    back_to = plain(ref, 50) + at + plain(sha, 50) or "its last success"
    confirm = _confirm(
        title="Roll back?",
        text=f"Roll back {_environment(notice)} of {plain(notice.repo, 100)} to {back_to}?",
        confirm="Roll back",
        deny="No",
        style="danger",
    )
    return _button(notice, "rollback", "Roll back", style="danger", confirm=confirm)


# In this order, which never changes under somebody's finger.
_BUTTONS = {"cancel": _cancel, "retry": _retry, "rollback": _rollback}


def _logs(notice: DeploymentNotice) -> list[ButtonElement]:
    url = web_url(notice.page_url)
    return [ButtonElement(text=_text("Logs"), action_id="logs", url=url)] if url else []


def _button(
    notice: DeploymentNotice,
    action: str,
    label: str,
    *,
    style: str | None = None,
    confirm: ConfirmObject | None = None,
) -> ButtonElement:
    return ButtonElement(
        text=_text(label),
        action_id=action,
        value=str(notice.deployment_id),
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


def _what(notice: DeploymentNotice) -> str:
    sha = plain(notice.sha[:7], 7)
    return sha if notice.ref == notice.sha else f"{plain(notice.ref, 50)} @ {sha}"


def _where(notice: DeploymentNotice) -> str:
    return f"{plain(notice.repo, 80)} to {_environment(notice)}"


def _environment(notice: DeploymentNotice) -> str:
    production = " (production)" if notice.production and notice.environment != "production" else ""
    return plain(notice.environment, 50) + production


def _text(text: str) -> PlainTextObject:
    return PlainTextObject(text=text)
