"""POST /slack/interactions, /slack/commands and /slack/events: verify, store, respond.

Source: docs.slack.dev/authentication/verifying-requests-from-slack: a signature over the raw bytes
and the time, at most five minutes old.
Errors: 400 malformed, 401 signature, 404 not set up, 413 too large, 415 another kind of body, 503
the store does not respond; each a JSON object with `error` and `remedy`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, jsonify, request
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from webhook.errors import HttpError, UnknownOutcome, UserError
from webhook.http import read_body
from webhook.settings import SlackSettings
from webhook.slack.actions.intake import Answer, AnswerIntake
from webhook.timing import Clock, utc_now

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
    bp = Blueprint("slack_actions", __name__)
    secret = slack.signing_secret
    verifier = SignatureVerifier(secret, _Clock(clock)) if secret else None

    def serve(take: Callable[[bytes], Answer], content_type: str) -> Response:
        body = _verified(verifier, content_type)
        return _response(_taken(take, body))

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
            "this relay takes no answers from Slack over HTTP",
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
        raise HttpError(
            401,
            "the signature is missing" if missing else "the signature does not fit, or is too old",
            "make GITPLOY_SLACK_SIGNING_SECRET equal to the Slack app's, and check the clock",
        )


def _taken(take: Callable[[bytes], Answer], body: bytes) -> Answer:
    try:
        return take(body)
    except (UserError, ValueError, RecursionError) as error:
        message = str(error) if isinstance(error, UserError) else "the body is malformed"
        raise HttpError(400, message, "this address is for Slack only") from None
    except UnknownOutcome:
        raise HttpError(503, "the store does not answer", "try again in a minute") from None


def _payload(body: bytes) -> Any:
    return _parsed(_fields(body).get("payload", ""))


def _fields(body: bytes) -> Mapping[str, str]:
    pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    return dict(pairs)


def _parsed(text: str) -> Any:
    return json.loads(text)


def _response(answer: Answer) -> Response:
    """Slack takes an empty body for 'seen'."""
    return Response(status=200) if answer is None else jsonify(answer)
