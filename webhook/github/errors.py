"""What GitHub's answers mean for whoever asked, and in which words.

Source: docs.github.com, "Rate limits for the REST API" and "Troubleshooting the REST API".
Units: seconds. Errors: it makes those of `trouble`, and raises none.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import aiohttp
from gidgethub import GitHubBroken, HTTPException, RedirectionException

from webhook.errors import Forbidden, Invalid, Rejected, RetryAt, UnknownOutcome
from webhook.github.tokens import Scope

# GitHub: "wait for at least one minute" at a secondary limit without Retry-After.
SECONDARY_LIMIT = 60.0

# The last four: an answer that is not GitHub's, a proxy's page for example.
NO_CLEAR_ANSWER = (
    GitHubBroken,
    RedirectionException,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


def understood(error: HTTPException, now: datetime) -> RetryAt | Rejected:
    wait = _asked_to_wait(error, now)
    if wait is not None:
        return RetryAt(f"GitHub's rate limit: {error}", wait)
    words = f"GitHub answered {error.status_code.value}: {error}"
    if error.status_code == HTTPStatus.FORBIDDEN and "suspended" in words:
        return Forbidden(words)
    if error.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        return Invalid(words, error.status_code)
    return Rejected(words, error.status_code)


def _asked_to_wait(error: HTTPException, now: datetime) -> datetime | None:
    """When to come back, if this answer is one of GitHub's limits (403 or 429)."""
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


def unsure(error: Exception) -> UnknownOutcome:
    words = str(error) or type(error).__name__
    return UnknownOutcome(f"GitHub gave no clear answer ({words})")


def no_access_words(scope: Scope, refused: Rejected) -> str:
    reason = str(refused)
    if refused.status == HTTPStatus.NOT_FOUND:
        return f"GitHub does not know installation {scope.installation_id} of this App"
    if "suspended" in reason:
        return f"installation {scope.installation_id} of this App is suspended on GitHub"
    if refused.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        wanted = ", ".join(f"{name}: {level}" for name, level in scope.permissions)
        return (
            f"the App lacks a permission for {scope.repo}: give it {wanted}, accept that where it"
            " is installed, and install it there"
        )
    return reason
