"""What an action is: everything about one thing that people can request, in Slack or on a page, in
one class.

A new one is a class here beside the others and a line in `ACTIONS`. Its button, what a press on it
means, who may, that it is done once, the reply and the entry in the timeline follow from that.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import psycopg

from webhook.config.environments import Config
from webhook.deployments.actions import Snapshot
from webhook.deployments.notice import Button, Confirmation, DeploymentNotice, Style
from webhook.engine.requests import add_to_timeline
from webhook.slack.actions.permissions import Authorized, Permission, authorize
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import Mistyped, Typed
from webhook.slack.blocks.mrkdwn import BlockMessage, escape, link, plain
from webhook.store import actions, deployments, timeline
from webhook.store.actions import ActionRow
from webhook.store.database import Async

_LONGEST_MESSAGE = 1500


class Action(ABC):
    """One object serves all requests, so it has no state of its own."""

    # Also the action_id of its button, and the `kind` of its rows.
    name: ClassVar[str]
    # Of its button. None without one.
    label: ClassVar[str] = ""
    style: ClassVar[Style | None] = None
    # What its requester needs in the repository on GitHub, at least.
    permission: ClassVar[Permission] = "write"
    # Of one deployment, one action of a group is done at most; "" excludes none.
    exclusive_group: ClassVar[str] = ""
    # A press on its button confirms an earlier request, and names that instead of a deployment.
    confirms: ClassVar[bool] = False
    # A press on its button names a lock instead of a deployment; its ID becomes the input "lock".
    names_lock: ClassVar[bool] = False
    # A press on its button opens a form, for which Slack gives a trigger.
    opens_form: ClassVar[bool] = False
    # The word behind /deploy by which it is requested, "" for none; and how that is typed and what
    # it does, for the help.
    verb: ClassVar[str] = ""
    usage: ClassVar[tuple[str, str]] = ("", "")
    # It is an act, which the audit keeps (webhook.store.audit says how to have more in its row);
    # False of what only shows something.
    audited: ClassVar[bool] = True
    # What needs one of Slack's forms, or a reply in Slack, is not for pages.
    on_page: ClassVar[bool] = True
    # It concerns all repositories, and names none.
    everywhere: ClassVar[bool] = False
    # As in "You have requested a retry already".
    noun: ClassVar[str] = "that"
    # How the message of a deployment that it created begins (webhook.deployments.actions).
    origin: ClassVar[str] = ""

    def offered(self, deployment: Snapshot) -> bool:
        """Whether the deployment's message has its button now."""
        return False

    def confirmation(self, notice: DeploymentNotice) -> Confirmation | None:
        """What Slack asks before it sends the press; None: nothing."""
        return None

    def button(self, notice: DeploymentNotice) -> Button:
        confirmation = self.confirmation(notice)
        return Button(
            action=self.name, label=self.label, style=self.style, confirmation=confirmation
        )

    def group(self, target: int, environment: str) -> str:
        """Its exclusive group, of a press on a button with these."""
        return self.exclusive_group

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        """What is requested by these words behind its verb. `command`: as the app calls it here.
        Raises `Mistyped`."""
        raise Mistyped(f"'{self.name}' cannot be typed")

    @abstractmethod
    async def run(self, services: ActionServices, action: ActionRow) -> None:
        """The whole way from a request to its outcome. May be killed at any line and run again.
        Raises `Declined`."""

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        """What its requester reads, made of the row alone, so that it can be sent after a crash
        too; None: nothing."""
        text = self.done(action) if action.outcome == "done" else _explanation(action)
        url = await _page(services, action)
        return BlockMessage(f"{text}. {link(url, 'Its page')}" if url else text, [])

    def done(self, action: ActionRow) -> str:
        """The reply's text after success, without a full stop; mrkdwn."""
        return _explanation(action)


class StoreAction(Action):
    """An action whose whole effect is in the relay's own store."""

    # Of what the timeline says of it (webhook.store.timeline).
    entry_state: ClassVar[str] = timeline.REQUESTED

    @abstractmethod
    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        """Do it, in the transaction that records that it is done: what fails is not done at all.
        Returns what the timeline says, "" for no entry. Raises `Declined`."""

    async def authorize(self, services: ActionServices, action: ActionRow) -> Authorized:
        """Raises `Declined` if its requester may not do it."""
        return await authorize(services, action, self.permission)

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        by = await self.authorize(services, action)
        async with services.pool.connection() as connection, connection.transaction():
            message = await self.perform(services, connection, action, by)
            ended = await actions.end(connection, action.id, "done", message, audited=self.audited)
            if not ended:
                raise psycopg.Rollback  # somebody else did it meanwhile
            if message:
                await add_to_timeline(services, connection, action, message, state=self.entry_state)


Actions = Mapping[str, Action]


def action_of(services: ActionServices, row: ActionRow) -> Action:
    found = services.actions[row.kind]
    assert isinstance(found, Action)
    return found


def commit_of(notice: DeploymentNotice) -> str:
    """Its ref and commit, as a confirmation names them."""
    sha = plain(notice.sha[:7], 7)
    return sha if notice.ref == notice.sha else f"{plain(notice.ref, 50)} @ {sha}"


def environment_of(notice: DeploymentNotice) -> str:
    production = " (production)" if notice.production and notice.environment != "production" else ""
    return plain(notice.environment, 50) + production


def target_of(notice: DeploymentNotice) -> str:
    return f"{plain(notice.repo, 80)} to {environment_of(notice)}"


def _explanation(action: ActionRow) -> str:
    return escape(action.message.rstrip(". "), _LONGEST_MESSAGE)


async def _page(services: ActionServices, action: ActionRow) -> str:
    """Of the deployment that it created, else of the one that another action created before it,
    else of the one whose button was pressed."""
    if action.created_deployment_id is not None:
        return services.links.page(action.repo, action.created_deployment_id)
    if action.deployment_id is None:
        return ""
    async with services.pool.connection() as connection:
        row = await deployments.read(connection, action.deployment_id)
        before = await actions.excluded_by(connection, action)
    if row is None:
        return ""
    created = before.created_deployment_id if before and action.outcome == "refused" else None
    return services.links.page(row.repo, created or row.id)
