"""What the pages need."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from flask import abort, g, redirect, request

from webhook.check import Finding
from webhook.config.environments import CurrentConfig
from webhook.deployments.actions import OfferedAction
from webhook.deployments.simulation import Simulation
from webhook.engine.simulate import Subject
from webhook.errors import HttpError
from webhook.logs import Redactor
from webhook.reloading import LocalConfig
from webhook.security.signing import Links
from webhook.settings import Retention, Settings
from webhook.store.database import SyncPool
from webhook.timing import Clock
from webhook.web import paths
from webhook.web.auth.access import PermissionCache
from webhook.web.auth.forms import require_own_form
from webhook.web.auth.sessions import Sessions
from webhook.web.auth.viewer import Viewer
from webhook.web.github_calls import GitHubCalls
from webhook.web.live import Live


@dataclass(frozen=True, slots=True, kw_only=True)
class PageServices:
    """`origins`: how the deployment is called that an action of that name has created. `actions`:
    what people can request. `github`: for what a view asks GitHub itself. `redactor`: hides known
    secrets in what came from outside. `check`: what `python -m webhook check` finds. `simulate`:
    what would happen with a delivery now. `local_config`: deploy.yml as it is on disk, and as other
    processes have it. Errors: psycopg's, and `TimeoutError`."""

    pool: SyncPool
    links: Links
    clock: Clock
    config: CurrentConfig
    local_config: LocalConfig
    settings: Settings
    secret_keys: tuple[str, ...] = field(repr=False)
    origins: Mapping[str, str]
    actions: Mapping[str, OfferedAction]
    github: GitHubCalls
    permissions: PermissionCache
    sessions: Sessions
    live: Live
    redactor: Redactor
    check: Callable[[], Awaitable[Sequence[Finding]]] = field(repr=False)
    simulate: Callable[[Subject], Simulation]

    @property
    def keep(self) -> Retention:
        return self.settings.keep

    def viewer(self) -> Viewer:
        """Of this request. Errors: psycopg's."""
        if "viewer" not in g:
            session = self.sessions.read(request) if self.settings.sign_in else None
            login = session.person.login.lower() if session else ""
            operator = bool(login) and login in self.settings.admins
            g.viewer = Viewer(session, operator, self.permissions, self.sessions)
        viewer: Viewer = g.viewer
        return viewer

    def require_viewer(self) -> Viewer:
        """Who is not signed in is sent to do so, and comes back."""
        viewer = self.viewer()
        if viewer.session is None:
            self._send_to_sign_in()
        return viewer

    def require_form(self) -> Viewer:
        """Who has sent this request by a form of the relay's own. Errors: `HttpError`."""
        viewer = self.require_viewer()
        assert viewer.session is not None
        require_own_form(self.sessions, viewer.session, self.settings.server_url)
        return viewer

    def _send_to_sign_in(self) -> NoReturn:
        if not self.settings.sign_in:
            raise HttpError(
                404,
                "This relay has no pages",
                detail="Nobody can sign in: GITPLOY_GITHUB_CLIENT_SECRET is not set. A deployment's"
                " page opens by its link.",
                remedy="Open the link in a deployment's status on GitHub, or in its message in"
                " Slack.",
            )
        if request.method not in ("GET", "HEAD"):
            raise HttpError(
                401,
                "You are not signed in",
                detail="Nothing was done.",
                remedy="Sign in, open the page again, and press the button there.",
            )
        then = request.full_path.rstrip("?")
        abort(redirect(paths.with_query("/signin", next=then), 303))
