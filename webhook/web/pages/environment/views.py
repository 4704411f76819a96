"""The page of an environment: what is there, what waits, what was, and what holds.

Errors, each a page: 404 unknown, or not to be seen; 503 the store does not respond.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flask import Blueprint, Response, current_app, render_template, request
from jinja2 import Environment as Templates

from webhook.deployments.phases import Phase
from webhook.gates import GATES
from webhook.store import environment_history
from webhook.store.database import Sync
from webhook.store.environment_history import HistoryFilter
from webhook.web import paths
from webhook.web.given import number
from webhook.web.live import Parts, Render
from webhook.web.pages.environment.data import EnvironmentData, Where, find_where, read_environment
from webhook.web.pages.environment.opened import LONGEST, Opened, open_environment, reader_of
from webhook.web.pages.environment.page import EnvironmentView, build_environment
from webhook.web.requests import form_fields
from webhook.web.services import PageServices

# What people filter by, and the phases that it stands for.
_ANY = ("", "any")
STATES: Mapping[str, tuple[Phase, ...]] = {
    "succeeded": (Phase.SUCCESS, Phase.INACTIVE),
    "failed": (Phase.FAILURE,),
    "could not run": (Phase.ERROR,),
    "running": (Phase.IN_PROGRESS,),
    "waiting": (Phase.QUEUED, Phase.SEEN),
    "superseded": (Phase.SUPERSEDED,),
}
# Macros of environment_parts.html, ids in the page.
PARTS = ("requests", "there", "chain", "queue", "locks")


@dataclass(frozen=True, slots=True)
class Filter:
    """As it stands in the address; what is no filter is none."""

    state: str
    who: str
    before: int

    @property
    def wanted(self) -> HistoryFilter:
        return HistoryFilter(phases=STATES.get(self.state, ()), who=self.who)

    def path(self, page: str, **changes: str) -> str:
        before = str(self.before) if self.before else ""
        values = {"state": self.state, "who": self.who, "before": before, **changes}
        return paths.with_query(page, **values)


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get("/environments/<owner>/<name>/<path:environment>", merge_slashes=False)
    def environment(owner: str, name: str, environment: str) -> str:
        opened = open_environment(services, owner, name, environment)
        chosen, by = _filter(), reader_of(services, opened)
        with services.pool.connection() as connection:
            data = _read(services, connection, opened.where, chosen)
            refs = environment_history.refs(connection, opened.where.repo_id, opened.where.name)
        return render_template(
            "environment.html",
            page=_view(services, opened, data),
            events=chosen.path(paths.environment_events(opened.where.repo, opened.where.name)),
            by=by,
            refs=refs,
            states=[_ANY, *((name, name) for name in STATES)],
            filter=chosen,
            older=_older(chosen, data, opened.where),
            looked_through=data.history.looked_through,
        )

    @bp.get("/environments/-/events/<owner>/<name>/<path:environment>", merge_slashes=False)
    def environment_events(owner: str, name: str, environment: str) -> Response:
        opened = open_environment(services, owner, name, environment)
        person = opened.viewer.person
        topics = [f"repository:{opened.where.repo_id}", "locks"]
        topics += [f"person:{person.id}"] if person else []
        render = _render(services, current_app.jinja_env, opened, _filter())
        return services.live.parts(topics, render)


def _render(services: PageServices, templates: Templates, opened: Opened, chosen: Filter) -> Render:
    """The parts that change while the page is open."""
    macros = templates.get_template("environment_parts.html").module
    form = form_fields(services.sessions, opened.viewer.session)

    def render() -> Parts | None:
        if not opened.viewer.may(opened.where.repo_id, "read"):
            return None
        config, where = services.config.config, opened.where
        by = replace(reader_of(services, opened), form=form)
        with services.pool.connection() as connection:
            found = find_where(connection, config, where.repository, where.name)
            if found is None:
                return None
            data = _read(services, connection, found, chosen)
        page = _view(services, opened, data)
        html = {name: str(getattr(macros, name)(page, by)) for name in PARTS}
        table = macros.history_table(page, by, chosen, data.history.looked_through)  # type: ignore[attr-defined]
        return Parts(page.title, page.tone, {**html, "history_table": str(table)})

    return render


def _filter() -> Filter:
    state, who = request.args.get("state", ""), request.args.get("who", "").strip()
    return Filter(
        state=state if state in STATES else "",
        who=who[:LONGEST] if who.isprintable() else "",
        before=number(request.args.get("before", "")) or 0,
    )


def _read(
    services: PageServices, connection: Sync, where: Where, chosen: Filter
) -> EnvironmentData:
    return read_environment(
        connection,
        services.config.config,
        where,
        services.clock(),
        wanted=chosen.wanted,
        before=chosen.before,
    )


def _view(services: PageServices, opened: Opened, data: EnvironmentData) -> EnvironmentView:
    return build_environment(
        data,
        services.clock(),
        services.config.config,
        GATES,
        services.redactor,
        login=opened.login,
    )


def _older(chosen: Filter, data: EnvironmentData, where: Where) -> str:
    if not data.history.older:
        return ""
    page = paths.environment(where.repo, where.name)
    return f"{chosen.path(page, before=str(data.history.older))}#history"
