"""Who may report: a token is good for one deployment in one environment, until its end.

Source: docs.github.com, "Authenticating to the REST API". `token T`, `Bearer T`, and basic
authentication with the token as the password (or, as GitHub had it, as the user's name).
Errors: `Refusal`: 401 no token or not a good one, 404 for anything but the token's own
deployment, 403 it has ended.
"""

from flask import Request

from webhook.security.report_tokens import PREFIX, Grant, ReportTokens
from webhook.status_api.errors import Refusal, not_found
from webhook.store import deployments, timeline
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow


def grant_of(request: Request, tokens: ReportTokens) -> Grant:
    """Looks at the token only, not into the store."""
    if "Authorization" not in request.headers:
        raise Refusal(401, "Requires authentication")
    grant = tokens.read(_token(request))
    if grant is None:
        raise Refusal(401, "Bad credentials")
    return grant


def admitted(connection: Sync, grant: Grant, repo: str, *, to_write: bool) -> DeploymentRow:
    """The token's deployment; locked until the transaction ends if it is to be written to."""
    row = deployments.read_sync(connection, grant.deployment_id, lock=to_write)
    if row is None or row.repo.casefold() != repo.casefold():
        raise not_found()
    if row.environment.lower() != grant.environment:
        raise not_found()
    if row.phase.final:
        raise _ended(f" ({row.phase})")
    if timeline.reported_end(connection, row.id):
        raise _ended("")
    return row


def _ended(how: str) -> Refusal:
    return Refusal(403, f"This deployment has ended{how}; its token ended with it")


def _token(request: Request) -> str:
    given = request.authorization
    if given is None:
        return ""
    if given.type == "basic":
        password: str = given.password or ""
        return password if password.startswith(PREFIX) else given.username or ""
    return given.token or "" if given.type in ("token", "bearer") else ""
