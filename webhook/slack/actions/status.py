"""`/deploy status`: the newest deployment of each environment of a repository."""

from collections.abc import Sequence
from datetime import datetime

from webhook.config.environments import Config
from webhook.deployments.labels import phase_label
from webhook.slack.actions.contract import StoreAction
from webhook.slack.actions.permissions import Authorized
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import Mistyped, Typed, repo_error, require
from webhook.slack.blocks.mrkdwn import BlockMessage, escape, link
from webhook.store import deployments
from webhook.store.actions import ActionRow
from webhook.store.database import Async
from webhook.store.deployments import CurrentDeployment

# Of a repository's environments, the newest.
MOST_ENVIRONMENTS = 20


class Status(StoreAction):
    name = "status"
    audited = False
    verb = "status"
    usage = ("status owner/repo", "lists its environments and their state")

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if len(arguments) != 1:
            raise Mistyped(f"Name one repository, no more: `{command} status owner/repo`")
        require(repo_error(arguments[0]))
        return Typed(self.name, arguments[0])

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        # The reply is all; it goes by the repository that has, or had, this name.
        now = by.repository.repo
        return "" if now.lower() == action.repo.lower() else f"{action.repo} is now {now}"

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        if action.outcome != "done":
            return await super().reply(services, action)
        return BlockMessage(await _summary(services, action), [])


async def _summary(services: ActionServices, action: ActionRow) -> str:
    async with services.pool.connection() as connection:
        most = MOST_ENVIRONMENTS + 1
        found = await deployments.newest_of_repository(connection, action.repo_id, most)
    repo = escape(action.repo, 200)
    if not found:
        renamed = f"{escape(action.message, 400)}. " if action.message else ""
        return f"{renamed}The relay has seen no deployment of {repo}"
    lines = [_line(services, one) for one in found[:MOST_ENVIRONMENTS]]
    if len(found) > MOST_ENVIRONMENTS:
        lines.append("and others, which were deployed to before these")
    return f"{escape(action.message, 400) or repo}:\n" + "\n".join(lines)


def _line(services: ActionServices, one: CurrentDeployment) -> str:
    ref = "" if one.shown_ref == one.sha else f"{escape(one.shown_ref, 60)} @ "
    page = link(services.links.page(one.repo, one.deployment_id), str(one.deployment_id))
    label = phase_label(one.phase, held=one.held, started=one.started)
    about = f"{label.text}, {ref}{one.sha[:7]}, {_age(one, services.clock())} ({page})"
    return f"{label.sign} *{escape(one.environment, 60)}*: {about}"


def _age(one: CurrentDeployment, now: datetime) -> str:
    seconds = (now - one.changed_at).total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds / size)}{unit} ago"
    return "just now"
