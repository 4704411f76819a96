"""The verdicts of any gates together: none is lost, none is guessed."""

import io
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from webhook import logs
from webhook.config.destinations import Strict
from webhook.deployments.blockers import Blocker, next_end
from webhook.gates.contract import ALLOW, Allow, Candidate, Deny, Gate, Snapshot, Verdict, Wait
from webhook.gates.decision import decide

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
SNAPSHOT = Snapshot(
    candidate=Candidate(
        id=1,
        repo="acme/site",
        repo_id=1,
        environment="production",
        ref="main",
        sha="a" * 40,
        requested_at=NOW,
        asker="octocat",
        asker_id=1,
        rolls_back=False,
    ),
    environment=Strict(),
    now=NOW,
)


class BrokenError(Exception):
    pass


# What a gate answers, and whether it can be overridden.
Answer: TypeAlias = tuple[Verdict | BrokenError, bool]

times = st.none() | st.integers(-90, 90).map(lambda minutes: NOW + timedelta(minutes=minutes))
texts = st.text(max_size=20)
waits = st.builds(Wait, reason=texts, until=times, way_out=texts, for_person=st.booleans())
denials = st.builds(Deny, reason=texts, way_out=texts)
verdicts = st.just(ALLOW) | waits | denials | st.builds(BrokenError)
names = st.sampled_from(["lock", "freeze", "approval", "serialization", "quota", "weather"])
answers = st.dictionaries(names, st.tuples(verdicts, st.booleans()))


@pytest.fixture(scope="module", autouse=True)
def log() -> None:
    """Of gates that fail. By default structlog draws their local variables, which takes long."""
    logs.set_up((), io.StringIO())


def gate(name: str, answer: Answer) -> Gate:
    verdict, overridable = answer

    def decide_so(_: Snapshot) -> Verdict:
        if isinstance(verdict, BrokenError):
            raise verdict
        return verdict

    return Gate(name=name, decide=decide_so, overridable=overridable)


def decided(given_answers: dict[str, Answer], skipped: frozenset[str]) -> tuple[Blocker, ...]:
    gates = {name: gate(name, answer) for name, answer in given_answers.items()}
    return decide(SNAPSHOT, gates, skipped=skipped).blockers


def is_skipped(name: str, answer: Answer, skipped: frozenset[str]) -> bool:
    verdict, overridable = answer
    return name in skipped and overridable and not isinstance(verdict, Deny)


@settings(max_examples=40)
@given(answers, st.frozensets(names))
def test_each_gate_that_does_not_allow_is_a_blocker_and_no_other(
    given_answers: dict[str, Answer], skipped: frozenset[str]
) -> None:
    blockers = decided(given_answers, skipped)
    expected = {
        name
        for name, answer in given_answers.items()
        if not isinstance(answer[0], Allow) and not is_skipped(name, answer, skipped)
    }
    assert {one.gate for one in blockers} == expected
    assert len(blockers) == len(expected)


@settings(max_examples=40)
@given(answers, st.frozensets(names))
def test_refusals_come_first_and_nothing_skips_them(
    given_answers: dict[str, Answer], skipped: frozenset[str]
) -> None:
    gates = {name: gate(name, answer) for name, answer in given_answers.items()}
    decision = decide(SNAPSHOT, gates, skipped=skipped)
    denied = [name for name, (verdict, _) in given_answers.items() if isinstance(verdict, Deny)]
    assert [one.gate for one in decision.blockers if one.denies] == denied
    assert [one.denies for one in decision.blockers[: len(denied)]] == [True] * len(denied)
    assert decision.denied == bool(denied)


@settings(max_examples=40)
@given(answers)
def test_a_gate_that_fails_waits_without_a_known_end(given_answers: dict[str, Answer]) -> None:
    for one in decided(given_answers, frozenset()):
        verdict, _ = given_answers[one.gate]
        if isinstance(verdict, BrokenError):
            assert not one.denies
            assert one.until is None
            assert one.gate in one.reason
            assert one.way_out


@settings(max_examples=40)
@given(answers)
def test_what_a_gate_says_is_kept_as_it_is(given_answers: dict[str, Answer]) -> None:
    for one in decided(given_answers, frozenset()):
        verdict, _ = given_answers[one.gate]
        if isinstance(verdict, Wait):
            assert (one.reason, one.until, one.way_out) == (
                verdict.reason,
                verdict.until,
                verdict.way_out,
            )
            assert one.for_person == verdict.for_person
        if isinstance(verdict, Deny):
            assert (one.reason, one.way_out) == (verdict.reason, verdict.way_out)
        assert Blocker.from_json(one.to_json()) == one


@settings(max_examples=40)
@given(answers)
def test_they_are_asked_again_at_the_earliest_end(given_answers: dict[str, Answer]) -> None:
    verdicts = [verdict for verdict, _ in given_answers.values()]
    ends = [one.until for one in verdicts if isinstance(one, Wait) and one.until]
    assert next_end(decided(given_answers, frozenset())) == (min(ends) if ends else None)
