"""The pages for people: one deployment, behind a signed link, read-only.

Errors: 403 the link does not open it, 404 unknown, 503 the store is away; each a page that says
what to do.
"""

import re
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from flask import Blueprint, Response, current_app, make_response, render_template, request, url_for
from jinja2 import Environment

from webhook import __version__
from webhook.security.links import LINK_DAYS, Links
from webhook.store.database import Sync, SyncPool
from webhook.timing import Clock, utc_now
from webhook.web import stream as live
from webhook.web.pages.deployment import Known, present
from webhook.web.stream import Live, News, Pace

log = structlog.get_logger()

# No account on GitHub begins with a hyphen, so no repository's pages are in the way.
STATIC_PATH = "/deployments/-/static"
STATIC_MAX_AGE = 300
RETRY_AFTER = 10
# The parts of the page that change while it is open: macros of parts.html, ids in the page.
PARTS = ("state", "timing", "facts", "steps", "slack", "silence")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    # The key is in the URL.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_OFFSET = re.compile(r"[0-9]{1,15}", re.ASCII)


# Not frozen: leaving a `with` sets an exception's traceback.
@dataclass(eq=False)
class Problem(Exception):
    status: int
    title: str
    words: str
    remedy: str

    def answer(self) -> Response:
        return problem(self.status, self.title, self.words, self.remedy)


def problem(status: int, title: str, words: str, remedy: str) -> Response:
    """An error page: what happened, and what to do about it."""
    page = render_template("error.html", status=status, title=title, words=words, remedy=remedy)
    return make_response(page, status)


def blueprint(
    pool: SyncPool, links: Links, pace: Pace | None = None, clock: Clock = utc_now
) -> Blueprint:
    people = Blueprint(
        "people",
        __name__,
        template_folder="../templates",
        static_folder="../static",
        static_url_path=STATIC_PATH,
    )
    watching = Live(pool, pace or Pace(), clock)
    people.register_error_handler(Problem, Problem.answer)
    people.register_error_handler(psycopg.Error, _store_is_away)
    people.app_errorhandler(404)(_not_here)
    people.after_request(_with_headers)
    people.add_app_template_global(_asset, "asset")

    @people.get("/deployments/<owner>/<name>/<int:deployment_id>")
    def deployment(owner: str, name: str, deployment_id: int) -> str:
        _admit(links, deployment_id)
        with pool.connection() as connection:
            known = _known(connection, f"{owner}/{name}", deployment_id)
            printed = live.printed(connection, known)
        page = present(known, clock())
        return render_template("deployment.html", page=page, printed=printed, link_days=LINK_DAYS)

    @people.get("/deployments/<owner>/<name>/<int:deployment_id>/events")
    def events(owner: str, name: str, deployment_id: int) -> Response:
        _admit(links, deployment_id)
        with pool.connection() as connection:
            _known(connection, f"{owner}/{name}", deployment_id)
        stream = watching.events(deployment_id, _offset(), _news(current_app.jinja_env, clock))
        # Proxies must not collect what is to be seen at once. Source: nginx, X-Accel-Buffering.
        headers = {"X-Accel-Buffering": "no"}
        return Response(stream, mimetype="text/event-stream", headers=headers)

    return people


def _asset(name: str) -> str:
    """The version makes a new release's files new to browsers."""
    return url_for("people.static", filename=name, v=__version__)


def _admit(links: Links, deployment_id: int) -> None:
    if not links.opens(request.args.get("key", ""), deployment_id):
        raise Problem(
            403,
            "This link does not open the page",
            "It is incomplete, belongs to another deployment, or has expired: a link opens its page"
            f" for {LINK_DAYS} days at least.",
            "Open the newest link from GitHub's deployment status or from Slack.",
        )


def _known(connection: Sync, repo: str, deployment_id: int) -> Known:
    known = live.read(connection, deployment_id)
    if known is None or known.row.repo.casefold() != repo.casefold():
        raise Problem(
            404,
            "There is no such deployment",
            f"This relay knows no deployment {deployment_id} of {repo}.",
            "Open the newest link from GitHub's deployment status or from Slack. If the repository"
            " was renamed, the link carries its old name.",
        )
    return known


def _offset() -> int:
    """Where the browser is: what it says when it comes back, else what the page began with."""
    given = request.headers.get("Last-Event-ID") or request.args.get("from", "")
    return int(given) if _OFFSET.fullmatch(given) else 0


def _news(templates: Environment, clock: Clock) -> News:
    parts = templates.get_template("parts.html").module

    def news(known: Known) -> dict[str, Any]:
        page = present(known, clock())
        changed = {name: str(getattr(parts, name)(page)) for name in PARTS}
        return {"title": page.title, "tone": page.label.kind, "parts": changed}

    return news


def _not_here(_error: Exception) -> Response:
    """Any address that nobody serves, so not only the pages'."""
    return _with_headers(
        problem(
            404,
            "There is nothing at this address",
            "The relay shows one page for each deployment, and only to those who have its link.",
            "Open the link in a deployment's status on GitHub, or in its message in Slack.",
        )
    )


def _store_is_away(error: psycopg.Error) -> Response:
    log.error("a page cannot be shown, the store is away", trouble=type(error).__name__)
    response = problem(
        503,
        "The relay cannot look it up now",
        "Its store does not answer. Deployments go on as soon as it does; nothing is lost.",
        "Try again in a minute. Whoever runs the relay finds the cause under /readyz.",
    )
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _with_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    is_file = request.endpoint == "people.static" and response.status_code in (200, 206, 304)
    kept = f"public, max-age={STATIC_MAX_AGE}"
    response.headers["Cache-Control"] = kept if is_file else "no-store"
    return response
