"""The configuration: deploy.yml as it is in use, its environments, and the settings; for operators.

Nothing is changed here, but a reload of the file can be requested. Errors, each a page: 404 who
does not run the relay; 409 no reload is possible; 503 the store does not respond.
"""

from dataclasses import dataclass

from flask import Blueprint, Response, make_response, redirect, render_template, request

from webhook.errors import ConfigErrors, HttpError
from webhook.github.events import storable
from webhook.invocation import COMMAND
from webhook.reloading import request_reload
from webhook.store import audit, workers
from webhook.store.audit import NewAct
from webhook.web import paths
from webhook.web.given import number
from webhook.web.pages.configuration.environments import (
    ON_A_PAGE,
    EnvironmentLine,
    build_environments,
)
from webhook.web.pages.configuration.file import FileView, build_file
from webhook.web.pages.configuration.question import Answer, Asked, answer, asked
from webhook.web.pages.configuration.settings import Group, build_settings, warnings_of
from webhook.web.pages.elements import line
from webhook.web.services import PageServices

_LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationView:
    """`unrouted`: what becomes of a deployment that no environment matches. `start`: how many
    environments come before; `count`: of all. `warnings`: of the settings. `requested`: a reload
    was, just now."""

    file: FileView
    unrouted: str
    slack_users: int
    environments: tuple[EnvironmentLine, ...]
    start: int
    count: int
    asked: Asked
    answer: Answer | None
    settings: tuple[Group, ...]
    warnings: tuple[str, ...]
    requested: bool

    @property
    def tone(self) -> str:
        bad = self.file.others or self.file.rejected or self.file.disk.label.kind == "bad"
        return "error" if bad else ""

    @property
    def newer(self) -> str:
        return self._path(max(self.start - ON_A_PAGE, 0)) if self.start else ""

    @property
    def older(self) -> str:
        end = self.start + ON_A_PAGE
        return self._path(end) if end < self.count else ""

    def _path(self, start: int) -> str:
        return paths.with_query(paths.CONFIGURATION, start=str(start or "")) + "#environments"


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get(paths.CONFIGURATION)
    def show_configuration() -> str:
        services.require_viewer().require_operator()
        wanted = asked(_given("env"), _given("repo"))
        found = answer(services, wanted) if wanted.complete else None
        page = _read(services, wanted, found)
        return render_template("configuration.html", page=page, command=COMMAND)

    @bp.post(paths.RELOAD)
    def reload() -> Response:
        viewer = services.require_form()
        assert viewer.person is not None
        viewer.require_operator()
        _reload(services, viewer.person.login)
        return make_response(redirect(paths.with_query(paths.CONFIGURATION, requested="1"), 303))


def _reload(services: PageServices, login: str) -> None:
    """As `python -m webhook reload` does, but without waiting for what becomes of it."""
    local = services.local_config
    try:
        wanted = local.read()
    except ConfigErrors as error:
        text = services.redactor.text("; ".join(error.errors))
        raise HttpError(
            409,
            "deploy.yml has errors",
            detail=f"Nothing was reloaded. {line(text)}",
            remedy="Correct the file, and reload it then.",
        ) from None
    found = local.reloading()
    if not found:
        raise HttpError(
            409,
            "No process can be reached from here",
            detail="Nothing was reloaded: none of this machine reads deploy.yml again.",
            remedy=f"Run {COMMAND} reload on the relay's machine, or restart it.",
        )
    reason = f"deploy.yml {wanted.digest[:8]}"
    with services.pool.connection() as connection:
        audit.add_sync(
            connection, NewAct(actor=login, source="page", action="reload", reason=reason)
        )
    request_reload(found)


def _given(name: str) -> str:
    return str(storable(request.args.get(name, "").strip()[:_LONGEST]))


def _read(services: PageServices, wanted: Asked, found: Answer | None) -> ConfigurationView:
    config, redactor = services.config.config, services.redactor
    with services.pool.connection() as connection:
        running = workers.running(connection)
    start = number(request.args.get("start", "")) or 0
    start = start if start < len(config.envs) else 0
    return ConfigurationView(
        file=build_file(config, services.local_config, running, redactor),
        unrouted=config.unrouted,
        slack_users=len(config.slack_users),
        environments=tuple(build_environments(config, redactor, start)),
        start=start,
        count=len(config.envs),
        asked=wanted,
        answer=found,
        settings=build_settings(services.settings, redactor),
        warnings=tuple(warnings_of(services.settings, redactor)),
        requested="requested" in request.args,
    )
