"""Errors are distinguished by class and code, not by their messages."""

import pytest

from handlers import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.HandlerError("x"), "handler_error"),
        (errors.Unavailable("x"), "unavailable"),
        (errors.NotReady("x"), "not_ready"),
        (errors.UnknownOutcome("x"), "unknown_outcome"),
        (errors.Rejected("x"), "rejected"),
        (errors.Unavailable("x", code=errors.BUSY), "busy"),
    ],
)
def test_every_error_has_a_code(error: errors.HandlerError, code: str) -> None:
    assert (error.code, str(error)) == (code, "x")


def test_there_are_no_others() -> None:
    found = {errors.HandlerError}
    while more := {sub for error in found for sub in error.__subclasses__()} - found:
        found |= more
    assert {error.__name__ for error in found} == {
        "HandlerError",
        "Unavailable",
        "NotReady",
        "UnknownOutcome",
        "Rejected",
    }
