"""What can go wrong with a tool, by the care that it needs. The words are for people."""

from datetime import datetime


class Unavailable(Exception):
    """The tool did not answer, or asked to be left alone for a while; worth another try.

    Nothing was done.
    """

    def __init__(self, words: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(words)
        self.retry_at = retry_at


class NotReady(Unavailable):
    """Nothing is wrong: what the start needs, a build for example, is still to come; `held`: from a
    person."""

    def __init__(self, words: str, *, held: bool = False) -> None:
        super().__init__(words)
        self.held = held


class Busy(Unavailable):
    """It was not even asked: enough calls are under way from here."""


class UnknownOutcome(Unavailable):
    """No answer, or a broken one: it may have been done."""


class Rejected(Exception):
    """The tool refuses this deployment; trying again would not help.

    `status` is that of its HTTP answer, where there was one.
    """

    def __init__(self, words: str, *, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status
