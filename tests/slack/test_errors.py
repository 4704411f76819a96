"""Each error that Slack documents for messages leads to something that people can do."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from webhook.errors import INVALID, THREAD_CLOSED, Gone, Rejected, RetryAt, UnknownOutcome
from webhook.slack.errors import Names, as_error
from webhook.timing import utc_now

# docs.slack.dev/reference/methods: chat.postMessage and chat.update. Left out is what only files,
# drafts, streams, direct messages and `as_user` can lead to, which the relay does not use.
OF_THE_FORM = """
    attachment_payload_limit_exceeded block_mismatch invalid_arguments invalid_array_arg
    invalid_attachments invalid_blocks invalid_blocks_format invalid_metadata_format
    invalid_metadata_schema markdown_text_conflict metadata_must_be_sent_from_app
    metadata_too_large msg_blocks_too_long msg_too_long no_text
    slack_connect_canvas_sharing_blocked slack_connect_file_link_sharing_blocked
    slack_connect_lists_sharing_blocked too_many_attachments too_many_contact_cards
"""
OF_THE_THREAD = """
    cannot_reply_to_message restricted_action_non_threadable_channel
    restricted_action_thread_locked
"""
OTHERS = """
    access_denied accesslimited account_inactive channel_not_found deprecated_endpoint
    ekm_access_denied enterprise_is_restricted external_channel_migrating invalid_auth is_archived
    is_inactive message_limit_exceeded method_deprecated missing_scope no_permission
    not_allowed_token_type not_authed not_in_channel org_login_required restricted_action
    restricted_action_read_only_channel restricted_action_thread_only_channel
    team_access_not_granted team_added_to_org team_not_found token_expired token_revoked
    two_factor_setup_required
"""


def error(code: str, **more: Any) -> RetryAt | UnknownOutcome | Rejected:
    response = AsyncSlackResponse(
        client=None,
        http_verb="POST",
        api_url="",
        req_args={},
        data={"ok": False, "error": code, **more},
        headers={},
        status_code=200,
    )
    rejection = SlackApiError(code, response)  # type: ignore[no-untyped-call]
    return as_error(rejection, Names("relay", "#deploys"), utc_now())


@pytest.mark.parametrize("code", [*OF_THE_FORM.split(), *OF_THE_THREAD.split(), *OTHERS.split()])
def test_each_rejection_names_the_error_and_a_remedy(code: str) -> None:
    rejected = error(code)
    assert isinstance(rejected, Rejected)
    assert f"Slack returned {code}: " in str(rejected)
    assert "see docs.slack.dev" not in str(rejected)
    assert "{" not in str(rejected)
    kinds = dict.fromkeys(OF_THE_FORM.split(), INVALID)
    kinds |= dict.fromkeys(OF_THE_THREAD.split(), THREAD_CLOSED)
    assert rejected.code == kinds.get(code, code)


def test_an_unknown_error_points_to_slacks_documentation() -> None:
    assert "see docs.slack.dev" in str(error("something_new"))


def test_what_slack_says_about_blocks_is_kept() -> None:
    said = "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    assert said in str(error("invalid_blocks", response_metadata={"messages": [said]}))
    assert said in str(error("invalid_blocks", errors=[said]))
    assert len(str(error("invalid_blocks", errors=[said * 99]))) < 600


@pytest.mark.parametrize("code", ["internal_error", "fatal_error", "update_failed"])
def test_what_slack_may_have_done_is_searched(code: str) -> None:
    assert isinstance(error(code), UnknownOutcome)


@pytest.mark.parametrize("code", ["message_not_found", "thread_not_found", "edit_window_closed"])
def test_what_cannot_be_edited_or_replied_to_is_posted_again(code: str) -> None:
    assert isinstance(error(code), Gone)
