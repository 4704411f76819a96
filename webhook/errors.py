"""What can go wrong in the relay, one tree. Whatever else is raised is a bug.

A message is for people: it holds no secret and says what to do. Whoever decides something reads the
class, `code` or `status`, never the message.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar, Self

from handlers.errors import DOUBTFUL_STATUSES

# `UserError`: what was sent to the relay is not what its sender documents.
MALFORMED = "malformed"
# `RetryAt`: the other side limits how often it may be called.
RATE_LIMITED = "rate_limited"
# `RetryAt`: too many calls are under way in this process.
BUSY = "busy"
# `UnknownOutcome`: no response from the store, which may have committed it.
STORE_UNAVAILABLE = "store_unavailable"
# `Rejected`: what was sent is not valid for the other side (422), or a message's form is not.
INVALID = "invalid"
# `Rejected`: no reply can be sent in that thread.
THREAD_CLOSED = "thread_closed"
# `Rejected`, `Forbidden`: why GitHub does not let the App do it.
BAD_APP_KEY = "bad_app_key"
LACKS_PERMISSION = "lacks_permission"
NOT_INSTALLED = "not_installed"
SUSPENDED = "suspended"
# `Conflict`: the job's claim has ended, so that another worker may be doing it.
CLAIM_LOST = "claim_lost"


_COME_AGAIN = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


class RelayError(Exception):
    """`code` is a short name that stays the same when the message is reworded."""

    default_code: ClassVar[str] = "relay_error"

    def __init__(self, message: str = "", *, code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code


class UserError(RelayError):
    """Something given to the relay cannot be used; the message says what to do about it."""

    default_code = "unusable"


class ConfigErrors(UserError):
    """Everything that is wrong in the configuration, one error a line."""

    default_code = "config"

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


class HttpError(RelayError):
    """A request is rejected. The view's renderer writes it: as JSON, a page, or GitHub's document.

    The message says what is wrong, `detail` more of it, `remedy` what to do. `fields` are the
    entries of `errors` in GitHub's documents. `retry_after` is in seconds. `quiet`: not logged.
    """

    def __init__(
        self,
        status: int,
        message: str,
        remedy: str = "",
        *,
        detail: str = "",
        code: str = "",
        fields: Iterable[Mapping[str, str]] = (),
        retry_after: int = 10,
        quiet: bool = False,
    ) -> None:
        super().__init__(message, code=code or HTTPStatus(status).name.lower())
        self.status = status
        self.remedy = remedy
        self.detail = detail
        self.fields = tuple(fields)
        self.retry_after = retry_after if status in _COME_AGAIN else None
        self.quiet = quiet


class BadCredentials(HttpError):
    """A signature, a key or a token is missing or wrong."""


class RetryAt(RelayError):
    """Nothing was done; it is tried again at `at`, by the machine `machine_id` if that is given.
    `urgent`: at that time precisely, however much is only waited for."""

    default_code = "retry"

    def __init__(
        self,
        message: str,
        at: datetime,
        *,
        code: str = "",
        machine_id: str = "",
        urgent: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.at = at
        self.machine_id = machine_id
        self.urgent = urgent

    @classmethod
    def in_seconds(cls, message: str, seconds: float, now: datetime, *, code: str = "") -> Self:
        return cls(message, now + timedelta(seconds=seconds), code=code)


class UnknownOutcome(RelayError):
    """No response, or an unclear one: it may have been done. Search before doing it again."""

    default_code = "unknown_outcome"


class Rejected(RelayError):
    """The other side rejects it, and did nothing; `status` is that of its response, if any.

    `certain`: it counts at once, because the response can mean only one thing. Otherwise it is
    tried again for minutes before it counts; by default so for `handlers.errors.DOUBTFUL_STATUSES`.
    """

    default_code = "rejected"

    def __init__(
        self,
        message: str,
        status: int | None = None,
        *,
        code: str = "",
        certain: bool | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.certain = status not in DOUBTFUL_STATUSES if certain is None else certain


class Gone(Rejected):
    """The message that is to be edited or replied to was deleted."""

    default_code = "gone"


class Forbidden(Rejected):
    """GitHub denies the App access to that installation or repository (now)."""

    default_code = "forbidden"


class Conflict(RelayError):
    """Another process changed the same row since it was read."""

    default_code = "conflict"


class Excluded(RelayError):
    """Another action that has begun, or is done, excludes it."""

    default_code = "excluded"
