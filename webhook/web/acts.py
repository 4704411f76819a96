"""What people request on pages: the same actions as in Slack, done by the worker.

GET /acts/<kind> asks whether it is to be done; POST stores the request and goes back to the page,
on which its outcome appears. The worker asks GitHub again whether the person may.

Errors, each a page: 400 the form is not one of the relay's, or names nothing, 401 not signed in,
403 no permission, or another site's form, 404 no such action, deployment or repository.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request

from webhook.deployments.actions import ActionRequest, OfferedAction, Reply, Requester
from webhook.errors import HttpError
from webhook.github.events import storable
from webhook.http import BodyRule
from webhook.store import actions, deployments, schedule
from webhook.store.actions import PAGE
from webhook.store.database import Sync
from webhook.web import paths
from webhook.web.auth.forms import form_key, incomplete, local_path
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.given import number
from webhook.web.pages.elements import version
from webhook.web.pinned import Pinned, Pins
from webhook.web.services import PageServices

log = structlog.get_logger()

LARGEST_FORM = 64 * 1024
BODY_RULE = BodyRule(
    re.compile(
        r"/(signout|health/check|configuration/reload"
        r"|acts/[a-z_]{1,40}|deliveries/.{1,200}|deliveries)"
    ),
    LARGEST_FORM,
    {"Cookie": re.compile(r".*gitploy_session=.*", re.DOTALL)},
)
_INPUT = "input."
# Characters of one input, and of all other fields.
_LONGEST_INPUT, _LONGEST_FIELD = 10_000, 500
_MOST_INPUTS = 50


@dataclass(frozen=True, slots=True)
class Target:
    """What it is about: one deployment, or an environment of a repository; `repo_id` 0: all of
    them."""

    repo_id: int = 0
    repo: str = ""
    environment: str = ""
    deployment_id: int | None = None
    version: str = ""

    @property
    def page(self) -> str:
        return paths.deployment(self.repo, self.deployment_id or 0)


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get("/acts/<kind>")
    def ask(kind: str) -> str:
        viewer = services.require_viewer()
        action = _action(services, kind)
        target = _target(services, viewer, action, request.args)
        return render_template(
            "act.html",
            action=action,
            target=target,
            fields=_fields(request.args),
            next=local_path(request.args.get("next", "/")),
        )

    @bp.post("/acts/<kind>")
    def do(kind: str) -> Response:
        viewer = services.require_form()
        action = _action(services, kind)
        target = _target(services, viewer, action, request.form)
        wanted = _request(viewer, action, target, _pinned(services, target))
        with services.pool.connection() as connection, connection.transaction():
            _keep(connection, wanted)
        return make_response(redirect(local_path(request.form.get("next", "/")), 303))


def _action(services: PageServices, kind: str) -> OfferedAction:
    action = services.actions.get(kind)
    if action is None or not action.on_page:
        raise not_found()
    return action


def _target(
    services: PageServices, viewer: Viewer, action: OfferedAction, fields: Mapping[str, str]
) -> Target:
    """Raises `HttpError` where the viewer may not see it, or not request the action there."""
    target = _named(services, viewer, fields)
    if target.repo_id:
        viewer.require(target.repo_id, action.permission, target.repo)
    if action.everywhere and not viewer.operator:
        raise HttpError(
            403,
            "You may not do this",
            detail="It concerns all repositories. Nothing was done.",
            remedy="Ask somebody whom GITPLOY_ADMIN_USERS names.",
        )
    if not action.everywhere and not target.repo_id:
        raise incomplete()
    return target


def _named(services: PageServices, viewer: Viewer, fields: Mapping[str, str]) -> Target:
    if text := fields.get("deployment", ""):
        deployment_id = number(text)
        if deployment_id is None:
            raise not_found()
        with services.pool.connection() as connection:
            row = deployments.read_sync(connection, deployment_id)
        if row is None:
            raise viewer.unknown(text)
        return Target(row.repo_id, row.repo, row.environment, row.id, version(row.ref, row.sha))
    name = fields.get("repo", "")
    if not name:
        return Target()
    for known in services.permissions.repositories().values():
        if known.name.casefold() == name.casefold():
            environment = storable(fields.get("environment", "")[:_LONGEST_FIELD])
            return Target(known.repo_id, known.name, environment)
    raise viewer.unknown(name)


def _fields(fields: Mapping[str, str]) -> dict[str, str]:
    """What the confirmation sends on."""
    return {
        name: value
        for name, value in fields.items()
        if name in ("deployment", "repo", "environment", "ref", "target") or name.startswith(_INPUT)
    }


def _pinned(services: PageServices, target: Target) -> Pinned | None:
    """What the form of a preview confirms."""
    given = request.form.get("pinned", "")
    if not given:
        return None
    pins = Pins(services.secret_keys, services.clock)
    pinned = pins.read(given, target.repo_id, target.environment)
    if pinned is None:
        raise HttpError(
            400,
            "This preview is too old",
            detail="Nothing was done: what it has shown may have changed since.",
            remedy="See again what would be deployed, and press the button there.",
        )
    return pinned


def _request(
    viewer: Viewer, action: OfferedAction, target: Target, pinned: Pinned | None
) -> ActionRequest:
    session, form = viewer.session, request.form
    assert session is not None
    inputs = _inputs(form)
    other = number(form.get("target", "")) or 0
    return ActionRequest(
        key=form_key(session, action.name),
        kind=action.name,
        exclusive_group=action.group(other, inputs.get("environment", "")),
        requester=Requester("", "", session.person.login),
        reply=Reply(),
        deployment_id=target.deployment_id,
        target=other,
        repo=target.repo if target.deployment_id is None else "",
        environment=target.environment if target.deployment_id is None else "",
        ref=pinned.sha if pinned else storable(form.get("ref", "")[:_LONGEST_FIELD]),
        ref_name=pinned.name if pinned else "",
        inputs=inputs,
        source=PAGE,
        login_id=session.person.id,
    )


def _inputs(form: Mapping[str, str]) -> dict[str, str]:
    found = {
        storable(name.removeprefix(_INPUT)): storable(value)
        for name, value in form.items()
        if name.startswith(_INPUT) and value
    }
    if len(found) > _MOST_INPUTS or any(len(one) > _LONGEST_INPUT for one in found.values()):
        raise HttpError(400, "The form is too large", "shorten what you have typed")
    return found


def _keep(connection: Sync, wanted: ActionRequest) -> None:
    action_id = actions.keep(connection, wanted)
    if action_id is not None:
        schedule.request_sync(connection, [schedule.Key("run_action", action_id)])
        log.info("action requested", action=action_id, kind=wanted.kind, id=wanted.login_id)
