"""The gate of approvals: whose yes counts, how many are needed, what a no does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.config.test_load import error_in_env
from webhook.deployments.approvals import Approval
from webhook.gates.approval import ApprovalKeys, Review, decide
from webhook.gates.contract import ALLOW, Allow, Candidate, Deny, Snapshot, Verdict, Wait

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC)
SHA = "4f2c9d1e8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d"
ASKED = Candidate(
    id=20,
    repo="acme/site",
    repo_id=7,
    environment="production",
    ref="main",
    sha=SHA,
    requested_at=NOW,
    asker="mona",
    asker_id=1,
    rolls_back=False,
)
BY_A_BOT = replace(ASKED, asker="", asker_id=0)
IDS = {"mona": 1, "ada": 2, "bob": 3, "cy": 4}


def policy(**keys: Any) -> Review:
    return Review.model_validate({"enabled": True, "reviewers": ["ada", "bob"], **keys})


def answer(who: str, review: Review, *, approved: bool = True, **columns: Any) -> Approval:
    values = {
        "id": 1,
        "deployment_id": 20,
        "sha": SHA,
        "policy": review.digest,
        "user_id": IDS[who],
        "login": who,
        "approved": approved,
        "comment": "",
        "at": NOW,
        **columns,
    }
    return Approval(**values)


def verdict(review: Review, *given: Approval, candidate: Candidate = ASKED) -> Verdict:
    """The answers in their order."""
    approvals = tuple(replace(one, id=number) for number, one in enumerate(given, 1))
    environment = ApprovalKeys(review=review)
    return decide(
        Snapshot(candidate=candidate, environment=environment, now=NOW, approvals=approvals)
    )


def waits(found: Verdict) -> str:
    assert isinstance(found, Wait)
    assert found.for_person
    return found.reason


def denied(found: Verdict) -> str:
    assert isinstance(found, Deny)
    return found.reason


def test_without_a_review_nobody_is_asked() -> None:
    assert verdict(policy(enabled=False)) == ALLOW
    assert decide(Snapshot(candidate=ASKED, environment=ApprovalKeys(), now=NOW)) == ALLOW


def test_enough_people_have_to_approve_each_counting_once() -> None:
    review = policy(count=2, teams=["platform"])
    first = verdict(review)
    assert waits(first) == "Waits for approval: 0 of 2"
    assert isinstance(first, Wait)
    assert first.way_out == "Reviewers: ada, bob, team acme/platform"
    assert first.asks == ("ada", "bob", "acme/platform")
    again = verdict(review, answer("ada", review), answer("ada", review, login="renamed"))
    assert waits(again).startswith("Waits for approval: 1 of 2 (ada approved")
    assert isinstance(again, Wait)
    assert again.asks == ("bob", "acme/platform")
    assert verdict(review, answer("ada", review), answer("cy", review)) == ALLOW


def test_nobody_approves_what_they_asked_for_unless_self_allows_it() -> None:
    review = policy(reviewers=["Mona", "ada"])
    assert waits(verdict(review, answer("mona", review))) == "Waits for approval: 0 of 1"
    # By the account's number too, whatever it is called by now.
    assert isinstance(verdict(review, answer("mona", review, login="renamed")), Wait)
    allowed = policy(reviewers=["Mona", "ada"], self=True)
    assert verdict(allowed, answer("mona", allowed)) == ALLOW


def test_one_more_is_needed_where_nobody_knows_who_asked() -> None:
    review = policy(reviewers=["ada", "bob", "cy"], count=2)
    yes = [answer(login, review) for login in ("ada", "bob", "cy")]
    reason = "Waits for approval: 2 of 3 (ada, bob approved; one more, as nobody knows who asked)"
    assert waits(verdict(review, *yes[:2], candidate=BY_A_BOT)) == reason
    assert verdict(review, *yes, candidate=BY_A_BOT) == ALLOW
    own = policy(self=True)
    assert verdict(own, answer("ada", own), candidate=BY_A_BOT) == ALLOW


@pytest.mark.parametrize(
    ("keys", "candidate", "reason"),
    [
        ({"reviewers": ["mona"]}, ASKED, "1 approval, and nobody may give one: mona asked for it"),
        (
            {"reviewers": ["mona", "ada"], "count": 2},
            ASKED,
            "2 approvals, and only 1 may give one: mona asked for it",
        ),
        (
            {"count": 2},
            BY_A_BOT,
            "3 approvals, as nobody knows who asked for it, and only 2 may give one",
        ),
    ],
)
def test_what_nobody_can_approve_is_denied_at_once(
    keys: dict[str, Any], candidate: Candidate, reason: str
) -> None:
    assert denied(verdict(policy(**keys), candidate=candidate)) == f"Needs {reason}"
    with_team = policy(**keys, teams=["acme/platform"])
    assert isinstance(verdict(with_team, candidate=candidate), Wait)


def test_one_no_ends_it_whatever_others_say() -> None:
    review = policy()
    no = answer("bob", review, approved=False, comment="the migration is missing")
    for given in ([no], [answer("ada", review), no], [no, answer("ada", review)]):
        assert denied(verdict(review, *given)) == "Rejected by bob: the migration is missing"
    # A no does not lapse with the policy: it lets nothing start.
    assert denied(verdict(policy(count=2), no)).startswith("Rejected by bob")


def test_an_answer_counts_for_its_deployment_commit_policy_and_a_known_account() -> None:
    review = policy()
    for other in (
        {"deployment_id": 19},
        {"sha": SHA[::-1]},
        {"policy": policy(reviewers=["ada", "cy"]).digest},
        {"user_id": 0},
    ):
        assert isinstance(verdict(review, answer("ada", review, **other)), Wait), other
    old = answer("ada", policy(count=2))
    assert waits(verdict(review, old)) == "Waits for approval: 0 of 1 (1 void by now)"


def test_the_digest_is_that_of_what_the_policy_means() -> None:
    review = policy(teams=["acme/Platform"])
    same = policy(reviewers=["BOB", "ada"], teams=["Acme/platform"])
    assert review.digest == same.digest
    others: list[dict[str, Any]] = [
        {"reviewers": ["ada"]},
        {"teams": []},
        {"count": 2},
        {"self": True},
        {"expires": "1h"},
        {"same_commit": "reuse"},
    ]
    found = {policy(**{"teams": ["acme/Platform"], **one}).digest for one in others}
    assert len(found - {review.digest}) == len(others)


def test_an_approval_expires() -> None:
    review = policy(expires="2h")
    at = NOW - timedelta(hours=2)
    assert verdict(review, answer("ada", review, at=at + timedelta(seconds=1))) == ALLOW
    assert isinstance(verdict(review, answer("ada", review, at=at)), Wait)
    lasting = policy()
    assert verdict(lasting, answer("ada", lasting, at=NOW - timedelta(days=20))) == ALLOW


def test_an_approval_of_an_earlier_deployment_of_the_commit_can_be_reused() -> None:
    review = policy(same_commit="reuse")
    earlier = answer("ada", review, deployment_id=10)
    assert verdict(review, earlier) == ALLOW
    lapsed = replace(earlier, at=NOW - timedelta(hours=24))
    longer = policy(same_commit="reuse", expires="48h")
    no = answer("bob", review, deployment_id=15, approved=False)
    asked_now = replace(ASKED, asker="ada", asker_id=2)
    for given, candidate in (
        ([lapsed], ASKED),
        ([replace(earlier, deployment_id=21)], ASKED),
        ([replace(earlier, sha=SHA[::-1])], ASKED),
        ([earlier, no], ASKED),  # a no voids what was approved before
        ([earlier], asked_now),
    ):
        assert isinstance(verdict(review, *given, candidate=candidate), Wait)
    assert verdict(review, no, earlier) == ALLOW
    assert isinstance(verdict(longer, replace(lapsed, policy=longer.digest)), Allow)


@pytest.mark.parametrize(
    ("review", "error"),
    [
        ("{enabled: true}", "4:11: envs[0].review: names nobody who may approve; add `reviewers` "
         "or `teams`"),
        ("{enabled: true, reviewers: [a, A, b], count: 3}", "4:56: envs[0].review.count: '3' is "
         "more than there are reviewers (2); name more, or `teams`"),
        ("{count: 0}", "4:19: envs[0].review.count: '0' is too few; at least 1 has to approve"),
        ("{reviewers: ['@ada']}", "4:24: envs[0].review.reviewers[0]: '@ada' is not a GitHub "
         "login; write it without @, as in octocat"),
        ("{reviewers: [acme/sre]}", "4:24: envs[0].review.reviewers[0]: 'acme/sre' is not a "
         "GitHub login; a team goes into `teams`"),
        ("{teams: ['@acme/sre']}", "4:20: envs[0].review.teams[0]: '@acme/sre' is not a team; "
         "write organization/team, as in the URL of the team's page"),
        ("{expires: soon}", "4:21: envs[0].review.expires: 'soon' is not a duration; write 30s, "
         "30m, 2h or 1h30m"),
        ("{expires: 1s}", "4:21: envs[0].review.expires: '1s' is too short; an approval lasts for "
         "1m at least"),
        ("{same_commit: keep}", "4:25: envs[0].review.same_commit: 'keep' cannot be here; write "
         "reuse"),
        ("{reviewer: ada}", "4:12: envs[0].review.reviewer: is not a key; known here: count, "
         "enabled, expires, reviewers, same_commit, self, teams; did you mean 'reviewers'?"),
        ("[ada]", "4:11: envs[0].review: must have keys with values"),
    ],
)  # fmt: skip
def test_each_error_in_a_review_has_its_place_and_remedy(review: str, error: str) -> None:
    assert error_in_env(f"  review: {review}") == error
