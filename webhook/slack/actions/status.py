"""`/deploy status`: the newest deployment of each environment of a repository, what keeps it from
starting, and the queue where there is one."""

from collections.abc import Sequence
from datetime import datetime

from webhook.config.environments import Config
from webhook.deployments.labels import phase_label
from webhook.deployments.locks import Lock
from webhook.deployments.phases import Phase
from webhook.deployments.queue import Queued, others
from webhook.slack.actions.contract import StoreAction
from webhook.slack.actions.list_locks import lock_lines
from webhook.slack.actions.permissions import Authorized
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import Mistyped, Typed, repo_error, require
from webhook.slack.blocks.blockers import blocker_lines
from webhook.slack.blocks.mrkdwn import BlockMessage, escape, link
from webhook.store import automatic, environments, locks, queue
from webhook.store.actions import ActionRow
from webhook.store.automatic import AutomaticDeployment
from webhook.store.database import Async
from webhook.store.environments import CurrentDeployment

# Of a repository's environments, the newest.
MOST_ENVIRONMENTS = 20
_LONGEST_LOCK = 900
# Of what keeps one deployment from starting, and of a queue; all of it goes into one reply.
_LONGEST_BLOCKERS, _LONGEST_REF, _MOST_QUEUED = 500, 40, 3
# Of automatic deployments that wait for their checks, the newest.
_MOST_AWAITED = 5


class Status(StoreAction):
    name = "status"
    audited = False
    on_page = False
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
        found = await environments.newest_of_repository(connection, action.repo_id, most)
        queued = await queue.of_repository(connection, action.repo_id)
        locked = await locks.active_of(connection, action.repo_id, services.clock())
        awaited = await automatic.waiting_of_repository(connection, action.repo_id)
    beside = [*_awaited_lines(awaited), *_lock_lines(services, locked)]
    repo = escape(action.repo, 200)
    if not found:
        renamed = f"{escape(action.message, 400)}. " if action.message else ""
        nothing = f"{renamed}The relay has seen no deployment of {repo}"
        return "\n".join([nothing, *beside])
    lines = [_lines(services, one, queued) for one in found[:MOST_ENVIRONMENTS]]
    if len(found) > MOST_ENVIRONMENTS:
        lines.append("and others, which were deployed to before these")
    lines += beside
    return f"{escape(action.message, 400) or repo}:\n" + "\n".join(lines)


def _lines(services: ActionServices, one: CurrentDeployment, queued: Sequence[Queued]) -> str:
    there = [other for other in queued if other.environment.lower() == one.environment.lower()]
    blocked = blocker_lines(one.blockers, _LONGEST_BLOCKERS)
    lines = (_line(services, one), blocked, _queue(services, one, there))
    return "\n".join(line for line in lines if line)


def _queue(services: ActionServices, one: CurrentDeployment, queued: Sequence[Queued]) -> str:
    """ "" where there is none but the one that is shown."""
    if not others(queued, one.deployment_id):
        return ""
    shown = [other for other in queued if other.position <= _MOST_QUEUED]
    more = max((other.total for other in queued if not other.running), default=0) - _MOST_QUEUED
    rest = [f"and {more} more"] if more > 0 else []
    return "Queue: " + ", ".join([*(_queued(services, other) for other in shown), *rest])


def _queued(services: ActionServices, one: Queued) -> str:
    page = link(services.links.page(one.repo, one.deployment_id), str(one.deployment_id))
    ref = one.sha[:7] if one.ref == one.sha else escape(one.ref, _LONGEST_REF)
    return f"{one.shown_position} {ref} ({page})"


def _line(services: ActionServices, one: CurrentDeployment) -> str:
    ref = "" if one.shown_ref == one.sha else f"{escape(one.shown_ref, 60)} @ "
    page = link(services.links.page(one.repo, one.deployment_id), str(one.deployment_id))
    blocked = bool(one.blockers)
    label = phase_label(one.phase, held=one.held, started=one.started, blocked=blocked)
    about = f"{label.text}, {ref}{one.sha[:7]}, {_age(one, services.clock())} ({page})"
    return f"{label.sign} *{escape(one.environment, 60)}*: {about}"


def _awaited_lines(found: Sequence[AutomaticDeployment]) -> list[str]:
    sign = phase_label(Phase.SEEN, held=False, started=False).sign
    shown = [
        f"{sign} *{escape(one.environment, 60)}*: {escape(one.shown_ref, 80)} is to be deployed"
        f" automatically; {escape(one.reason, 300) or 'it is looked at now'}"
        for one in found[-_MOST_AWAITED:]
    ]
    more = len(found) - len(shown)
    return [*shown, f"and {more} before these"] if more else shown


def _lock_lines(services: ActionServices, found: Sequence[Lock]) -> list[str]:
    lines = lock_lines(found, services.clock())
    return [f":lock: {escape(line, _LONGEST_LOCK)}" for line in lines]


def _age(one: CurrentDeployment, now: datetime) -> str:
    seconds = (now - one.changed_at).total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds / size)}{unit} ago"
    return "just now"
