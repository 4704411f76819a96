"""What GitHub's errors mean.

Source: docs.github.com, "Rate limits for the REST API" and "Troubleshooting the REST API".
Units: seconds. GitHub has no codes for some of its errors, so its messages are read here.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import aiohttp
from gidgethub import (
    GitHubBroken,
    HTTPException,
    InvalidField,
    RedirectionException,
    ValidationError,
)

from webhook.errors import (
    BAD_APP_KEY,
    INVALID,
    LACKS_PERMISSION,
    NOT_INSTALLED,
    SUSPENDED,
    Forbidden,
    Rejected,
    RetryAt,
    UnknownOutcome,
)
from webhook.github.tokens import Scope

# GitHub: "wait for at least one minute" at a secondary limit without Retry-After.
SECONDARY_LIMIT = 60.0
# Its messages then; the second is an Enterprise Server's.
SECONDARY_LIMIT_MESSAGES = ("secondary rate limit", "abuse detection mechanism")

# A 422 without a list of errors that is about the request itself nevertheless.
UNKNOWN_REF = "No ref found"

# No connection, or none that lasted: GitHub may be unable to reach the relay, too.
UNREACHABLE = (aiohttp.ClientConnectionError, TimeoutError)
# The last four: a response that is not GitHub's, a proxy's page for example.
UNCLEAR_RESPONSE = (
    GitHubBroken,
    RedirectionException,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


def from_response(error: HTTPException, now: datetime) -> RetryAt | Rejected:
    retry_at = _retry_at(error, now)
    if retry_at is not None:
        return RetryAt(f"GitHub's rate limit: {error}", retry_at)
    reason, status = str(error), error.status_code
    message = f"GitHub returned {status.value}: {reason}"
    match status:
        case HTTPStatus.FORBIDDEN if "suspended" in reason:
            return Forbidden(message, status, code=SUSPENDED, certain=True)
        case HTTPStatus.FORBIDDEN if "not accessible" in reason:
            return Rejected(message, status, code=LACKS_PERMISSION)
        case HTTPStatus.UNPROCESSABLE_ENTITY if "permissions requested" in reason:
            return Rejected(message, status, code=LACKS_PERMISSION)
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            listed = isinstance(error, InvalidField | ValidationError) and bool(error.errors)
            certain = listed or reason.startswith(UNKNOWN_REF)
            return Rejected(message, status, code=INVALID, certain=certain)
    return Rejected(message, status)


def _retry_at(error: HTTPException, now: datetime) -> datetime | None:
    """When to come back, if this response is one of GitHub's limits (403 or 429)."""
    if error.status_code not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    headers = error.headers
    if headers.get("retry-after", "").isdecimal():
        return now + timedelta(seconds=int(headers["retry-after"]))
    if headers.get("x-ratelimit-remaining") == "0" and (
        headers.get("x-ratelimit-reset", "").isdecimal()
    ):
        return datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), UTC)
    limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
    if limited or any(one in str(error).lower() for one in SECONDARY_LIMIT_MESSAGES):
        return now + timedelta(seconds=SECONDARY_LIMIT)
    return None


def unclear(error: Exception) -> UnknownOutcome:
    reason = str(error) or type(error).__name__
    return UnknownOutcome(f"GitHub gave no clear response ({reason})")


def bad_app_key(error: HTTPException, clock_error: str) -> Forbidden:
    message = f"GitHub rejects the App's key: {error}"
    if clock_error:
        message += f" ({clock_error}: set it, or let NTP do so)"
    return Forbidden(message, error.status_code, code=BAD_APP_KEY)


def no_token(scope: Scope, error: Rejected) -> Forbidden:
    """Why GitHub gives the App no token for `scope`."""
    if error.status == HTTPStatus.NOT_FOUND:
        message = f"GitHub does not know installation {scope.installation_id} of this App"
        return Forbidden(message, error.status, code=NOT_INSTALLED)
    if error.code == SUSPENDED:
        message = f"installation {scope.installation_id} of this App is suspended on GitHub"
        return Forbidden(message, error.status, code=SUSPENDED, certain=True)
    if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        missing = ", ".join(f"{name}: {level}" for name, level in scope.permissions)
        message = (
            f"the App lacks a permission for {scope.repo}: give it {missing}, accept that where it"
            " is installed, and install it there"
        )
        return Forbidden(message, error.status, code=LACKS_PERMISSION)
    return Forbidden(str(error), error.status, code=error.code)


def may_have_moved(scope: Scope, error: Rejected) -> bool:
    """Only where the repository is known by its ID: another may have taken its name."""
    doubtful = error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
    return bool(scope.repo_id) and doubtful and error.code != LACKS_PERMISSION
