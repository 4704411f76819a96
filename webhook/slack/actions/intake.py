"""What Slack sends, by HTTP or Socket Mode, is understood and kept together with its job.

Nothing is asked of anybody here: Slack waits three seconds, and then shows an error.
Errors: `UserError` for what is not Slack's, `UnknownOutcome` where the store does not respond.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException

from webhook.config.environments import Config
from webhook.errors import MALFORMED, STORE_UNAVAILABLE, UnknownOutcome, UserError
from webhook.jobs.queue import Queue
from webhook.slack.actions.command import commanded, submitted
from webhook.slack.actions.payloads import Asked, Said, Stopped, Taken, happened, pressed
from webhook.store import actions, slack_installations
from webhook.store.database import Sync, SyncPool
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

log = structlog.get_logger()

Answer = Mapping[str, Any] | None


class AnswerIntake:
    def __init__(
        self,
        pool: SyncPool,
        config: Config,
        timing: Timing = DEFAULT_TIMING,
        clock: Clock = utc_now,
    ) -> None:
        self._connection_within = timing.slack_connection_within.total_seconds()
        self._clock = clock
        self._pool = pool
        self._config = config
        self._jobs = Queue()

    def interaction(self, payload: Any) -> Answer:
        """A button, or a form that was filled in."""
        if not isinstance(payload, dict):
            raise UserError("the payload is not a JSON object", code=MALFORMED)
        match payload.get("type"):
            case "block_actions":
                return self._take(pressed(payload))
            case "view_submission":
                return self._take(submitted(payload, self._config, self._clock()))
        return None

    def command(self, fields: Mapping[str, str]) -> Answer:
        return self._take(commanded(fields, self._config))

    def event(self, document: Any) -> Answer:
        if not isinstance(document, dict):
            raise UserError("the event is not a JSON object", code=MALFORMED)
        return self._take(happened(document))

    def envelope(self, kind: str, payload: Mapping[str, Any]) -> Answer:
        """Of Socket Mode. What is not Slack's would only be sent again if it were refused."""
        try:
            match kind:
                case "interactive":
                    return self.interaction(payload)
                case "slash_commands":
                    return self.command(payload)
                case "events_api":
                    return self.event(payload)
        except UserError as error:
            log.warning("Slack sent a malformed payload", kind=kind, error=str(error))
        return None

    def _take(self, taken: Taken) -> Answer:
        if isinstance(taken, Said):
            return taken.document
        try:
            with (
                self._pool.connection(self._connection_within) as connection,
                connection.transaction(),
            ):
                self._keep(connection, taken)
        except (psycopg.Error, ConnectorException) as error:
            log.error("not kept, what somebody asked for in Slack", error=type(error).__name__)
            raise UnknownOutcome("no response from the store", code=STORE_UNAVAILABLE) from error
        return None

    def _keep(self, connection: Sync, taken: Asked | Stopped) -> None:
        if isinstance(taken, Stopped):
            slack_installations.stop(connection, taken.team, taken.trouble, before=taken.at)
            log.warning("Slack ends a workspace's token", team=taken.team, words=taken.trouble)
            return
        action_id = actions.keep(connection, taken)
        if action_id is not None:
            self._jobs.answer(connection, action_id)
            log.info("asked for in Slack", action=action_id, kind=taken.kind, who=taken.who.user)
