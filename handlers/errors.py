"""What can go wrong in a handler, by what the relay does next.

Messages are shown to people and hold no secrets. Whoever decides something reads the class, `code`
or `status`, never the message.
"""

from datetime import datetime
from typing import ClassVar

# `Unavailable`: the call was not made, as too many calls to this tool are running.
BUSY = "busy"


class HandlerError(Exception):
    """`code` is a short name that stays the same when the message is reworded."""

    default_code: ClassVar[str] = "handler_error"

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code


class Unavailable(HandlerError):
    """Nothing was done; tried again until the deployment's deadline, not before `retry_at`."""

    default_code = "unavailable"

    def __init__(self, message: str, *, code: str = "", retry_at: datetime | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_at = retry_at


class NotReady(Unavailable):
    """No failure: the start waits for something, a build for example; `held`: for a person."""

    default_code = "not_ready"

    def __init__(self, message: str, *, held: bool = False) -> None:
        super().__init__(message)
        self.held = held


class UnknownOutcome(Unavailable):
    """It may have been done. `find` is called before anything is started again."""

    default_code = "unknown_outcome"


class Rejected(HandlerError):
    """Trying again would not help; the deployment ends as `error`.

    `status` is that of the tool's HTTP response and `reason` the tool's own text, where there is
    one.
    """

    default_code = "rejected"

    def __init__(
        self, message: str, *, code: str = "", status: int | None = None, reason: str = ""
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.reason = reason
