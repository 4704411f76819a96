"""Whom a lock holds, and what it says."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.gates.candidates import CANDIDATE, NOW
from webhook.config.destinations import Strict
from webhook.deployments.blockers import Blocker, describe
from webhook.deployments.locks import Lets, Lock, covers, duration_of, reason_of
from webhook.gates.contract import ALLOW, Candidate, Snapshot, Verdict, Wait
from webhook.gates.lock import decide

LOCK = Lock(
    id=1,
    repo_id=1,
    repo="acme/site",
    environment="production",
    owner="octocat",
    reason="database migration",
    lets=(),
    created_at=NOW,
    expires_at=NOW + timedelta(hours=2),
)


def verdict(*locks: Lock, candidate: Candidate = CANDIDATE) -> Verdict:
    return decide(Snapshot(candidate=candidate, environment=Strict(), now=NOW, locks=locks))


def test_a_lock_says_who_why_until_when_and_the_way_out() -> None:
    assert verdict() == ALLOW
    # By the name that the repository has now.
    assert verdict(LOCK) == Wait(
        reason="Locked by octocat: database migration",
        until=NOW + timedelta(hours=2),
        way_out="octocat, or /deploy unlock acme/shop production",
    )


@pytest.mark.parametrize(
    ("lets", "asker", "rolls_back", "passes"),
    [
        ((), "octocat", True, False),
        (("owner",), "OctoCat", False, True),
        (("owner",), "hubot", True, False),
        (("owner",), "", False, False),
        (("rollbacks",), "hubot", True, True),
        (("rollbacks",), "octocat", False, False),
        (("owner", "rollbacks"), "", True, True),
    ],
)
def test_whom_a_lock_lets_through(
    lets: tuple[Lets, ...], asker: str, rolls_back: bool, passes: bool
) -> None:
    candidate = replace(CANDIDATE, asker=asker, rolls_back=rolls_back)
    assert (verdict(replace(LOCK, lets=lets), candidate=candidate) == ALLOW) is passes
    # One that nobody knows the owner of lets nobody through.
    if not asker:
        unowned = replace(LOCK, lets=("owner",), owner="")
        assert verdict(unowned, candidate=replace(candidate, rolls_back=False)) != ALLOW


def test_several_locks_are_all_named_and_the_last_end_counts() -> None:
    stop = replace(LOCK, id=2, repo_id=0, repo="", environment="*", owner="hubot", reason="outage")
    later = replace(stop, expires_at=NOW + timedelta(hours=5))
    assert verdict(LOCK, later) == Wait(
        reason="Locked by octocat: database migration, and by hubot: outage",
        until=NOW + timedelta(hours=5),
        way_out="octocat, or /deploy unlock acme/shop production; hubot, or /deploy go",
    )
    never = verdict(LOCK, replace(stop, expires_at=None))
    assert isinstance(never, Wait)
    assert never.until is None
    alone = verdict(later)
    assert isinstance(alone, Wait)
    assert alone.reason == "Everything is stopped by hubot: outage"


def test_a_long_reason_leaves_room_for_the_end_and_the_way_out() -> None:
    found = verdict(replace(LOCK, reason="because " * 60))
    assert isinstance(found, Wait)
    blocker = Blocker(gate="lock", reason=found.reason, until=found.until, way_out=found.way_out)
    text = describe([blocker], NOW)
    assert len(text) <= 140
    assert text.startswith("Locked by octocat: because because")
    assert text.endswith("… (until 14:00 UTC). octocat, or /deploy unlock acme/shop production")
    both = describe([blocker, replace(blocker, until=None)], NOW)
    assert len(both) <= 140
    assert "until 14:00 UTC" in both
    assert "no known end" in both


@pytest.mark.parametrize(
    ("repo_id", "environment", "covered"),
    [
        (1, "Production", True),
        (2, "production", False),
        (0, "PROD*", True),
        (1, "*", True),
        (1, "prod", False),
        (1, "product?on", True),
    ],
)
def test_what_a_lock_covers(repo_id: int, environment: str, covered: bool) -> None:
    lock = replace(LOCK, repo_id=repo_id, environment=environment)
    assert covers(lock, 1, "pRoDuction") is covered
    # A name that looks like a pattern is that name.
    assert covers(replace(LOCK, environment="[a]"), 1, "[A]")


def test_durations_and_reasons_are_read_or_explained() -> None:
    assert duration_of("2h") == timedelta(hours=2)
    assert duration_of("3D") == timedelta(days=3)
    assert duration_of("1d1h30m") == timedelta(days=1, hours=1, minutes=30)
    for text in ("3 fortnights", "", "never", "2", "h", "-1h", "1d2", "٣d"):
        with pytest.raises(ValueError, match="is not a duration; write 30m, 2h, 1h30m or 3d"):
            duration_of(text)
    for text in ("0s", "30s", "400d", "999999h"):
        with pytest.raises(ValueError, match="out of bounds; a lock lasts 1m to 365d"):
            duration_of(text)
    assert reason_of(" two\nlines ") == "two lines"
    with pytest.raises(ValueError, match="needs a reason"):
        reason_of(" \n")
    with pytest.raises(ValueError, match="at most 500 characters, and this one has 5000"):
        reason_of("x" * 5000)
