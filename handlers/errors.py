"""What can go wrong in a handler, by what the relay does next.

Messages are shown to people and hold no secrets. Whoever decides something reads the class, `code`
or `status`, never the message.
"""

from datetime import datetime
from typing import ClassVar

# `Unavailable`: the call was not made, as too many calls to this tool are running.
BUSY = "busy"
# Real servers also return these once by mistake: a replica that lags, a token that is a second old,
# a database that is busy, a permission sync that failed. They count once they have lasted.
DOUBTFUL_STATUSES = frozenset({401, 403, 404, 410, 422})


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

    def __init__(
        self, message: str, *, held: bool = False, retry_at: datetime | None = None
    ) -> None:
        super().__init__(message, retry_at=retry_at)
        self.held = held


class UnknownOutcome(Unavailable):
    """It may have been done. `find` is called before anything is started again."""

    default_code = "unknown_outcome"


class Rejected(HandlerError):
    """The tool rejects it, and did nothing; the deployment ends as `error`.

    `status` is that of the tool's HTTP response and `reason` the tool's own text, where there is
    one. `certain`: it ends at once, because the response can mean only one thing. Otherwise it is
    tried again for minutes first; that is so by default for `DOUBTFUL_STATUSES`.
    """

    default_code = "rejected"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int | None = None,
        reason: str = "",
        certain: bool | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.reason = reason
        self.certain = status not in DOUBTFUL_STATUSES if certain is None else certain
