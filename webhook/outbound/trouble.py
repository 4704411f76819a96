"""What can go wrong with a call to the outside, in the kinds that need different care."""

from datetime import UTC, datetime, timedelta

from webhook.errors import RelayError


class Later(RelayError):
    """Nothing was done; the other side wants to be asked again at `at`."""

    def __init__(self, words: str, at: datetime) -> None:
        super().__init__(words)
        self.at = at

    @classmethod
    def in_seconds(cls, words: str, seconds: float) -> "Later":
        return cls(words, datetime.now(UTC) + timedelta(seconds=seconds))


class Unsure(RelayError):
    """No answer, or a broken one: it may have been done. Look before doing it again."""


class Refused(RelayError):
    """The other side says no, and would say no again; `status` is that of its answer, if any."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


class Invalid(Refused):
    """What was sent is not to the other side's liking (422)."""


class Gone(Refused):
    """The message that is to be edited or replied to was deleted."""


class NoAccess(Refused):
    """GitHub lets the App not into that installation or repository (now)."""
