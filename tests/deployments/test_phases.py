"""Phases go forward only, however late and unordered reports come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.deployments.phases import Phase, follows, phase_of

GITHUB_STATES = [
    "queued",
    "pending",
    "waiting",
    "in_progress",
    "success",
    "failure",
    "error",
    "inactive",
]


@pytest.mark.parametrize("state", GITHUB_STATES)
def test_every_state_of_github_is_known(state: str) -> None:
    assert phase_of(state) is not None


def test_a_new_state_of_github_changes_nothing() -> None:
    assert phase_of("abandoned") is None
    assert phase_of("seen") is None


def test_success_failure_error_inactive_and_superseded_are_final() -> None:
    assert {phase for phase in Phase if phase.final} == {
        Phase.SUCCESS,
        Phase.FAILURE,
        Phase.ERROR,
        Phase.INACTIVE,
        Phase.SUPERSEDED,
    }


def test_each_phase_of_a_requested_deployment_is_a_state_of_github() -> None:
    assert {phase.on_github for phase in Phase if phase is not Phase.SEEN} <= {*GITHUB_STATES}
    assert Phase.SUPERSEDED.on_github == "inactive"


@pytest.mark.parametrize(
    ("now", "new", "expected"),
    [
        (Phase.SEEN, Phase.QUEUED, True),
        (Phase.SEEN, Phase.SUCCESS, True),
        (Phase.QUEUED, Phase.IN_PROGRESS, True),
        (Phase.QUEUED, Phase.ERROR, True),
        (Phase.QUEUED, Phase.SUPERSEDED, True),
        (Phase.SUPERSEDED, Phase.SUCCESS, False),
        (Phase.IN_PROGRESS, Phase.FAILURE, True),
        (Phase.SUCCESS, Phase.INACTIVE, True),
        (Phase.IN_PROGRESS, Phase.QUEUED, False),
        (Phase.QUEUED, Phase.SEEN, False),
        (Phase.QUEUED, Phase.QUEUED, False),
        (Phase.FAILURE, Phase.SUCCESS, False),
        (Phase.FAILURE, Phase.INACTIVE, False),
        (Phase.SUCCESS, Phase.FAILURE, False),
        (Phase.INACTIVE, Phase.SUCCESS, False),
        (Phase.INACTIVE, Phase.INACTIVE, False),
    ],
)
def test_which_phase_may_follow_which(now: Phase, new: Phase, expected: bool) -> None:
    assert follows(now, new) is expected


@given(st.sampled_from(Phase), st.lists(st.sampled_from(GITHUB_STATES) | st.text()))
def test_no_sequence_of_reports_changes_a_final_phase(start: Phase, states: list[str]) -> None:
    passed = [start]
    for state in states:
        new = phase_of(state)
        if new is not None and follows(passed[-1], new):
            passed.append(new)
    final = [phase for phase in passed if phase.final]
    assert passed[len(passed) - len(final) :] == final
    assert final[1:] in ([], [Phase.INACTIVE])
    assert len(set(passed)) == len(passed)
