"""What can go wrong in the relay's own words. Whatever else is raised is a bug."""

from collections.abc import Iterable
from datetime import datetime, timedelta


class RelayError(Exception):
    """The root of the relay's own errors."""


class UserError(RelayError):
    """Carries words that are safe to show: no secrets, and what to do about it."""


class Excluded(RelayError):
    """What somebody else has begun or done excludes it."""


class NotAnEvent(UserError):
    """A delivery whose body is not what GitHub sends for its event."""


class ConfigErrors(UserError):
    """Several faults shown at once, one a line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class RetryAt(RelayError):
    """Nothing was done; the other side wants to be asked again at `at`."""

    def __init__(self, words: str, at: datetime) -> None:
        super().__init__(words)
        self.at = at

    @classmethod
    def in_seconds(cls, words: str, seconds: float, now: datetime) -> "RetryAt":
        return cls(words, now + timedelta(seconds=seconds))


class UnknownOutcome(RelayError):
    """No answer, or a broken one: it may have been done. Look before doing it again."""


class Rejected(RelayError):
    """The other side says no, and would say no again; `status` is that of its answer, if any."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


class Invalid(Rejected):
    """What was sent is not to the other side's liking (422)."""


class Gone(Rejected):
    """The message that is to be edited or replied to was deleted."""


class Forbidden(Rejected):
    """GitHub lets the App not into that installation or repository (now)."""
