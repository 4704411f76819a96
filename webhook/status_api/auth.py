"""Who may report: a token is good for one deployment in one environment, until its end.

Source: docs.github.com, "Authenticating to the REST API". `token T`, `Bearer T`, and basic
authentication with the token as the password (or, as GitHub had it, as the user's name).
Errors: `HttpError`: 401 no token or an invalid one, 404 for anything but the token's own
deployment, 403 it has ended.
"""

from flask import Request

from webhook.errors import HttpError
from webhook.security.signing import REPORT_PREFIX, ReportClaims, ReportTokens
from webhook.store import deployments, timeline
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow


def claims_of(request: Request, tokens: ReportTokens) -> ReportClaims:
    """Reads the token only, not the store."""
    if "Authorization" not in request.headers:
        raise HttpError(401, "Requires authentication")
    claims = tokens.read(_token(request))
    if claims is None:
        raise HttpError(401, "Bad credentials")
    return claims


def authorize(
    connection: Sync, claims: ReportClaims, repo: str, *, for_write: bool
) -> DeploymentRow:
    """The token's deployment; for a write it is locked until the transaction ends."""
    row = deployments.read_sync(connection, claims.deployment_id, lock=for_write)
    if row is None or row.repo.casefold() != repo.casefold():
        raise not_found()
    if row.environment.lower() != claims.environment:
        raise not_found()
    if row.phase.final:
        raise _ended(f" ({row.phase})")
    if timeline.reported_end(connection, row.id):
        raise _ended("")
    return row


def not_found() -> HttpError:
    """The same for what the token does not cover and for what does not exist."""
    return HttpError(404, "Not Found")


def _ended(how: str) -> HttpError:
    return HttpError(403, f"This deployment has ended{how}; its token ended with it")


def _token(request: Request) -> str:
    given = request.authorization
    if given is None:
        return ""
    if given.type == "basic":
        password: str = given.password or ""
        return password if password.startswith(REPORT_PREFIX) else given.username or ""
    return given.token or "" if given.type in ("token", "bearer") else ""
