"""Notices of a deployment, and the text that a person reads in Slack."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.slack import model, screen
from webhook.deployments.changelog import Changelog, Commit
from webhook.deployments.notice import DeploymentNotice, NoticeApproval, NoticeEntry
from webhook.deployments.overrides import Override
from webhook.deployments.phases import Phase
from webhook.slack.actions import ACTIONS
from webhook.slack.blocks.mrkdwn import BlockMessage

GITHUB = "https://github.com/acme/site"
PAGE = "https://relay.acme.io/deployments/acme/site/7?key=secret"
SHA = "4f2c9d1e8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d"
BEFORE = "9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"
BEGIN = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)

RUNNING = DeploymentNotice(
    deployment_id=7,
    repo="acme/site",
    repo_url=GITHUB,
    environment="production",
    production=True,
    ref="v1.3",
    sha=SHA,
    task="deploy",
    requested_by="octocat",
    phase=Phase.IN_PROGRESS,
    changed_at=BEGIN,
    description="",
    held=False,
    started=True,
    recovered=False,
    seconds=None,
    page_url=PAGE,
    run_url="https://drone.acme.io/acme/site/41",
    tool="Drone CI",
    environment_url="",
    changelog=None,
    previous_sha=BEFORE,
    origin="",
    origin_url="",
    actions=(),
    rollback_to="v1.2 @ 9a8b7c6",
)


APPROVALS = (
    NoticeApproval(login="ada", approved=True, at=BEGIN, comment=""),
    NoticeApproval(
        login="bob_", approved=False, at=BEGIN + timedelta(minutes=2), comment="*No* <!here>"
    ),
)
OVERRIDE = Override(
    gates=("lock", "approval"),
    login="ada_",
    reason="*Down* <!here>",
    at=BEGIN,
    expires_at=BEGIN + timedelta(minutes=30),
)


def a_changelog(total: int, *titles: str, behind: int = 0) -> Changelog:
    """Of these, and of so many more."""
    commits = (
        Commit(f"{number}bc1234{SHA[7:]}", title, "hubot", f"{GITHUB}/commit/{number}bc1234")
        for number, title in enumerate(titles, 1)
    )
    return Changelog(BEFORE, total, behind, tuple(commits))


def new_entry(state: str, reported: str = "", **changes: Any) -> NoticeEntry:
    """`after`: seconds since the beginning."""
    at = BEGIN + timedelta(seconds=changes.pop("after", 0))
    values = {"actor": "relay", "log_url": "", "held": False, **changes}
    return NoticeEntry(at=at, state=state, description=reported, **values)


def documents(message: BlockMessage) -> list[dict[str, Any]]:
    return [block.to_dict() for block in message.blocks]


def read(message: BlockMessage) -> list[str]:
    """Line by line."""
    shown = model.Message("1.0", "U0RELAY", message.text, documents(message))
    return screen.render(shown).splitlines()


def mrkdwn_of(message: BlockMessage) -> list[dict[str, Any]]:
    return [text for text in _texts(documents(message)) if text["type"] == "mrkdwn"]


def plain_of(message: BlockMessage) -> list[dict[str, Any]]:
    return [text for text in _texts(documents(message)) if text["type"] == "plain_text"]


def buttons_of(message: BlockMessage) -> dict[str, dict[str, Any]]:
    """By their action."""
    blocks = [block for block in documents(message) if block["type"] == "actions"]
    return {button["action_id"]: button for block in blocks for button in block["elements"]}


def _texts(value: Any) -> Sequence[dict[str, Any]]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if value.get("type") in ("mrkdwn", "plain_text") else []
    return [*own, *(text for item in value.values() for text in _texts(item))]


def offering(notice: DeploymentNotice, *names: str) -> DeploymentNotice:
    """With the buttons of these actions."""
    buttons = (action.button(notice) for name, action in ACTIONS.items() if name in names)
    return replace(notice, actions=tuple(buttons))
