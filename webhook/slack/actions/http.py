"""POST /slack/interactions, /slack/commands and /slack/events: verify, keep, answer.

Source: docs.slack.dev/authentication/verifying-requests-from-slack: a signature over the raw bytes
and the time, at most five minutes old.
Errors: 400 malformed, 401 signature, 404 not set up, 413 too large, 415 another kind of body, 503
the store is away; each a JSON object with `error` and `remedy`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import structlog
from flask import Blueprint, Response, jsonify, request
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from webhook.github.webhook import Refusal
from webhook.jobs.inbox import NotKept
from webhook.settings import SlackSettings
from webhook.slack.actions.intake import Answer, AnswerIntake
from webhook.slack.actions.payloads import Odd
from webhook.timing import Clock, utc_now
from webhook.web.bodies import body_of_at_most

log = structlog.get_logger()

# A payload may hold the whole message, of which 50 blocks and their texts are the most.
LARGEST_BODY = 1024 * 1024
_MOST_FIELDS = 100
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"


class _Clock(SlackClock):
    """Ours, as slack_sdk reads it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock().timestamp()


def blueprint(slack: SlackSettings, intake: AnswerIntake, clock: Clock = utc_now) -> Blueprint:
    door = Blueprint("slack_answers", __name__)
    secret = slack.signing_secret
    verifier = SignatureVerifier(secret, _Clock(clock)) if secret else None

    def serve(take: Callable[[bytes], Answer], content_type: str) -> Response:
        try:
            body = _verified(verifier, content_type)
            return _answer(_kept(take, body))
        except Refusal as refusal:
            path = request.path
            log.warning("Slack refused", path=path, status=refusal.status, why=str(refusal))
            return refusal.answer()

    @door.post("/slack/interactions")
    def interactions() -> Response:
        return serve(lambda body: intake.interaction(_payload(body)), _FORM)

    @door.post("/slack/commands")
    def commands() -> Response:
        return serve(lambda body: intake.command(_fields(body)), _FORM)

    @door.post("/slack/events")
    def events() -> Response:
        return serve(lambda body: intake.event(_parsed(body.decode())), _JSON)

    return door


def _verified(verifier: SignatureVerifier | None, content_type: str) -> bytes:
    if verifier is None:
        raise Refusal(
            404,
            "this relay takes no answers from Slack over HTTP",
            "set GITPLOY_SLACK_SIGNING_SECRET, from the Slack app's Basic Information",
        )
    body = _body()
    _check_signature(verifier, body)
    if request.mimetype != content_type:
        raise Refusal(
            415,
            f"the content type is {request.mimetype or 'missing'}, not {content_type}",
            "enter this address in the Slack app where it belongs: interactivity, slash commands"
            " and events have one each",
        )
    return body


def _body() -> bytes:
    body = body_of_at_most(LARGEST_BODY)
    if body is None:
        raise Refusal(413, "the body is larger than 1 MiB", "Slack sends nothing so large")
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
        raise Refusal(
            401,
            "the signature is missing" if missing else "the signature does not fit, or is too old",
            "make GITPLOY_SLACK_SIGNING_SECRET equal to the Slack app's, and check the clock",
        )


def _kept(take: Callable[[bytes], Answer], body: bytes) -> Answer:
    try:
        return take(body)
    except (Odd, ValueError, RecursionError) as error:
        words = str(error) if isinstance(error, Odd) else "the body is malformed"
        raise Refusal(400, words, "this address is for Slack only") from None
    except NotKept:
        raise Refusal(503, "the store does not answer", "try again in a minute") from None


def _payload(body: bytes) -> Any:
    return _parsed(_fields(body).get("payload", ""))


def _fields(body: bytes) -> Mapping[str, str]:
    pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    return dict(pairs)


def _parsed(text: str) -> Any:
    return json.loads(text)


def _answer(answer: Answer) -> Response:
    """Slack takes an empty body for 'seen'."""
    return Response(status=200) if answer is None else jsonify(answer)
