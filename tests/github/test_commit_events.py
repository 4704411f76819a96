"""Pushes and what is reported of commits, as the relay reads them."""

from typing import Any

import pytest

from sandbox.github.webhooks import encoded
from webhook.github.commit_events import NO_COMMIT, CommitReported, Pushed
from webhook.github.events import Ignored, parse

SHA, TAG = "a" * 40, "b" * 40
REPOSITORY = {"id": 7, "full_name": "acme/site", "html_url": "https://github.com/acme/site"}


def push(message: str = "One", **fields: Any) -> Pushed:
    body = {
        "ref": "refs/heads/main",
        "after": SHA,
        "deleted": False,
        "head_commit": {"id": SHA, "message": message},
        "repository": {**REPOSITORY, "default_branch": "main"},
        "installation": {"id": 9},
        "sender": {"login": "octocat", "id": 5, "type": "User"},
        **fields,
    }
    event = parse("push", encoded(body))
    assert isinstance(event, Pushed)
    return event


def test_a_push_is_of_a_commit_by_a_person() -> None:
    event = push()
    assert (event.sha, event.sender, event.sender_id) == (SHA, "octocat", 5)
    assert event.changes_default_branch
    assert not push(ref="refs/heads/topic").changes_default_branch
    assert push(ref="refs/tags/v1", after=TAG).sha == SHA
    assert push(deleted=True, after=NO_COMMIT, head_commit=None).sha == ""
    bot = push(sender={"login": "dependabot[bot]", "id": 6, "type": "Bot"})
    assert (bot.sender, bot.sender_id) == ("dependabot[bot]", 0)
    assert push(sender=None).sender == ""


@pytest.mark.parametrize(
    ("message", "deployment", "checks"),
    [
        ("Fix\n\n[Skip Deploy]", "[Skip Deploy]", ""),
        ("[deploy skip] [skip ci]", "[deploy skip]", "[skip ci]"),
        ("One\n\nskip-checks: true", "", "skip-checks: true"),
        ("Skip deploy of the skip-checks: true line", "", ""),
    ],
)
def test_markers_are_found_anywhere_in_the_message(
    message: str, deployment: str, checks: str
) -> None:
    event = push(message)
    assert (event.skips_deployment, event.skips_checks) == (deployment, checks)


def test_of_checks_only_the_end_is_news() -> None:
    common = {"repository": REPOSITORY, "installation": {"id": 9}}
    run = {"head_sha": SHA, "name": "build"}
    for event, body, context in (
        ("status", {"sha": SHA, "context": "ci/lint"}, "ci/lint"),
        ("check_run", {"action": "completed", "check_run": run}, "build"),
        ("check_suite", {"action": "completed", "check_suite": {"head_sha": SHA}}, ""),
    ):
        reported = parse(event, encoded({**common, **body}))
        assert isinstance(reported, CommitReported)
        assert (reported.sha, reported.context) == (SHA, context)
    assert isinstance(parse("check_run", encoded({"action": "created"})), Ignored)
