"""The page of one deployment: for who has its signed link, and for who may read its repository.

Errors: 403 the link does not open it, 404 unknown, 503 the store does not respond; each a page that
says what to do.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from flask import Blueprint, Response, current_app, render_template, request
from jinja2 import Environment

from webhook.config.environments import CurrentConfig
from webhook.config.routing import route
from webhook.deployments.actions import origin_label
from webhook.errors import BadCredentials, HttpError
from webhook.security.signing import LINK_DAYS, Links
from webhook.settings import Retention
from webhook.store import deployments
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow
from webhook.store.lineage import Lineage
from webhook.web import stream
from webhook.web.pages.deployment import Page, PageData, build_page
from webhook.web.pages.elements import Link
from webhook.web.services import PageServices
from webhook.web.stream import Render, Streams, StreamTiming

# The parts of the page that change while it is open: macros of parts.html, ids in the page.
PARTS = ("state", "timing", "gates", "facts", "changes", "timeline", "messages", "no_output")

_OFFSET = re.compile(r"[0-9]{1,15}", re.ASCII)


def add_to(bp: Blueprint, services: PageServices, timing: StreamTiming | None = None) -> None:
    pool, clock, keep = services.pool, services.clock, services.keep
    streams = Streams(pool, timing or StreamTiming(), clock)
    page_of = _builder(services)

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>")
    def deployment(owner: str, name: str, deployment_id: int) -> str:
        by_link = _by_link(services, deployment_id)
        with pool.connection() as connection:
            data = _read(connection, keep, f"{owner}/{name}", deployment_id, clock())
        if not by_link:
            services.viewer().require_visible(data.row.repo_id)
        with pool.connection() as connection:
            output = stream.output_so_far(connection, data)
        return render_template(
            "deployment.html", page=page_of(data), output=output, link_days=LINK_DAYS
        )

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>/events")
    def live(owner: str, name: str, deployment_id: int) -> Response:
        by_link = _by_link(services, deployment_id)
        with pool.connection() as connection:
            data = _read(connection, keep, f"{owner}/{name}", deployment_id, clock())
        if not by_link:
            services.viewer().require_visible(data.row.repo_id)
        events = streams.events(deployment_id, _offset(), _render(current_app.jinja_env, page_of))
        # Proxies must not collect what is to be seen at once. Source: nginx, X-Accel-Buffering.
        headers = {"X-Accel-Buffering": "no"}
        return Response(events, mimetype="text/event-stream", headers=headers)


def _builder(services: PageServices) -> Callable[[PageData], Page]:
    links = services.links

    def build(data: PageData) -> Page:
        return build_page(
            data,
            services.clock(),
            links.page,
            origin=_origin(links, services.origins, data.lineage),
            output_kept=services.keep.output,
            gives_up=_gives_up(services.config, data.row),
        )

    return build


def _by_link(services: PageServices, deployment_id: int) -> bool:
    """Whether its link opens it. Otherwise somebody has signed in; raises `HttpError` if not."""
    key = request.args.get("key", "")
    if services.links.opens(key, deployment_id):
        return True
    if not key and services.settings.sign_in:
        services.require_viewer()
    elif services.viewer().session is None:
        _reject_key()
    return False


def _reject_key() -> NoReturn:
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


def _gives_up(current: CurrentConfig, row: DeploymentRow) -> datetime | None:
    environment = route(current.config, row.repo, row.environment)
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
