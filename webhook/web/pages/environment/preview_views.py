"""The pages on which people see what a deployment or a rollback would do before they request it.

Errors, each a page: 404 unknown, or not to be seen; 503 the store does not respond.
"""

from typing import Any

from flask import Blueprint, render_template, request

from webhook.config.environments import Environment
from webhook.deployments.models import is_production
from webhook.engine.explain import Question
from webhook.github.addresses import web_url_of
from webhook.github.tokens import Scope
from webhook.store import deployment_order, environment_history
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow
from webhook.text import web_url
from webhook.web import paths
from webhook.web.given import number
from webhook.web.pages.elements import line
from webhook.web.pages.environment.data import Where, read_policy
from webhook.web.pages.environment.opened import LONGEST, Opened, open_environment, reader_of
from webhook.web.pages.environment.preview import Preview, Wanted, preview
from webhook.web.pages.environment.preview_page import (
    PreviewView,
    RollBackView,
    build_inputs,
    build_preview,
    build_roll_back,
    input_error,
)
from webhook.web.pinned import Pinned, Pins
from webhook.web.services import PageServices

_INPUT = "input."


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get("/environments/-/deploy/<owner>/<name>/<path:environment>", merge_slashes=False)
    def deploy(owner: str, name: str, environment: str) -> str:
        return _deploy_page(services, open_environment(services, owner, name, environment))

    @bp.get("/environments/-/roll-back/<owner>/<name>/<path:environment>", merge_slashes=False)
    def roll_back(owner: str, name: str, environment: str) -> str:
        return _roll_back_page(services, open_environment(services, owner, name, environment))


def _is_production(where: Where, environment: Environment) -> bool:
    return is_production(where.name, environment.production_environment)


def _deploy_page(services: PageServices, opened: Opened) -> str:
    where, given, by = opened.where, _inputs(), reader_of(services, opened)
    ref, asked = request.args.get("ref", "").strip()[:LONGEST], "ref" in request.args
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
    where, by = opened.where, reader_of(services, opened)
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
