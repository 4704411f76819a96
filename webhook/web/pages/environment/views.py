"""The page of an environment: what is there, what waits, what was, and what holds; and the pages on
which people see what a deployment or a rollback would do before they request it.

Errors, each a page: 404 unknown, or not to be seen; 503 the store does not respond.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, current_app, render_template, request
from jinja2 import Environment as Templates

from webhook.config.environments import Environment
from webhook.deployments.locks import is_pattern
from webhook.deployments.models import is_production
from webhook.deployments.phases import Phase
from webhook.engine.explain import Question
from webhook.gates import GATES
from webhook.github.addresses import web_url_of
from webhook.github.tokens import Scope
from webhook.store import deployment_order, environment_history
from webhook.store.actions import Requested
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow
from webhook.store.environment_history import HistoryFilter
from webhook.store.repositories import KnownRepository
from webhook.text import web_url
from webhook.web import paths
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.given import number
from webhook.web.live import Parts, Render
from webhook.web.pages.elements import line
from webhook.web.pages.environment.data import (
    EnvironmentData,
    Where,
    find_where,
    read_environment,
    read_policy,
)
from webhook.web.pages.environment.form import (
    PreviewView,
    RollBackView,
    build_inputs,
    build_preview,
    build_roll_back,
    input_error,
)
from webhook.web.pages.environment.page import EnvironmentView, build_environment
from webhook.web.pages.environment.preview import Preview, Wanted, preview
from webhook.web.pinned import Pinned, Pins
from webhook.web.requests import FormFields, RequestView, form_fields, requests_of
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
_LONGEST = 255
_INPUT = "input."


@dataclass(frozen=True, slots=True)
class Opened:
    viewer: Viewer
    where: Where

    @property
    def may_write(self) -> bool:
        return self.viewer.may(self.where.repo_id, "write")

    @property
    def login(self) -> str:
        return self.viewer.person.login if self.viewer.person else ""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks, for the parts of a page. `form`: what each form of it sends."""

    may_write: bool
    operator: bool
    form: FormFields
    requests: list[RequestView]


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
        opened = _open(services, owner, name, environment)
        chosen, by = _filter(), _reader(services, opened)
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
        opened = _open(services, owner, name, environment)
        person = opened.viewer.person
        topics = [f"repository:{opened.where.repo_id}", "locks"]
        topics += [f"person:{person.id}"] if person else []
        render = _render(services, current_app.jinja_env, opened, _filter())
        return services.live.parts(topics, render)

    @bp.get("/environments/-/deploy/<owner>/<name>/<path:environment>", merge_slashes=False)
    def deploy(owner: str, name: str, environment: str) -> str:
        return _deploy_page(services, _open(services, owner, name, environment))

    @bp.get("/environments/-/roll-back/<owner>/<name>/<path:environment>", merge_slashes=False)
    def roll_back(owner: str, name: str, environment: str) -> str:
        return _roll_back_page(services, _open(services, owner, name, environment))


def _render(services: PageServices, templates: Templates, opened: Opened, chosen: Filter) -> Render:
    """The parts that change while the page is open."""
    macros = templates.get_template("environment_parts.html").module
    form = form_fields(services.sessions, opened.viewer.session)

    def render() -> Parts | None:
        if not opened.viewer.may(opened.where.repo_id, "read"):
            return None
        config, where = services.config.config, opened.where
        by = replace(_reader(services, opened), form=form)
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


def _open(services: PageServices, owner: str, name: str, environment: str) -> Opened:
    """Raises `HttpError` where there is nothing, or nothing that the viewer may see."""
    viewer = services.require_viewer()
    repo = f"{owner}/{name}"
    if not (repo + environment).isprintable() or len(environment) > _LONGEST:
        raise not_found()
    known = services.permissions.repositories()
    with services.pool.connection() as connection:
        repository = _repository(known, connection, repo)
    if repository is None:
        raise viewer.unknown(repo)
    viewer.require_visible(repository.repo_id)
    with services.pool.connection() as connection:
        where = find_where(connection, services.config.config, repository, environment)
    if where is None:
        raise not_found()
    return Opened(viewer, where)


def _repository(
    known: Mapping[int, KnownRepository], connection: Sync, repo: str
) -> KnownRepository | None:
    """By its name, or one that it had before."""
    found = environment_history.repositories_named(connection, repo)
    every = [known[repo_id] for repo_id in found if repo_id in known]
    same = (one for one in every if one.name.casefold() == repo.casefold())
    return next(same, every[0] if every else None)


