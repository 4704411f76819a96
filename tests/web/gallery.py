"""A page that shows each component once. No route of the relay has it."""

from dataclasses import dataclass
from pathlib import Path

from flask import Response, make_response, render_template_string, request

from tests.web.viewing import REQUESTED_AT
from webhook.deployments.labels import Label, phase_label
from webhook.deployments.phases import Phase
from webhook.http import PAGE_POLICY
from webhook.web.flask_app import RelayFlask
from webhook.web.navigation import navigation
from webhook.web.pages.elements import Link, moment

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
URL = "/gallery"
_SOURCE = Path(__file__).with_name("gallery.html")


@dataclass(frozen=True)
class Tab:
    text: str
    url: str
    current: bool = False
    count: int | None = None


@dataclass(frozen=True)
class Viewer:
    person: "Person"


@dataclass(frozen=True)
class Person:
    login: str


@dataclass(frozen=True)
class Form:
    token: str = "a token"
    key: str = "a key"


def labels() -> list[Label]:
    phases = [phase_label(phase, held=False, started=False) for phase in Phase]
    queued = Phase.QUEUED
    held = phase_label(queued, held=True, started=False)
    return [*phases, held, phase_label(queued, held=False, started=False, blocked=True)]


def add_gallery(app: RelayFlask) -> None:
    """To an app that serves the pages."""

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("a bug")

    @app.get(URL)
    def gallery() -> Response:
        html = render_template_string(
            _SOURCE.read_text(),
            nav=navigation(request.path),
            viewer=Viewer(Person("octocat")),
            form=Form(),
            now=moment(REQUESTED_AT),
            at=moment(REQUESTED_AT),
            crumbs=[Link("/", "Board"), Link("https://github.com/acme/web", EVIL)],
            tabs=[Tab("All", "/all", True), Tab("Failed", "/failed", count=3)],
            labels=labels(),
            sha=Link("https://github.com/acme/web/commit/3f9c1d2", "3f9c1d2"),
            action=Link("https://docs.github.com", "Create one on GitHub"),
            evil=EVIL,
        )
        response = make_response(html)
        response.headers["Content-Security-Policy"] = f"{PAGE_POLICY}; script-src 'self'"
        return response
