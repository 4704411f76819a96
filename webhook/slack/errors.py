"""What Slack's errors mean for the relay, and what people can do about each.

Source: docs.slack.dev/reference/methods, "Errors" of chat.postMessage and chat.update.
Errors: `RetryAt` (429 and the like: not done), `UnknownOutcome` (may have been done), `Gone` (the
message was deleted), `Rejected` (with a remedy; the code `INVALID` where another form of the
message may be accepted, `THREAD_CLOSED` where it may be accepted outside its thread).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slack_sdk.errors import SlackApiError

from webhook.errors import (
    INVALID,
    RATE_LIMITED,
    THREAD_CLOSED,
    Gone,
    Rejected,
    RetryAt,
    UnknownOutcome,
)
from webhook.invocation import COMMAND
from webhook.text import one_line

# `RetryAt`: Slack requests a wait for another reason than its rate limits.
SLACK_UNAVAILABLE = "slack_unavailable"
# The token has expired; another one may be had for its refresh token.
EXPIRED = "token_expired"
REINSTALL = (
    f"install the Slack app again ({COMMAND} slack install-link),"
    " or set GITPLOY_SLACK_BOT_TOKEN anew"
)
# Seconds to wait where Slack limits without saying for how long.
DEFAULT_WAIT = 30
# Characters of what Slack says about a message's form.
_LONGEST_DETAIL = 300

_RETRY_CODES = {"ratelimited", "rate_limited", "service_unavailable", "request_timeout"}
_UNCLEAR_CODES = {"internal_error", "fatal_error", "update_failed"}
_GONE_CODES = {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
_INVALID_TOKEN_CODES = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", EXPIRED}
_THREAD_CODES = {
    "cannot_reply_to_message",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
}
_FORM_CODES = {
    "attachment_payload_limit_exceeded",
    "block_mismatch",
    "invalid_arguments",
    "invalid_array_arg",
    "invalid_attachments",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_metadata_format",
    "invalid_metadata_schema",
    "markdown_text_conflict",
    "metadata_must_be_sent_from_app",
    "metadata_too_large",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_text",
    "slack_connect_canvas_sharing_blocked",
    "slack_connect_file_link_sharing_blocked",
    "slack_connect_lists_sharing_blocked",
    "too_many_attachments",
    "too_many_contact_cards",
}

_ANOTHER = "or choose another channel in deploy.yml and restart the relay"
_ALLOW = f"allow the app to post there (the channel's settings, Permissions), {_ANOTHER}"
_ARCHIVED = (
    "{channel} is archived; unarchive it, or choose another one in deploy.yml and restart the relay"
)
_NOT_VALID = f"the bot token is not valid; {REINSTALL}"
_MOVING = "Slack is moving the workspace into an organization; it is retried until that is done"
_UPDATE = "Slack has retired what the relay calls; update the relay"
_REMEDIES = {
    # The channel.
    "not_in_channel": "type /invite @{bot} in {channel}",
    "no_permission": "type /invite @{bot} in {channel}",
    "channel_not_found": "there is no channel {channel} that the bot can see; if it is private,"
    " type /invite @{bot} in it",
    "team_not_found": "write the ID of {channel} (C…) into deploy.yml instead of its name",
    "is_archived": _ARCHIVED,
    "is_inactive": _ARCHIVED,
    "restricted_action": f"the workspace does not let the bot post in {{channel}}; {_ALLOW}",
    "restricted_action_read_only_channel": f"{{channel}} is read-only; {_ALLOW}",
    "restricted_action_thread_only_channel": "{channel} accepts only replies in threads; allow"
    f" posts there (the channel's settings, Permissions), {_ANOTHER}",
    "restricted_action_non_threadable_channel": "{channel} accepts no replies in threads; allow"
    " them (the channel's settings, Permissions). Failures are posted in the channel meanwhile",
    "restricted_action_thread_locked": "an admin has locked the thread of that message; unlock it."
    " Failures are posted in the channel meanwhile",
    "cannot_reply_to_message": "Slack allows no replies to that message; failures are posted in"
    " the channel instead",
    "external_channel_migrating": "Slack is moving {channel}; it is retried until that is done",
    # The token.
    "invalid_auth": _NOT_VALID,
    "not_authed": _NOT_VALID,
    "not_allowed_token_type": "set GITPLOY_SLACK_BOT_TOKEN to the bot token (xoxb-…)",
    "account_inactive": f"the bot's account or workspace is gone; {REINSTALL}",
    "token_revoked": f"the bot token was revoked; {REINSTALL}",
    "token_expired": f"the bot token has expired; {REINSTALL}",
    "missing_scope": "the Slack app lacks the scope {needed}; add it and install the app again",
    "team_access_not_granted": "an organization's admin has to add the Slack app to that workspace",
    # The workspace.
    "access_denied": "the workspace's admins do not let the app do that; ask them to allow it",
    "accesslimited": "the workspace accepts calls from certain networks only; add the relay's IP"
    " address to them",
    "ekm_access_denied": "the organization's admins have suspended messages; ask them",
    "enterprise_is_restricted": "the organization's admins do not allow the app; ask them",
    "message_limit_exceeded": "the workspace sends more messages than its plan allows",
    "org_login_required": _MOVING,
    "team_added_to_org": _MOVING,
    "two_factor_setup_required": "the workspace demands two-factor authentication; set it up for"
    " whoever installed the app",
    "deprecated_endpoint": _UPDATE,
    "method_deprecated": _UPDATE,
}
_FORM_REMEDY = "the message's form is a fault of the relay; please report it"


def token_is_invalid(error: Rejected) -> bool:
    """Slack does not accept the token any more; with the code `EXPIRED` it can be refreshed."""
    return error.code in _INVALID_TOKEN_CODES


@dataclass(frozen=True, slots=True)
class Names:
    """What errors call the bot and the channel."""

    bot: str
    channel: str


def as_error(
    error: SlackApiError, names: Names, now: datetime
) -> RetryAt | UnknownOutcome | Rejected:
    response = error.response
    document = response.data if isinstance(getattr(response, "data", None), dict) else {}
    code = str(document.get("error", ""))
    status = getattr(response, "status_code", 200)
    if status == 429 or code in _RETRY_CODES:
        wait = response.headers.get("Retry-After", "")
        seconds = int(wait) if wait.isdigit() else DEFAULT_WAIT
        limited = RATE_LIMITED if status == 429 else SLACK_UNAVAILABLE
        return RetryAt.in_seconds(f"Slack: {code or 'rate limited'}", seconds, now, code=limited)
    if status >= 500 or code in _UNCLEAR_CODES or not code:
        return UnknownOutcome(f"Slack gave no clear response (HTTP {status})")
    return Gone(code) if code in _GONE_CODES else _rejected(code, document, names)


def _rejected(code: str, document: Mapping[str, Any], names: Names) -> Rejected:
    if code in _FORM_CODES:
        detail = _detail(document)
        said = f"{code} ({detail})" if detail else code
        return Rejected(f"Slack returned {said}: {_FORM_REMEDY}", code=INVALID)
    remedy = _REMEDIES.get(code, "see docs.slack.dev for this error").format(
        bot=names.bot, channel=names.channel, needed=document.get("needed", "chat:write")
    )
    kind = THREAD_CLOSED if code in _THREAD_CODES else code
    return Rejected(f"Slack returned {code}: {remedy}", code=kind)


def _detail(document: Mapping[str, Any]) -> str:
    """Where in the blocks, and why, in Slack's words."""
    metadata = document.get("response_metadata")
    found = metadata.get("messages") if isinstance(metadata, dict) else None
    found = found or document.get("errors")
    return one_line("; ".join(map(str, found)), _LONGEST_DETAIL) if isinstance(found, list) else ""
