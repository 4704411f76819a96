"""GitHub's error responses as the relay's errors. GitHub has no codes for some of them, so its
messages are read here, and nowhere else.

Source: docs.github.com, "Rate limits for the REST API" and "Troubleshooting the REST API".
Units: seconds. The functions return errors and raise none.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import aiohttp
from gidgethub import GitHubBroken, HTTPException, RedirectionException

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
            return Forbidden(message, code=SUSPENDED)
        case HTTPStatus.FORBIDDEN if "not accessible" in reason:
            return Rejected(message, status, code=LACKS_PERMISSION)
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return Rejected(message, status, code=INVALID)
    return Rejected(message, status)


def _retry_at(error: HTTPException, now: datetime) -> datetime | None:
    """When to come back, if this response is one of GitHub's limits (403 or 429)."""
    if error.status_code not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    headers = error.headers
    if headers.get("retry-after", "").isdigit():
        return now + timedelta(seconds=int(headers["retry-after"]))
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset"):
        return datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), UTC)
    limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
    if limited or "secondary rate limit" in str(error):
        return now + timedelta(seconds=SECONDARY_LIMIT)
    return None


def unclear(error: Exception) -> UnknownOutcome:
    reason = str(error) or type(error).__name__
    return UnknownOutcome(f"GitHub gave no clear response ({reason})")


def bad_app_key(error: HTTPException) -> Forbidden:
    return Forbidden(f"GitHub rejects the App's key: {error}", code=BAD_APP_KEY)


def no_token(scope: Scope, error: Rejected) -> Forbidden:
    """Why GitHub gives the App no token for `scope`."""
    if error.status == HTTPStatus.NOT_FOUND:
        message = f"GitHub does not know installation {scope.installation_id} of this App"
        return Forbidden(message, code=NOT_INSTALLED)
    if error.code == SUSPENDED:
        message = f"installation {scope.installation_id} of this App is suspended on GitHub"
        return Forbidden(message, code=SUSPENDED)
    if error.code == INVALID:
        missing = ", ".join(f"{name}: {level}" for name, level in scope.permissions)
        message = (
            f"the App lacks a permission for {scope.repo}: give it {missing}, accept that where it"
            " is installed, and install it there"
        )
        return Forbidden(message, code=LACKS_PERMISSION)
    return Forbidden(str(error), code=error.code)
