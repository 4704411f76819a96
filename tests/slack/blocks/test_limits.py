"""Every message is within Slack's limits, by slack_sdk's models and by hand."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from sandbox.slack.block_kit import block_errors, total_text_length
from tests.slack.notices import (
    RUNNING,
    a_changelog,
    documents,
    mrkdwn_of,
    new_entry,
    offering,
    plain_of,
)
from webhook.deployments.blockers import Blocker
from webhook.deployments.changelog import Changelog, Commit
from webhook.deployments.notice import DeploymentNotice, NoticeApproval, NoticeEntry, Promotion
from webhook.deployments.overrides import Override
from webhook.deployments.phases import Phase
from webhook.slack.actions import ACTIONS
from webhook.slack.blocks.message import alert, digest, main_message, thread_reply
from webhook.slack.blocks.mrkdwn import BlockMessage, units

MOST_TEXT_IN_ALL = 10_500
OURS = re.compile(
    r"<https?://[^<>|\s]+\|[^<>|]*(?:\|[^<>]*)?>"
    r"|<!date\^-?\d+\^\{time_secs\}\|\d\d:\d\d:\d\d UTC>"
    r"|<!date\^-?\d+\^\{date_short_pretty\} at \{time\}\|\w+ \d\d \w+ \d+, \d\d:\d\d UTC>"
    r"|<@U0OCTOCAT>|<!subteam\^S0ONCALL>"
)
MENTIONS = ("", "<@U0OCTOCAT>", "<!subteam^S0ONCALL>", "@oncall", "octocat", "<!channel", "&" * 999)
# What has gone wrong somewhere: markup, mentions, markers, directions, surrogates, long addresses.
PIECES = (
    "", " ", "a", "&", "<", ">", "|", "<!channel>", "<@U1>", "@here", "*b*", "_", "~", "```", "\n",
    "\x00", "\u202e", "\u2028", "\ud800", "🚀", "👩\u200d💻", "עברית", "é\u0301", "https://a.test/",
    "https://a.test/?a=1&b=<x>|", "&amp;", ":tada:", "…", "production", "deploy", "rollback",
)  # fmt: skip
LONG = (1, 2, 7, 140, 255, 700, 3000, 10_000)


def repeated(piece: str, size: int) -> str:
    return (piece * size)[:size] if len(piece) < size else piece


texts = st.text(max_size=30) | st.builds(repeated, st.sampled_from(PIECES), st.sampled_from(LONG))
urls = texts | st.builds("https://a.test/{}".format, texts)
numbers = st.integers(-1, 10**6)
commits = st.builds(Commit, texts, texts, texts, urls)
changelogs = st.builds(Changelog, texts, numbers, numbers, st.lists(commits, max_size=7).map(tuple))
blockers = st.builds(
    Blocker,
    gate=texts,
    reason=texts,
    until=st.none() | st.datetimes(timezones=st.just(UTC)),
    way_out=texts,
    denies=st.booleans(),
    for_person=st.booleans(),
)
approvals = st.builds(
    NoticeApproval,
    login=texts,
    approved=st.booleans(),
    at=st.datetimes(timezones=st.just(UTC)),
    comment=texts,
)
without_buttons = st.builds(
    DeploymentNotice,
    deployment_id=st.integers(1, 2**63),
    repo=texts,
    repo_url=urls,
    environment=texts,
    production=st.booleans(),
    ref=texts,
    sha=texts,
    task=texts,
    requested_by=texts,
    phase=st.sampled_from(Phase),
    changed_at=st.datetimes(timezones=st.just(UTC)),
    description=texts,
    held=st.booleans(),
    started=st.booleans(),
    recovered=st.booleans(),
    seconds=st.none() | st.floats(-10, 1e9),
    page_url=urls,
    run_url=urls,
    tool=texts,
    environment_url=urls,
    changelog=st.none() | changelogs,
    previous_sha=texts,
    origin=st.sampled_from(["", "retry", "rollback", "else"]),
    origin_label=st.sampled_from(["", *(action.origin for action in ACTIONS.values())]) | texts,
    origin_url=urls,
    actions=st.just(()),
    rollback_to=texts,
    blockers=st.lists(blockers, max_size=8).map(tuple),
    approvals=st.lists(approvals, max_size=8).map(tuple),
    superseded_by=st.sampled_from([0, 8]),
    superseded_by_url=urls,
    promotion=st.builds(
        Promotion,
        environment=st.sampled_from(["production", "<!here> a/b", "&" * 255]),
        production=st.booleans(),
        newest_id=st.sampled_from([0, 7]),
        live=texts,
        changes=texts,
    ),
)
tellings = st.builds(
    lambda notice, names: offering(notice, *names),
    without_buttons,
    st.lists(st.sampled_from(["cancel", "promote", "retry", "rollback", "x"]), max_size=5),
)
entries = st.builds(
    NoticeEntry,
    at=st.integers(-62_135_000_000, 253_402_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
    state=texts | st.sampled_from(["queued", "in_progress", "error", "inactive", "success"]),
    description=texts,
    actor=texts,
    log_url=urls,
    held=st.booleans(),
)
many_entries = st.builds(
    lambda some, number: (some * number)[:1000],
    st.lists(entries, max_size=4),
    st.sampled_from([1, 3, 1000]),
)

# As long as all of it can be at once, with what grows most: & becomes &amp;.
_GROWING = "&" * 10_000
_LONGEST = "https://a.test/" + "x" * 480
_LONGEST_NOTICE = replace(
    RUNNING,
    deployment_id=2**63,
    repo=_GROWING,
    repo_url=_LONGEST[:400],
    environment=_GROWING,
    ref="&" * 25,
    sha="&" + "s" * 39,
    task=_GROWING,
    requested_by=_GROWING,
    phase=Phase.INACTIVE,
    description=_GROWING,
    seconds=1e9,
    page_url=_LONGEST,
    run_url=_LONGEST * 2,
    tool=_GROWING,
    environment_url=_LONGEST * 2,
    changelog=Changelog(
        "&" + "t" * 38,
        10**9,
        10**9,
        (Commit(_GROWING, _GROWING, _GROWING, _LONGEST[:250]),) * 300,
    ),
    previous_sha="&" + "t" * 38,
    origin="retry",
    origin_label=_GROWING,
    origin_url=_LONGEST,
    rollback_to=_GROWING,
    promotion=Promotion(
        environment="&" * 255,
        production=True,
        newest_id=2**63,
        live=_GROWING,
        changes=_GROWING,
    ),
)
_BLOCKER = Blocker(
    gate="lock", reason=_GROWING, until=datetime(9999, 12, 30, tzinfo=UTC), way_out=_GROWING
)
_APPROVAL = NoticeApproval(
    login=_GROWING, approved=True, at=datetime(9999, 12, 30, tzinfo=UTC), comment=_GROWING
)
_OVERRIDE = Override(
    gates=(_GROWING,) * 8,
    login=_GROWING,
    reason=_GROWING,
    at=datetime(9999, 12, 30, tzinfo=UTC),
    expires_at=datetime(9999, 12, 30, tzinfo=UTC),
)
LONGEST_HELD = replace(
    _LONGEST_NOTICE,
    phase=Phase.QUEUED,
    blockers=(_BLOCKER,) * 8,
    superseded_by=2**63,
    superseded_by_url=_LONGEST,
    approvals=(_APPROVAL,) * 8,
    overrides=(_OVERRIDE,) * 8,
)
LONGEST = offering(_LONGEST_NOTICE, "cancel", "promote", "retry", "rollback")
LONGEST_ENTRY = NoticeEntry(
    at=datetime(9999, 12, 30, tzinfo=UTC),
    state=_GROWING,
    description=_GROWING,
    actor="🚀" * 999,
    log_url=_LONGEST,
    held=False,
)


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@example(LONGEST, [LONGEST_ENTRY] * 1000, MENTIONS[-1])
@example(offering(LONGEST_HELD, "cancel", "retry", "rollback"), [LONGEST_ENTRY], MENTIONS[-1])
@example(LONGEST_HELD, [LONGEST_ENTRY, replace(LONGEST_ENTRY, for_all=True)] * 99, MENTIONS[-1])
@example(LONGEST, [LONGEST_ENTRY], "<@U0OCTOCAT> " * 99)
@given(tellings, many_entries, st.sampled_from(MENTIONS))
def test_slack_accepts_every_message_and_foreign_text_is_no_markup(
    shown: DeploymentNotice, shown_entries: list[NoticeEntry], mention: str
) -> None:
    for message in (
        main_message(shown),
        alert(shown, mention),
        thread_reply(shown, shown_entries, broadcast=True, mention=mention),
        thread_reply(shown, shown_entries, broadcast=False, mention=mention),
    ):
        _assert_accepted(message)
        _assert_only_ours(message, mention)


def _assert_accepted(message: BlockMessage) -> None:
    blocks = documents(message)  # slack_sdk validates them
    assert block_errors(blocks) == []
    assert [block.to_dict() for block in Block.parse_all(blocks)] == blocks
    assert 0 < units(message.text) <= 4000
    assert _units_in_all(message) <= MOST_TEXT_IN_ALL
    json.dumps([message.text, blocks], ensure_ascii=False).encode()
    assert len(digest(message)) == 64


def _assert_only_ours(message: BlockMessage, mention: str) -> None:
    for text in (message.text, *(text["text"] for text in mrkdwn_of(message))):
        left = OURS.sub("", text)
        assert not set(left) & set("<>")
        assert not re.search(r"[^\n -\x7e\xa0-\U0010ffff]", text)
        mentions = re.findall(r"(?<![A-Za-z0-9_])@[a-z0-9]+", left)
        assert mentions in ([], ["@oncall"] if mention == "@oncall" else [])
    for text in plain_of(message):
        assert not set(text["text"]) & set("<>\n\x00")


def _units_in_all(message: BlockMessage) -> int:
    """As Slack may count: UTF-16 units, where one emoji is two."""
    texts = [text["text"] for text in (*mrkdwn_of(message), *plain_of(message))]
    assert sum(map(len, texts)) == total_text_length(documents(message))
    return sum(map(units, texts))


def test_three_hundred_commits_fit_with_titles_of_ten_thousand() -> None:
    shown = replace(RUNNING, changelog=a_changelog(300, *["🚀" * 10_000] * 300))
    message = main_message(shown)
    assert block_errors(documents(message)) == []
    assert "and 295 more" in mrkdwn_of(message)[2]["text"]


def test_a_time_of_another_zone_is_the_same_time() -> None:
    east = datetime(2026, 11, 22, 12, 4, 5, tzinfo=timezone(timedelta(hours=9)))
    [text] = mrkdwn_of(
        thread_reply(RUNNING, [replace(new_entry("queued"), at=east)], broadcast=False)
    )
    assert text["text"].startswith("<!date^1795316645^{time_secs}|03:04:05 UTC>")
