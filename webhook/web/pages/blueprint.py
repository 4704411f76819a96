"""All pages for people: their headers, their errors, what their frame shows.

Source: developer.mozilla.org, "Referrer-Policy" (with no-referrer, browsers send `Origin: null`
with forms) and "Content-Security-Policy".
"""

from contextlib import suppress
from functools import cache
from typing import Any

import psycopg
from flask import Blueprint, Response, g, make_response, request
from werkzeug.exceptions import InternalServerError, MethodNotAllowed

from webhook import __version__
from webhook.errors import HttpError
from webhook.http import PAGE_HEADERS, PAGE_POLICY, ErrorHandling, as_page
from webhook.web import acts, paths
from webhook.web.auth import views as auth
from webhook.web.auth.viewer import not_found
from webhook.web.compression import compress
from webhook.web.navigation import navigation
from webhook.web.pages import audit, health
from webhook.web.pages.board import views as board
from webhook.web.pages.configuration import views as configuration
from webhook.web.pages.deliveries import acts as delivery_acts
from webhook.web.pages.deliveries import live as delivery_live
from webhook.web.pages.deliveries import redeliveries
from webhook.web.pages.deliveries import simulation as delivery_simulation
from webhook.web.pages.deliveries import views as deliveries
from webhook.web.pages.deployment import views as deployment
from webhook.web.pages.elements import moment
from webhook.web.pages.environment import preview_views as environment_previews
from webhook.web.pages.environment import views as environment
from webhook.web.pages.insights import views as insights
from webhook.web.requests import form_fields
from webhook.web.services import PageServices

# No account on GitHub begins with a hyphen, so no repository's pages are in the way.
STATIC_PATH = "/deployments/-/static"
STATIC_MAX_AGE = 300
_POLICY = f"{PAGE_POLICY}; script-src 'self'; connect-src 'self'; form-action 'self'"

# Each has a function `add_to(bp, services)`.
PAGES = (
    auth,
    acts,
    board,
    health,
    audit,
    configuration,
    deliveries,
    delivery_acts,
    redeliveries,
    delivery_live,
    delivery_simulation,
    environment,
    environment_previews,
    insights,
    deployment,
)


def blueprint(services: PageServices) -> Blueprint:
    bp = Blueprint(
        "pages",
        __name__,
        template_folder="../templates",
        static_folder="../static",
        static_url_path=STATIC_PATH,
    )

    @bp.app_errorhandler(404)
    def unknown(_error: Exception) -> Response:
        """Any unknown address, not only the pages'."""
        return _with_headers(as_page(_not_found(services)))

    @bp.app_errorhandler(405)
    def unopenable(error: MethodNotAllowed) -> Response:
        """A form's address, or Slack's, which somebody has opened or loaded again; machines get
        Flask's own."""
        if "text/html" not in request.headers.get("Accept", ""):
            return make_response(error)
        response = _with_headers(as_page(_not_opened(services)))
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response

    bp.app_errorhandler(500)(_failed)
    bp.add_app_template_global(_asset, "asset")

    @bp.app_context_processor
    def frame() -> dict[str, Any]:
        """Also of what other rooms render with the frame of the pages."""
        viewer = g.get("viewer")
        session = viewer.session if viewer else None
        return {
            "viewer": viewer,
            "sign_in": services.settings.sign_in,
            "form": form_fields(services.sessions, session),
            "nav": navigation(request.path, operator=viewer.named) if session else (),
            "version": __version__,
            "now": moment(services.clock()),
        }

    @bp.after_request
    def finish(response: Response) -> Response:
        viewer = g.get("viewer")
        if viewer is not None and viewer.signed_in is not None and response.status_code == 200:
            services.sessions.refresh(viewer.signed_in, response)
        return compress(request, _with_headers(response))

    bp.before_request(_reject_nul)
    for page in PAGES:
        page.add_to(bp, services)
    return bp


@cache
def _asset(name: str) -> str:
    """The version makes a new release's files new to browsers."""
    return paths.with_query(f"{STATIC_PATH}/{name}", v=__version__)


def _reject_nul() -> None:
    """No name has one, and PostgreSQL takes none: it would seem to be away."""
    if "\0" in request.path:
        raise not_found()


def _not_found(services: PageServices) -> HttpError:
    """Who has signed in keeps the way to the other pages."""
    if _signed_in(services):
        return not_found()
    return HttpError(
        404,
        "There is nothing at this address",
        detail="A deployment's page opens by its link, or for who has signed in and may read its"
        " repository.",
        remedy="Open the link in a deployment's status on GitHub or in its message in Slack, or"
        " start from the board.",
    )


def _not_opened(services: PageServices) -> HttpError:
    _signed_in(services)
    return HttpError(
        405,
        "This address cannot be opened",
        detail="It takes only what a button, or Slack, sends to it. Nothing was done.",
        remedy="If a button has led here, go back to its page, and press it there.",
    )


def _signed_in(services: PageServices) -> bool:
    """Also finds out who looks at the page, for its frame."""
    with suppress(psycopg.Error, TimeoutError):
        return services.viewer().session is not None
    return False


def _failed(error: InternalServerError) -> Response:
    """A bug, which Flask has logged. Only people get a page."""
    if "text/html" not in request.headers.get("Accept", ""):
        return make_response(error)
    shown = HttpError(
        500,
        "The relay could not show this page",
        detail="That is a mistake of its own. Deployments go on.",
        remedy="Load the page again. If it happens again, whoever runs the relay finds the cause in"
        " its log, and can report it.",
    )
    return _with_headers(as_page(shown))


def _with_headers(response: Response) -> Response:
    response.headers.update(PAGE_HEADERS)
    response.headers["Content-Security-Policy"] = _POLICY
    if request.endpoint == "pages.static" and response.status_code in (200, 206, 304):
        response.headers["Cache-Control"] = f"public, max-age={STATIC_MAX_AGE}"
    return response


ERRORS = ErrorHandling(
    as_page,
    HttpError(
        503,
        "The relay cannot look it up now",
        detail="Its store does not respond. Deployments go on as soon as it does; nothing is lost.",
        remedy="Try again in a minute. Whoever runs the relay finds the cause under /readyz.",
    ),
)