def _filter() -> Filter:
    state, who = request.args.get("state", ""), request.args.get("who", "").strip()
    return Filter(
        state=state if state in STATES else "",
        who=who[:_LONGEST] if who.isprintable() else "",
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


def _requests(services: PageServices, opened: Opened) -> list[RequestView]:
    where = opened.where

    def about(one: Requested) -> bool:
        """A promotion is about two, and is requested on the page of either."""
        here = one.environment.lower() in ("", where.name.lower())
        wider = one.kind == "promote" or is_pattern(one.environment)
        return one.repo_id in (0, where.repo_id) and (here or wider)

    with services.pool.connection() as connection:
        return requests_of(connection, opened.viewer.session, services.actions, about)


def _reader(services: PageServices, opened: Opened) -> Reader:
    """Not while one holds a connection: GitHub may be asked whether they may write."""
    return Reader(
        may_write=opened.may_write,
        operator=opened.viewer.operator,
        form=form_fields(services.sessions, opened.viewer.session),
        requests=_requests(services, opened),
    )


def _is_production(where: Where, environment: Environment) -> bool:
    return is_production(where.name, environment.production_environment)


def _deploy_page(services: PageServices, opened: Opened) -> str:
    where, given, by = opened.where, _inputs(), _reader(services, opened)
    ref, asked = request.args.get("ref", "").strip()[:_LONGEST], "ref" in request.args
    with services.pool.connection() as connection:
        live = environment_history.newest_success(connection, where.repo_id, where.name)
        policy, _ = read_policy(connection, where, services.clock())
        refs = environment_history.refs(connection, where.repo_id, where.name)
    wrong = input_error(policy.environment, given) if policy and asked else ""
    found = Preview()
    if asked and policy is not None:
        found = _preview(services, opened, ref, _sha(live))
    return render_template(
        "environment_deploy.html",
        page=_subject(where, live),
        by=by,
        ref=ref,
        refs=refs,
        inputs=build_inputs(policy.environment, given) if policy else (),
        given=given,
        wrong=wrong,
        asked=asked,
        preview=build_preview(found, _url(services, where, live), _sha(live)),
        pinned=_sign(services, where, found),
        production=policy is not None and _is_production(where, policy.environment),
    )


def _preview(services: PageServices, opened: Opened, ref: str, base: str) -> Preview:
    if not ref.isprintable():
        return Preview(error="That is not a branch, tag or commit")
    return preview(services, Wanted(question=_question(opened, ref), base=base))


def _roll_back_page(services: PageServices, opened: Opened) -> str:
    where, by = opened.where, _reader(services, opened)
    only = number(request.args.get("to", "")) or 0
    with services.pool.connection() as connection:
        newest = environment_history.newest_begun(connection, where.repo_id, where.name)
        old = _success(connection, newest, only)
    shown: PreviewView | None = None
    back: RollBackView | None = None
    if newest is not None and old is not None:
        question = _question(opened, old.sha)
        wanted = Wanted(question=question, base=newest.sha, taken_back=True)
        url = _url(services, where, newest)
        shown = build_preview(preview(services, wanted), url, newest.sha, taken_back=True)
        back = build_roll_back(newest, old)
    return render_template(
        "environment_roll_back.html",
        page=_subject(where, newest),
        by=by,
        back=back,
        preview=shown,
    )


def _success(connection: Sync, newest: DeploymentRow | None, only: int) -> DeploymentRow | None:
    if newest is None:
        return None
    return deployment_order.success_of_another_commit_sync(connection, newest, only)


def _inputs() -> dict[str, str]:
    return {
        name.removeprefix(_INPUT): value
        for name, value in request.args.items()
        if name.startswith(_INPUT) and value
    }


def _question(opened: Opened, ref: str) -> Question:
    repository, person = opened.where.repository, opened.viewer.person
    return Question(
        scope=Scope(repository.installation_id, repository.name, repository.repo_id),
        environment=opened.where.name,
        ref=ref,
        asker=opened.login,
        asker_id=person.id if person else 0,
    )


def _sign(services: PageServices, where: Where, found: Preview) -> str:
    """What a person confirms; "" where nobody knows the commit."""
    if not found.sha:
        return ""
    named = "" if found.sha.startswith(found.ref) else found.ref
    pins = Pins(services.secret_keys, services.clock)
    return pins.sign(where.repo_id, where.name, Pinned(named, found.sha))


def _sha(row: DeploymentRow | None) -> str:
    return row.sha if row else ""


def _url(services: PageServices, where: Where, row: DeploymentRow | None) -> str:
    """Of the repository on GitHub."""
    known = web_url(row.repo_url) if row else ""
    return known or f"{web_url_of(services.settings.github_base_url)}/{where.repo}"


def _subject(where: Where, row: DeploymentRow | None) -> dict[str, Any]:
    """What the pages about an environment have in common."""
    return {
        "repo": line(where.repo),
        "environment": line(where.name),
        "path": paths.environment(where.repo, where.name),
        "deploy_path": paths.deploy(where.repo, where.name),
        "routed": where.listed is not None,
        "there": line(row.sha[:7]) if row else "",
    }
