"""What can go wrong in the relay's own words. Whatever else is raised is a bug."""

from collections.abc import Iterable


class RelayError(Exception):
    """The root of the relay's own errors."""


class UserError(RelayError):
    """Carries words that are safe to show: no secrets, and what to do about it."""


class Excluded(RelayError):
    """What somebody else has begun or done excludes it."""


class NotAnEvent(UserError):
    """A delivery whose body is not what GitHub sends for its event."""


class Faults(UserError):
    """Several faults shown at once, one a line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))
