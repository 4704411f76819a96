"""The page of one deployment: for who has its signed link, and for who may read its repository.

Errors: 403 the link does not open it, 404 unknown, 503 the store does not respond; each a page that
says what to do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from flask import Blueprint, Response, current_app, render_template, request
from jinja2 import Environment

from webhook.config.environments import CurrentConfig
from webhook.config.routing import route
from webhook.deployments.actions import origin_label
from webhook.engine.offers import may_override
from webhook.errors import BadCredentials, HttpError
from webhook.gates import GATES
from webhook.security.signing import LINK_DAYS
from webhook.settings import Retention
from webhook.store import deployments
from webhook.store.deployments import DeploymentRow
from webhook.store.lineage import Lineage
from webhook.web import paths
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.given import number
from webhook.web.live import Parts
from webhook.web.pages.deployment import log_window
from webhook.web.pages.deployment.beside import Reader, read_beside, reader_of
from webhook.web.pages.deployment.data import PageData, read_page
from webhook.web.pages.deployment.log_section import read_section
from webhook.web.pages.deployment.log_window import LogWindows
from webhook.web.pages.deployment.page import Page, build_page
from webhook.web.pages.deployment.stream import (
    DeploymentFeed,
    LineOutput,
    Render,
    TextOutput,
    topics_of,
)
from webhook.web.pages.elements import Link
from webhook.web.pages.gates import PageOf
from webhook.web.services import PageServices

# The parts of the page that change while it is open: macros of deployment_parts.html, ids in the
# page.
PARTS = ("state", "timing", "gates", "facts", "changes", "timeline", "messages", "no_output")
# And those of deployment_viewer_parts.html, which depend on who looks.
PARTS_BESIDE = ("requests", "acts", "phases", "record")

# Of a file that a browser saves.
_LONGEST_NAME = 120


def add_to(bp: Blueprint, services: PageServices) -> None:
    pool, windows = services.pool, LogWindows()

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>")
    def deployment(owner: str, name: str, deployment_id: int) -> str:
        opened = _open(services, f"{owner}/{name}", deployment_id)
        with pool.connection() as connection:
            beside = read_beside(connection, services, opened.data, opened.reader)
        log = read_section(
            windows,
            pool,
            deployment_id,
            request.args,
            path=request.path,
            key=request.args.get("key", "") if opened.reader.by_link else "",
            over=opened.data.over,
        )
        return render_template(
            "deployment.html",
            page=_page(services, opened.data, opened.reader),
            beside=beside,
            log=log,
            path=request.path,
            link_days=LINK_DAYS,
        )

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>/events")
    def events(owner: str, name: str, deployment_id: int) -> Response:
        opened = _open(services, f"{owner}/{name}", deployment_id)
        render = _render(current_app.jinja_env, services, opened)
        printed = LineOutput if "lines" in request.args else TextOutput
        feed = DeploymentFeed(services, deployment_id, printed(_offset()), render)
        return services.live.feed(topics_of(opened.data), feed)

    @bp.get("/deployments/<owner>/<name>/<int:deployment_id>/output.txt")
    def output(owner: str, name: str, deployment_id: int) -> Response:
        opened = _open(services, f"{owner}/{name}", deployment_id)
        text = log_window.whole(pool, deployment_id)
        response = Response(text, mimetype="text/plain")
        response.headers["Content-Disposition"] = f'attachment; filename="{_file_name(opened)}"'
        return response


def _file_name(opened: "_Opened") -> str:
    row = opened.data.row
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{row.repo}-{row.environment}-{row.id}")
    return name[-_LONGEST_NAME:].strip(".-") + ".txt"


@dataclass(frozen=True, slots=True)
class _Opened:
    """`by_link`: its link opens it, whoever has signed in."""

    data: PageData
    viewer: Viewer
    by_link: bool
    reader: Reader


def _open(services: PageServices, repo: str, deployment_id: int) -> _Opened:
    """Raises `HttpError` where neither its link nor a session opens the page."""
    by_link = services.links.opens(request.args.get("key", ""), deployment_id)
    viewer = services.viewer()
    if not by_link and viewer.session is None:
        _reject(services)
    with services.pool.connection() as connection:
        data = read_page(connection, deployment_id, services.clock())
        known = data is not None and deployments.is_in(connection, data.row, repo)
    if data is None or not known:
        if by_link:
            raise _unknown(services.keep, repo, deployment_id)
        raise viewer.unknown(repo)
    reader = reader_of(services, viewer, data.row, by_link=by_link)
    if reader is None:
        raise not_found()
    return _Opened(data, viewer, by_link, reader)


def _reject(services: PageServices) -> NoReturn:
    if services.settings.sign_in and "key" not in request.args:
        services.require_viewer()
    sign_in = services.settings.sign_in
    besides = " Or sign in with GitHub, if you may read the repository there." if sign_in else ""
    raise BadCredentials(
        403,
        "This link does not open the page",
        detail="It is incomplete, belongs to another deployment, or has expired: a link opens"
        f" its page for {LINK_DAYS} days at least.",
        remedy="Open the newest link from GitHub's deployment status or from Slack." + besides,
    )


def _unknown(keep: Retention, repo: str, deployment_id: int) -> HttpError:
    return HttpError(
        404,
        "There is no such deployment",
        detail=f"This relay knows no deployment {deployment_id} of {repo}.{_deleted(keep)}",
        remedy="Open the newest link from GitHub's deployment status or from Slack.",
    )


def _page(services: PageServices, data: PageData, reader: Reader) -> Page:
    page_of = services.links.page if reader.by_link else paths.deployment
    return build_page(
        data,
        services.clock(),
        page_of,
        origin=_origin(page_of, services.origins, data.lineage),
        output_kept=services.keep.output,
        gives_up=_gives_up(services.config, data.row),
        may_override=may_override(services.config.config, GATES, data.row),
    )


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
    return number(request.headers.get("Last-Event-ID") or request.args.get("from", "")) or 0


def _origin(page_of: PageOf, origins: Mapping[str, str], lineage: Lineage) -> Link | None:
    """The deployment from which an action created this one."""
    label = origin_label(origins.get(lineage.origin, ""), lineage.origin_environment)
    return Link(page_of(lineage.origin_repo, lineage.origin_id), label) if label else None


def _render(templates: Environment, services: PageServices, opened: _Opened) -> Render:
    parts = templates.get_template("deployment_parts.html").module
    viewer_parts = templates.get_template("deployment_viewer_parts.html").module

    def render(data: PageData) -> Parts | None:
        """None: its viewer may not see it any more."""
        reader = reader_of(services, opened.viewer, data.row, by_link=opened.by_link)
        if reader is None:
            return None
        page = _page(services, data, reader)
        with services.pool.connection() as connection:
            beside = read_beside(connection, services, data, reader)
        changed = {name: str(getattr(parts, name)(page)) for name in PARTS}
        changed |= {name: str(getattr(viewer_parts, name)(beside)) for name in PARTS_BESIDE}
        return Parts(page.title, page.label.kind, changed)

    return render
