"""`/deploy stop` and `/deploy go`, and the same on a page: nothing starts any more, until somebody
lets it."""

from collections.abc import Sequence

from webhook.config.environments import Config
from webhook.deployments.locks import EVERYTHING
from webhook.engine.locks import NothingLocked
from webhook.slack.actions.contract import StoreAction
from webhook.slack.actions.lock_arguments import OPTIONS, lock_options
from webhook.slack.actions.locks import lock_for, options_of, unlock_for
from webhook.slack.actions.permissions import Authorized, Declined, authorize_everywhere
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import Mistyped, Typed
from webhook.store.actions import PAGE, ActionRow
from webhook.store.database import Async


class Stop(StoreAction):
    name = "stop"
    everywhere = True
    verb = "stop"
    usage = (f"stop {OPTIONS}", "holds all deployments of all repositories back")
    take_over = False

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        return Typed(self.name, inputs=lock_options(arguments).to_inputs())

    async def authorize(self, services: ActionServices, action: ActionRow) -> Authorized:
        return await _authorize(services, action)

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        return await lock_for(
            services,
            connection,
            by,
            options_of(action),
            (0, "", EVERYTHING),
            action=action,
            command="/deploy stop! reason…",
            take_over=self.take_over,
        )


class TakeOverStop(Stop):
    name = "take_over_stop"
    verb = "stop!"
    usage = (f"stop! {OPTIONS}", "takes over somebody else's stop")
    take_over = True


class Go(StoreAction):
    name = "go"
    everywhere = True
    verb = "go"
    usage = ("go", "ends your stop")
    take_over = False

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if arguments:
            raise Mistyped(f"`{command} {self.verb}` stands alone; it ends the stop of everything")
        return Typed(self.name)

    async def authorize(self, services: ActionServices, action: ActionRow) -> Authorized:
        return await _authorize(services, action)

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        try:
            return await unlock_for(
                services,
                connection,
                by,
                (0, EVERYTHING),
                action=action,
                take_over=self.take_over,
            )
        except NothingLocked as error:
            message = "Nobody has stopped everything; /deploy locks lists what is locked"
            raise Declined("not_possible", message) from error


class TakeOverGo(Go):
    name = "take_over_go"
    verb = "go!"
    usage = ("go!", "ends somebody else's stop, who is notified")
    take_over = True


async def _authorize(services: ActionServices, action: ActionRow) -> Authorized:
    """On pages it is for those who run the relay; in Slack, everybody sees at once who did it."""
    if action.source == PAGE and action.login.lower() not in services.admins:
        message = f"{action.login} may not stop everything on a page, or let it go on"
        raise Declined("lacks_permission", f"{message}; that is for whom GITPLOY_ADMIN_USERS names")
    return await authorize_everywhere(services, action)
