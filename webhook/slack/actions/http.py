"""POST /slack/interactions, /slack/commands and /slack/events: verify, store, respond.

What comes by Socket Mode goes the same way behind the signature. Nobody else is called here: Slack
waits three seconds, and then shows an error.

Source: docs.slack.dev/authentication/verifying-requests-from-slack: a signature over the raw bytes
and the time, at most five minutes old.
Errors: 400 malformed, 401 signature, 404 not set up, 413 too large, 415 another kind of body, 503
the store does not respond; each a JSON object with `error` and `remedy`.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import psycopg
import structlog
from flask import Blueprint, Response, jsonify, request
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from webhook.config.environments import CurrentConfig
from webhook.deployments.actions import ActionRequest
from webhook.errors import (
    MALFORMED,
    STORE_UNAVAILABLE,
    BadCredentials,
    HttpError,
    UnknownOutcome,
    UserError,
)
from webhook.http import BodyRule, read_body
from webhook.settings import SlackSettings
from webhook.slack.actions import payloads
from webhook.slack.actions.command import parse_command
from webhook.slack.actions.contract import Actions
from webhook.slack.actions.payloads import Parsed, TokenRevoked, parse_event, parse_press
from webhook.slack.actions.submissions import parse_form
from webhook.store import actions, schedule, slack_installations
from webhook.store.database import Sync, SyncPool
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

log = structlog.get_logger()

# A payload may hold the whole message, of which 50 blocks and their texts are the most.
LARGEST_BODY = 1024 * 1024
BODY_RULE = BodyRule(
    re.compile("/slack/(interactions|commands|events)"),
    LARGEST_BODY,
    {
        "X-Slack-Signature": re.compile(r"v0=[0-9a-f]{64}", re.ASCII),
        "X-Slack-Request-Timestamp": re.compile(r"[0-9]{1,12}", re.ASCII),
    },
)
_MOST_FIELDS = 100
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"

# Of the response to Slack; None: an empty one, which Slack takes as an acknowledgement.
Document = Mapping[str, Any] | None


class ActionIntake:
    """Stores what people request, and that it is to be done. Errors: `UserError` for what is not
    Slack's, `UnknownOutcome` where the store does not respond."""

    def __init__(
        self,
        pool: SyncPool,
        current: CurrentConfig,
        registry: Actions,
        timing: Timing = DEFAULT_TIMING,
        clock: Clock = utc_now,
    ) -> None:
        self._connection_within = timing.slack_connection_within.total_seconds()
        self._clock = clock
        self._pool = pool
        self._current = current
        self._registry = registry

    def interaction(self, payload: Any) -> Document:
        """A button, or a form that was filled in."""
        match _kind_of(payload):
            case "block_actions":
                return self._store(parse_press(payload, self._registry))
            case "view_submission":
                return self._store(parse_form(payload, self._current.config, self._clock()))
        return None

    def command(self, fields: Mapping[str, str]) -> Document:
        return self._store(parse_command(fields, self._current.config, self._registry))

    def event(self, document: Any) -> Document:
        return self._store(parse_event(document))

    def envelope(self, kind: str, payload: Mapping[str, Any]) -> Document:
        """Of Socket Mode. What is not Slack's would only be sent again if it were rejected."""
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

    def _store(self, parsed: Parsed) -> Document:
        if isinstance(parsed, payloads.Response):
            return parsed.document
        try:
            with (
                self._pool.connection(self._connection_within) as connection,
                connection.transaction(),
            ):
                self._insert(connection, parsed)
        except psycopg.Error as error:
            log.error("a request in Slack was not stored", error=type(error).__name__)
            raise UnknownOutcome("no response from the store", code=STORE_UNAVAILABLE) from error
        return None

    def _insert(self, connection: Sync, parsed: ActionRequest | TokenRevoked) -> None:
        if isinstance(parsed, TokenRevoked):
            slack_installations.stop(connection, parsed.team, parsed.reason, before=parsed.at)
            log.warning("Slack revokes a workspace's token", team=parsed.team, reason=parsed.reason)
            return
        action_id = actions.keep(connection, parsed)
        if action_id is not None:
            schedule.request_sync(connection, [schedule.Key("run_action", action_id)])
            user = parsed.requester.user
            log.info("action requested", action=action_id, kind=parsed.kind, user=user)


class _Clock(SlackClock):
    """Ours, as slack_sdk reads it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock().timestamp()


def blueprint(slack: SlackSettings, intake: ActionIntake, clock: Clock = utc_now) -> Blueprint:
    bp = Blueprint("slack_actions", __name__)
    secret = slack.signing_secret
    verifier = SignatureVerifier(secret, _Clock(clock)) if secret else None

    def serve(take: Callable[[bytes], Document], content_type: str) -> Response:
        document = _accepted(take, _verified(verifier, content_type))
        return Response(status=200) if document is None else jsonify(document)

    @bp.post("/slack/interactions")
    def interactions() -> Response:
        return serve(lambda body: intake.interaction(_payload(body)), _FORM)

    @bp.post("/slack/commands")
    def commands() -> Response:
        return serve(lambda body: intake.command(_fields(body)), _FORM)

    @bp.post("/slack/events")
    def events() -> Response:
        return serve(lambda body: intake.event(_parsed(body.decode())), _JSON)

    return bp


def _verified(verifier: SignatureVerifier | None, content_type: str) -> bytes:
    if verifier is None:
        raise HttpError(
            404,
            "this relay takes no requests from Slack over HTTP",
            "set GITPLOY_SLACK_SIGNING_SECRET, from the Slack app's Basic Information",
        )
    body = _body()
    _check_signature(verifier, body)
    if request.mimetype != content_type:
        raise HttpError(
            415,
            f"the content type is {request.mimetype or 'missing'}, not {content_type}",
            "enter this address in the Slack app where it belongs: interactivity, slash commands"
            " and events have one each",
        )
    return body


def _body() -> bytes:
    body = read_body(LARGEST_BODY)
    if body is None:
        raise HttpError(413, "the body is larger than 1 MiB", "Slack sends nothing so large")
    return body


def _check_signature(verifier: SignatureVerifier, body: bytes) -> None:
    timestamp = request.headers.get("X-Slack-Request-Timestamp")
    signature = request.headers.get("X-Slack-Signature")
    try:
        valid = verifier.is_valid(body, timestamp, signature)
    except (ValueError, TypeError):  # no number, not ASCII, or a body that is not UTF-8
        valid = False
    if not valid:
        missing = timestamp is None or signature is None
        raise BadCredentials(
            401,
            "the signature is missing" if missing else "the signature does not fit, or is too old",
            "make GITPLOY_SLACK_SIGNING_SECRET equal to the Slack app's, and check the clock",
        )


def _accepted(take: Callable[[bytes], Document], body: bytes) -> Document:
    try:
        return take(body)
    except (UserError, ValueError, RecursionError) as error:
        message = str(error) if isinstance(error, UserError) else "the body is malformed"
        raise HttpError(400, message, "this address is for Slack only") from None
    except UnknownOutcome:
        raise HttpError(503, "the store does not respond", "try again in a minute") from None


def _kind_of(payload: Any) -> str:
    if not isinstance(payload, dict):
        raise UserError("the payload is not a JSON object", code=MALFORMED)
    return str(payload.get("type", ""))


def _payload(body: bytes) -> Any:
    return _parsed(_fields(body).get("payload", ""))


def _fields(body: bytes) -> Mapping[str, str]:
    pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    return dict(pairs)


def _parsed(text: str) -> Any:
    return json.loads(text)
