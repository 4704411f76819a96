"""Drift: the numbers of successes that follow each other add up, and nothing else is guessed."""

import pytest

from webhook.deployments.drift import Drift, Success, drift


def success(sha: str, since: str = "", total: int = 0, behind: int = 0) -> Success:
    return Success(sha, since, total, behind)


STAGING = [success("d", "c", 2), success("c", "b", 3), success("b", "a", 1), success("a")]


@pytest.mark.parametrize(
    ("own", "there", "expected"),
    [
        ("c", STAGING, (2, 0)),
        ("b", STAGING, (5, 0)),
        ("a", STAGING, (6, 0)),
        ("z", STAGING, None),
        # The same commit again, and a commit that was tried and taken back.
        ("c", [success("d"), *STAGING], (2, 0)),
        ("c", [success("b", "c", 0, 3), *STAGING[1:]], (0, 3)),
        ("b", [success("d", "c", 2), success("c", "b", 1, 4)], None),
        # One of them was never compared.
        ("b", [success("d", "c", 2), success("c"), success("b")], None),
    ],
)
def test_what_one_lacks_of_the_other(
    own: str, there: list[Success], expected: tuple[int, int] | None
) -> None:
    lacks, ahead = expected or (None, None)
    assert drift("staging", [success(own)], there) == Drift("staging", lacks, ahead)


def test_it_may_be_ahead_and_a_waiting_deployment_knows_it_exactly() -> None:
    here = [success("e", "d", 1), success("d", "c", 2)]
    assert drift("staging", here, [success("d")]) == Drift("staging", 0, 1)
    newest = success("x", "y", 4, 2)
    assert drift("staging", [success("y")], [success("x")], [newest]) == Drift("staging", 4, 2)


def test_it_is_said_in_a_phrase() -> None:
    texts = [Drift("staging", *numbers).text for numbers in ((1, 0), (0, 2), (3, 1), (None, None))]
    assert texts == [
        "1 commit behind staging",
        "2 commits ahead of staging",
        "3 commits behind, 1 commit ahead of staging",
        "differs from staging",
    ]
