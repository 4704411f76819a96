"""What a person reads in Slack of a deployment."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.slack.notices import (
    APPROVALS,
    BEFORE,
    GITHUB,
    PAGE,
    RUNNING,
    SHA,
    a_changelog,
    mrkdwn_of,
    new_entry,
    offering,
    read,
)
from webhook.deployments.blockers import Blocker
from webhook.deployments.phases import Phase
from webhook.slack.actions import ACTIONS
from webhook.slack.blocks.message import alert, digest, main_message, thread_reply

SUCCEEDED = replace(RUNNING, phase=Phase.SUCCESS, seconds=192)
FAILED = replace(
    RUNNING, phase=Phase.FAILURE, seconds=192, description="step 'deploy': exit code 1"
)
STOPPED = replace(FAILED, phase=Phase.ERROR, description="Cancelled by octocat")
QUEUED = replace(RUNNING, phase=Phase.QUEUED, started=False)
HELD_BACK = replace(
    QUEUED,
    description="Locked by ada: the database <!here> (until 05:00 UTC); Waits for deployment 6…",
    blockers=(
        Blocker(
            gate="lock",
            reason="Locked by ada: the database <!here>",
            until=datetime(2026, 11, 23, 5, 0, tzinfo=UTC),
            way_out="Whoever may write unlocks it: /deploy unlock acme/site production",
        ),
        Blocker(gate="serialization", reason="Waits for deployment 6 (main) to end"),
    ),
)
SUPERSEDED = replace(
    QUEUED,
    phase=Phase.SUPERSEDED,
    seconds=192,
    description="Superseded by deployment 8 (v1.4)",
    superseded_by=8,
    superseded_by_url=PAGE.replace("7", "8"),
    changelog=a_changelog(3, "Fix a race"),
)
ROLLBACK = replace(
    SUCCEEDED,
    origin="rollback",
    origin_label=ACTIONS["rollback"].origin,
    origin_url=PAGE,
    task="deploy:rollback",
)


@pytest.mark.parametrize(
    ("notice", "headline"),
    [
        (replace(RUNNING, phase=Phase.QUEUED), "⏳ acme/site to production queued"),
        (RUNNING, "🔄 acme/site to production in progress"),
        (HELD_BACK, "⏸️ acme/site to production on hold"),
        (replace(HELD_BACK, held=True), "✋ acme/site to production waits for a person"),
        (SUPERSEDED, "⏭️ acme/site to production superseded"),
        (replace(RUNNING, held=True), "✋ acme/site to production waits for a person"),
        (SUCCEEDED, "✅ acme/site to production succeeded in 3m12s"),
        (
            replace(SUCCEEDED, recovered=True),
            "✅ acme/site to production succeeded in 3m12s, back to green",
        ),
        (
            replace(SUCCEEDED, phase=Phase.INACTIVE),
            "✅ acme/site to production succeeded in 3m12s, replaced since",
        ),
        (FAILED, "❌ acme/site to production failed after 3m12s"),
        (replace(FAILED, held=True), "❌ acme/site to production failed after 3m12s"),
        (STOPPED, "🛑 acme/site to production stopped after 3m12s"),
        (replace(STOPPED, started=False), "⛔ acme/site to production could not run"),
        (
            replace(RUNNING, environment="eu-west"),
            "🔄 acme/site to eu-west (production) in progress",
        ),
        (
            replace(RUNNING, environment="staging", production=False),
            "🔄 acme/site to staging in progress",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_headline_shows_the_state(notice: object, headline: str) -> None:
    assert read(main_message(notice))[0] == headline  # type: ignore[arg-type]


def test_a_whole_message_reads_well() -> None:
    notice = replace(
        FAILED,
        environment_url="https://acme.io",
        changelog=a_changelog(17, "Fix a race", "Add a health check"),
    )
    assert read(main_message(offering(notice, "rollback", "retry"))) == [
        "❌ acme/site to production failed after 3m12s",
        "step 'deploy': exit code 1",
        "v1.3 @ 4f2c9d1  ·  by octocat  ·  Drone CI",
        "Deploys 17 commits:",
        "• 1bc1234 Fix a race — hubot",
        "• 2bc1234 Add a health check — hubot",
        "and 15 more",
        "Logs  ·  Environment  ·  Diff to 9a8b7c6",
        "[Retry] [Roll back] [Logs]",
    ]


def test_everything_links_to_where_it_is() -> None:
    notice = replace(
        SUCCEEDED, environment_url="https://acme.io/?a=1&b=2", changelog=a_changelog(3, "A")
    )
    text = "\n".join(text["text"] for text in mrkdwn_of(main_message(notice)))
    compare = f"{GITHUB}/compare/{BEFORE}...{SHA}"
    for link in (
        f"<{GITHUB}|acme/site>",
        f"<{GITHUB}/tree/v1.3|v1.3> @ <{GITHUB}/commit/{SHA}|4f2c9d1>",
        "<https://drone.acme.io/acme/site/41|Drone CI>",
        f"<{PAGE}|Logs>",
        "<https://acme.io/?a=1&amp;b=2|Environment>",
        f"<{compare}|Diff to 9a8b7c6>",
        f"<{GITHUB}/commit/1bc1234|1bc1234> A",
        f"<{compare}|and 2 more>",
    ):
        assert link in text


@pytest.mark.parametrize(
    ("notice", "about"),
    [
        (replace(RUNNING, ref=SHA), "4f2c9d1  ·  by octocat  ·  Drone CI"),
        (replace(RUNNING, requested_by="", tool=""), "v1.3 @ 4f2c9d1"),
        (
            replace(RUNNING, task="deploy:migrations"),
            "v1.3 @ 4f2c9d1  ·  by octocat  ·  task deploy:migrations  ·  Drone CI",
        ),
        (
            replace(
                RUNNING,
                origin="retry",
                origin_label=ACTIONS["retry"].origin,
                origin_url=PAGE,
            ),
            "retry of an earlier deployment  ·  v1.3 @ 4f2c9d1  ·  by octocat  ·  Drone CI",
        ),
        (ROLLBACK, "rollback  ·  v1.3 @ 4f2c9d1  ·  by octocat  ·  Drone CI"),
    ],
    ids=["a sha only", "nobody knows who", "another task", "retry", "rollback"],
)
def test_it_shows_what_is_deployed_by_whom_with_which_tool(notice: object, about: str) -> None:
    assert read(main_message(notice))[1] == about  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("notice", "lines"),
    [
        (replace(SUCCEEDED, previous_sha="", changelog=None), []),
        (replace(SUCCEEDED, changelog=None), []),
        (
            replace(SUCCEEDED, previous_sha=SHA),
            ["Nothing new: the same commit as the last success"],
        ),
        (
            replace(SUCCEEDED, changelog=a_changelog(1, "Fix it")),
            ["Deploys 1 commit:", "• 1bc1234 Fix it — hubot"],
        ),
        (replace(SUCCEEDED, changelog=a_changelog(4)), ["Deploys 4 commits"]),
        (
            replace(SUCCEEDED, changelog=a_changelog(300, *"abcde")),
            [
                "Deploys 300 commits:",
                *(f"• {n}bc1234 {t} — hubot" for n, t in enumerate("abcde", 1)),
                "and 295 more",
            ],
        ),
        (replace(ROLLBACK, changelog=a_changelog(0, behind=3)), ["Goes back 3 commits"]),
        (
            replace(SUCCEEDED, changelog=a_changelog(1, "Fix it", behind=1)),
            ["Deploys 1 commit and goes back 1 commit:", "• 1bc1234 Fix it — hubot"],
        ),
        (replace(STOPPED, started=False, description="", changelog=a_changelog(4, "Fix it")), []),
    ],
    ids=["first", "unknown", "same", "one", "no names", "many", "back", "both", "never ran"],
)
def test_it_shows_what_is_deployed(notice: object, lines: list[str]) -> None:
    shown = read(main_message(notice))  # type: ignore[arg-type]
    last = next(number for number, line in enumerate(shown) if line.startswith("Logs"))
    assert shown[2:last] == lines


def test_a_rollback_is_compared_from_the_newer_commit() -> None:
    notice = replace(ROLLBACK, changelog=a_changelog(0, behind=3))
    text = "\n".join(text["text"] for text in mrkdwn_of(main_message(notice)))
    assert f"<{GITHUB}/compare/{SHA}...{BEFORE}|Diff to 9a8b7c6>" in text


def test_the_thread_lists_each_entry_with_its_time() -> None:
    message = thread_reply(
        RUNNING,
        [
            new_entry("queued", "Accepted (next: drone)"),
            new_entry("in_progress", after=2),
            new_entry("in_progress", "step 'deploy' waits for approval", after=60, held=True),
            new_entry("", "Approved by hubot", after=90, actor="hubot"),
            new_entry("error", "exit code 1", after=91, actor="hubot", log_url=f"{PAGE}#log"),
            new_entry("inactive", after=92),
            new_entry("destroyed", "gone", after=93),
        ],
        broadcast=False,
    )
    assert message.text == "• acme/site to production destroyed: gone"
    assert read(message) == [
        "03:04:05 UTC  ⏳ queued: Accepted (next: drone)",
        "03:04:07 UTC  🔄 in progress",
        "03:05:05 UTC  ✋ waits for a person: step 'deploy' waits for approval",
        "03:05:35 UTC  • Approved by hubot",
        "03:05:36 UTC  🛑 stopped: exit code 1  ·  by hubot  ·  Log",
        "03:05:37 UTC  \N{HEAVY MINUS SIGN} inactive",
        "03:05:38 UTC  • destroyed: gone",
    ]
    [text] = mrkdwn_of(message)
    assert text["text"].startswith("<!date^1795316645^{time_secs}|03:04:05 UTC>  ⏳ *queued*")


def test_a_broadcast_is_understood_without_the_thread() -> None:
    entries = [new_entry("failure", FAILED.description, after=192, log_url=PAGE)]
    message = thread_reply(FAILED, entries, broadcast=True, mention="<@U0OCTOCAT>")
    assert message.text == (
        "❌ acme/site to production failed after 3m12s: step 'deploy': exit code 1 · <@U0OCTOCAT>"
    )
    assert read(message) == [
        "❌ acme/site to production failed after 3m12s · @U0OCTOCAT",
        "03:07:17 UTC  step 'deploy': exit code 1  ·  Log",
        "v1.3 @ 4f2c9d1  ·  by octocat  ·  Logs",
    ]
    assert read(thread_reply(FAILED, [], broadcast=True))[:2] == [
        "❌ acme/site to production failed after 3m12s",
        "step 'deploy': exit code 1",
    ]
    quiet = thread_reply(FAILED, [], broadcast=False)
    assert read(quiet)[0] == "❌ acme/site to production failed after 3m12s"


def test_the_newest_of_very_many_entries_are_shown() -> None:
    entries = [new_entry("in_progress", f"step {number}", after=number) for number in range(1000)]
    lines = read(thread_reply(RUNNING, entries, broadcast=False))
    assert lines[0] == "and 980 earlier entries"
    assert [line.rpartition(" ")[2] for line in lines[1:]] == [str(n) for n in range(980, 1000)]
    assert read(thread_reply(RUNNING, entries[:21], broadcast=False))[0] == "and 1 earlier entry"
    long = [new_entry("in_progress", "x" * 1000)] * 20
    assert read(thread_reply(RUNNING, long, broadcast=False))[0] == "and 14 earlier entries"


def test_an_alert_shows_everything_but_offers_no_action() -> None:
    notice = offering(replace(FAILED, changelog=a_changelog(1, "Fix a race")), "retry", "rollback")
    message = alert(notice, "<!subteam^S0ONCALL>")
    assert message.text.startswith("❌ acme/site to production failed after 3m12s: step")
    assert read(message) == [
        "❌ acme/site to production failed after 3m12s · @subteam",
        "step 'deploy': exit code 1",
        "v1.3 @ 4f2c9d1  ·  by octocat  ·  Drone CI",
        "Deploys 1 commit:",
        "• 1bc1234 Fix a race — hubot",
        "Logs  ·  Diff to 9a8b7c6",
    ]
    assert "@subteam" not in read(alert(notice))[0]


def test_messages_that_read_the_same_have_the_same_digest() -> None:
    assert digest(main_message(RUNNING)) == digest(main_message(replace(RUNNING)))
    different = [
        RUNNING,
        replace(RUNNING, description="more"),
        replace(RUNNING, run_url="https://drone.acme.io/2"),
        offering(RUNNING, "cancel"),
    ]
    assert len({digest(main_message(notice)) for notice in different}) == len(different)


def test_blocks_leave_their_ids_to_slack() -> None:
    assert all(block.block_id is None for block in main_message(FAILED).blocks)


def test_all_that_holds_it_back_has_a_line_until_when_and_the_way_out() -> None:
    lines = read(main_message(HELD_BACK))
    assert lines[1:3] == [
        "• Locked by ada: the database <!here>  ·  until Mon 23 Nov 2026, 05:00 UTC"
        "  ·  Whoever may write unlocks it: /deploy unlock acme/site production",
        "• Waits for deployment 6 (main) to end  ·  no known end",
    ]
    # Each reads the time in their own zone.
    [text] = [one["text"] for one in mrkdwn_of(main_message(HELD_BACK)) if "•" in one["text"]]
    assert "until <!date^1795410000^{date_short_pretty} at {time}|Mon 23 Nov" in text
    assert "&lt;!here&gt;" in text
    # The notification has the reasons.
    reasons = "Locked by ada: the database &lt;!here&gt;; Waits for deployment 6 (main) to end"
    assert main_message(HELD_BACK).text.endswith(f"production on hold: {reasons}")


def test_the_channel_sees_all_that_holds_back_what_waits_for_a_person() -> None:
    entries = [new_entry("queued", "Accepted"), new_entry("queued", HELD_BACK.description)]
    held = replace(HELD_BACK, held=True)
    lines = read(thread_reply(held, entries, broadcast=True, mention="<@U0OCTOCAT>"))
    assert lines[0].startswith("✋ acme/site to production waits for a person · @")
    assert "Accepted" in lines[1]
    assert [line[:20] for line in lines[2:4]] == ["• Locked by ada: the", "• Waits for deployme"]
    assert len(lines) == 5


def test_nothing_of_what_held_it_back_is_left_once_it_has_started() -> None:
    assert not [line for line in read(main_message(replace(HELD_BACK, blockers=()))) if "•" in line]


def test_a_superseded_one_names_the_newer_one_and_what_it_did_not_deploy_is_not_shown() -> None:
    lines = read(main_message(SUPERSEDED))
    assert lines[1] == "Superseded by deployment 8 (v1.4)"
    assert "Deployment 8" in lines[-1]
    assert not any("Fix a race" in line for line in lines)
    [line] = read(thread_reply(SUPERSEDED, [new_entry("inactive", "By 8")], broadcast=False))
    assert "⏭️ superseded: By 8" in line


def test_it_shows_who_answered_when_and_why() -> None:
    [shown] = [
        text["text"]
        for text in mrkdwn_of(main_message(replace(FAILED, approvals=APPROVALS)))
        if "👍" in text["text"]
    ]
    first, second = shown.splitlines()
    assert first == "👍 ada approved it, <!date^1795316645^{time_secs}|03:04:05 UTC>"
    assert second.startswith("👎 bob\N{MODIFIER LETTER LOW MACRON} rejected it, <!date^")
    star = "\N{ASTERISK OPERATOR}"
    assert second.endswith(f"|03:06:05 UTC>: {star}No{star} &lt;!here&gt;")
