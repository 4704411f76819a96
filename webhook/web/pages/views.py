"""The pages for people: one deployment, behind a signed link, read-only.

Errors: 403 the link does not open it, 404 unknown, 503 the store does not respond; each a page that
says what to do.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, current_app, render_template, request, url_for
from jinja2 import Environment

from webhook import __version__
from webhook.config.environments import CurrentConfig
from webhook.config.routing import route
from webhook.deployments.actions import origin_label
from webhook.errors import BadCredentials, HttpError
from webhook.http import PAGE_HEADERS, PAGE_POLICY, ErrorHandling, as_page
from webhook.security.signing import LINK_DAYS, Links
from webhook.settings import Retention
from webhook.store import deployments
from webhook.store.database import Sync, SyncPool
from webhook.store.deployments import DeploymentRow
from webhook.store.lineage import Lineage
from webhook.timing import Clock, utc_now
from webhook.web import stream
from webhook.web.pages.deployment import Page, PageData, build_page
from webhook.web.pages.elements import Link
from webhook.web.stream import Render, Streams, StreamTiming

# No account on GitHub begins with a hyphen, so no repository's pages are in the way.
STATIC_PATH = "/deployments/-/static"
STATIC_MAX_AGE = 300
# The parts of the page that change while it is open: macros of parts.html, ids in the page.
PARTS = ("state", "timing", "gates", "facts", "changes", "timeline", "messages", "no_output")

_POLICY = f"{PAGE_POLICY}; form-action 'none'"
_OFFSET = re.compile(r"[0-9]{1,15}", re.ASCII)


def blueprint(
    pool: SyncPool,
    links: Links,
    timing: StreamTiming | None = None,
    *,
    clock: Clock = utc_now,
    origins: Mapping[str, str] | None = None,
    keep: Retention | None = None,
    config: CurrentConfig | None = None,
) -> Blueprint:
    """`origins`: how the deployment is called that an action of that name has created. `keep`: how
    long deployments and outputs are kept, by default as the settings have it by default. `config`:
    it says how long a deployment may wait."""
    keep = keep or Retention.from_environ({})
    bp = Blueprint(
        "pages",
        __name__,
        template_folder="../templates",
        static_folder="../static",
        static_url_path=STATIC_PATH,
    )
    streams = Streams(pool, timing or StreamTiming(), clock)
    bp.app_errorhandler(404)(_not_found)
    bp.after_request(_with_headers)
    bp.add_app_template_global(_asset, "asset")
    bp.add_app_template_global(lambda: __version__, "version")

    page_of = _builder(links, clock, origins or {}, keep, config)

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>")
    def deployment(owner: str, name: str, deployment_id: int) -> str:
        _require_key(links, deployment_id)
        with pool.connection() as connection:
            data = _read(connection, keep, f"{owner}/{name}", deployment_id, clock())
            output = stream.output_so_far(connection, data)
        return render_template(
            "deployment.html", page=page_of(data), output=output, link_days=LINK_DAYS
        )

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>/events")
    def live(owner: str, name: str, deployment_id: int) -> Response:
        _require_key(links, deployment_id)
        with pool.connection() as connection:
            _read(connection, keep, f"{owner}/{name}", deployment_id, clock())
        events = streams.events(deployment_id, _offset(), _render(current_app.jinja_env, page_of))
        # Proxies must not collect what is to be seen at once. Source: nginx, X-Accel-Buffering.
        headers = {"X-Accel-Buffering": "no"}
        return Response(events, mimetype="text/event-stream", headers=headers)

    return bp


def _builder(
    links: Links,
    clock: Clock,
    origins: Mapping[str, str],
    keep: Retention,
    config: CurrentConfig | None,
) -> Callable[[PageData], Page]:
    def build(data: PageData) -> Page:
        return build_page(
            data,
            clock(),
            links.page,
            origin=_origin(links, origins, data.lineage),
            output_kept=keep.output,
            gives_up=_gives_up(config, data.row),
        )

    return build


def _asset(name: str) -> str:
    """The version makes a new release's files new to browsers."""
    return url_for("pages.static", filename=name, v=__version__)


def _require_key(links: Links, deployment_id: int) -> None:
    if not links.opens(request.args.get("key", ""), deployment_id):
        raise BadCredentials(
            403,
            "This link does not open the page",
            detail="It is incomplete, belongs to another deployment, or has expired: a link opens"
            f" its page for {LINK_DAYS} days at least.",
            remedy="Open the newest link from GitHub's deployment status or from Slack.",
        )


def _read(
    connection: Sync, keep: Retention, repo: str, deployment_id: int, now: datetime
) -> PageData:
    data = stream.read(connection, deployment_id, now)
    if data is None or not deployments.is_in(connection, data.row, repo):
        raise HttpError(
            404,
            "There is no such deployment",
            detail=f"This relay knows no deployment {deployment_id} of {repo}.{_deleted(keep)}",
            remedy="Open the newest link from GitHub's deployment status or from Slack.",
        )
    return data


def _gives_up(current: CurrentConfig | None, row: DeploymentRow) -> datetime | None:
    environment = route(current.config, row.repo, row.environment) if current else None
    if environment is None or row.requested_at is None:
        return None
    return row.waits_until(environment.wait_limit)


def _deleted(keep: Retention) -> str:
    if keep.deployments is None:
        return ""
    return f" Deployments are deleted {keep.deployments.days} days after their end."


def _offset() -> int:
    """The browser's offset: as it sends on reconnecting, else the page's initial one."""
    given = request.headers.get("Last-Event-ID") or request.args.get("from", "")
    return int(given) if _OFFSET.fullmatch(given) else 0


def _origin(links: Links, origins: Mapping[str, str], lineage: Lineage) -> Link | None:
    """The deployment from which an action created this one."""
    label = origin_label(origins.get(lineage.origin, ""), lineage.origin_environment)
    return Link(links.page(lineage.origin_repo, lineage.origin_id), label) if label else None


def _render(templates: Environment, page_of: Callable[[PageData], Page]) -> Render:
    parts = templates.get_template("parts.html").module

    def render(data: PageData) -> dict[str, Any]:
        page = page_of(data)
        changed = {name: str(getattr(parts, name)(page)) for name in PARTS}
        return {"title": page.title, "tone": page.label.kind, "parts": changed}

    return render


def _not_found(_error: Exception) -> Response:
    """Any unknown address, not only the pages'."""
    error = HttpError(
        404,
        "There is nothing at this address",
        detail="The relay shows one page for each deployment, and only to those who have its link.",
        remedy="Open the link in a deployment's status on GitHub, or in its message in Slack.",
    )
    return _with_headers(as_page(error))


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
