"""The relay's health: what is done, what waits, what GitHub and Slack let it do, and what `check`
says.

Everybody who has signed in sees whether it works; names, limits and findings are the operators'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, current_app, make_response, redirect, render_template

from webhook.check import Finding
from webhook.github.limits import Limit
from webhook.invocation import COMMAND
from webhook.store import health, outbox, recovery
from webhook.store.database import Sync
from webhook.store.health import Worker
from webhook.store.recovery import Summary
from webhook.store.workers import SILENT_AFTER
from webhook.timing import Clock
from webhook.web import paths, probes
from webhook.web.auth.viewer import Viewer
from webhook.web.health_check import HealthCheck
from webhook.web.live import TICK, Parts
from webhook.web.pages.elements import Moment, moment
from webhook.web.services import PageServices

_NAMES = {
    "worker": "A worker runs",
    "queue": "Nothing waits for long",
    "github": "Statuses reach GitHub",
    "deliveries": "Compared with GitHub's list",
    "config": "One deploy.yml",
    "dead_letters": "Every delivery was processed",
}
_EVENTS = f"{paths.HEALTH}/events"
_PARTS = ("works", "queue", "workers")
_OPERATORS_PARTS = ("limits", "findings")
_TONES = {"ok": "good", "note": "waiting", "error": "bad"}


@dataclass(frozen=True, slots=True)
class Line:
    """`kind` and `text` as of a label, and what is to be done."""

    name: str
    kind: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class QueueLine:
    task: str
    overdue: int
    oldest: Moment | None
    doing: int
    waiting: int
    failing: int


@dataclass(frozen=True, slots=True)
class WorkerLine:
    machine: str
    version: str
    started_at: Moment
    seen_at: Moment
    runs: bool


@dataclass(frozen=True, slots=True)
class OperatorsView:
    """`findings` None: `check` has not run yet; `checking`: it runs now."""

    findings: tuple[Line, ...] | None
    checked_at: Moment | None
    checking: bool
    github: tuple[Line, ...]
    held: tuple[Line, ...]
    unsent: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """`open_pages`: streams of the web process that has made this page. `for_operators`: None for
    others."""

    lines: tuple[Line, ...]
    queue: tuple[QueueLine, ...]
    workers: tuple[WorkerLine, ...]
    compared_at: Moment | None
    compared: str
    open_pages: int
    for_operators: OperatorsView | None

    @property
    def tone(self) -> str:
        return "good" if all(one.kind == "good" for one in self.lines) else "bad"


def add_to(bp: Blueprint, services: PageServices) -> None:
    check = HealthCheck(services)

    @bp.get(paths.HEALTH)
    def show_health() -> str:
        viewer = services.require_viewer()
        if viewer.operator:
            check.begin_if_old()
        page = _read(services, viewer, check)
        return render_template("health.html", page=page, command=COMMAND, live=_EVENTS)

    @bp.get(_EVENTS)
    def live_health() -> Response:
        viewer = services.require_viewer()
        macros: Any = current_app.jinja_env.get_template("health_parts.html").module

        def render() -> Parts:
            page = _read(services, viewer, check)
            names = (*_PARTS, *(_OPERATORS_PARTS if page.for_operators else ()))
            html = {f"{name}-part": str(getattr(macros, name)(page)) for name in names}
            return Parts("Health", page.tone, html)

        return services.live.parts([TICK], render)

    @bp.post(f"{paths.HEALTH}/check")
    def check_again() -> Response:
        services.require_viewer().require_operator()
        services.require_form()
        check.begin()
        return make_response(redirect(paths.HEALTH, 303))


def _read(services: PageServices, viewer: Viewer, check: HealthCheck) -> Health:
    found = probes.findings(services.pool, {**probes.WORK, **probes.SHOWN})
    clock = services.clock
    operator = viewer.operator  # which may take a connection itself
    with services.pool.connection() as connection:
        compared = recovery.summary(connection)
        return Health(
            lines=tuple(_probe(name, found[name]) for name in _NAMES),
            queue=tuple(_queue(connection)),
            workers=tuple(_worker(one, clock) for one in health.seen_workers(connection)),
            compared_at=moment(compared.compared_at) if compared.compared_at else None,
            compared=_compared(compared),
            open_pages=services.live.open_streams,
            for_operators=_for_operators(connection, check) if operator else None,
        )


def _probe(name: str, finding: str) -> Line:
    # What is as it should be is said too of the comparison.
    good = finding == probes.OK or (name == "deliveries" and finding.startswith("compared"))
    detail = "" if good else finding
    return Line(_NAMES[name], "good" if good else "bad", "yes" if good else "no", detail)


def _queue(connection: Sync) -> Sequence[QueueLine]:
    return [
        QueueLine(
            one.task.replace("_", " "),
            one.overdue,
            moment(one.oldest) if one.oldest else None,
            one.doing,
            one.waiting,
            one.failing,
        )
        for one in health.queued(connection)
    ]


def _worker(one: Worker, clock: Clock) -> WorkerLine:
    runs = (clock() - one.seen_at).total_seconds() < SILENT_AFTER
    started_at, seen_at = moment(one.started_at), moment(one.seen_at)
    return WorkerLine(one.machine_id[:8], one.version, started_at, seen_at, runs)


def _compared(found: Summary) -> str:
    if not found.found:
        return "none was ever missing"
    counts = f"{found.found} were missing so far, {found.missing} of them are not here yet"
    given_up = f"; {found.given_up} lately given up" if found.given_up else ""
    return f"{counts}{given_up}"


def _for_operators(connection: Sync, check: HealthCheck) -> OperatorsView:
    result = check.result
    held = [
        Line(one.name, "waiting", "calls wait", f"until {moment(one.held_until).text}")
        for one in health.held_calls(connection)
    ]
    failed = [
        Line(one.destination, "bad", "not sent", one.error)
        for one in outbox.lately_failed(connection)
    ]
    unwritten = [
        Line("GitHub", "bad", "not written", one.public)
        for one in outbox.unsent_statuses(connection)
    ]
    return OperatorsView(
        findings=None if result is None else tuple(_finding(one) for one in result.findings),
        checked_at=moment(result.at) if result else None,
        checking=check.runs,
        github=() if result is None else tuple(_limit(*one) for one in result.limits.items()),
        held=tuple(held),
        unsent=(*unwritten, *failed),
    )


def _finding(one: Finding) -> Line:
    return Line(one.subject, _TONES[one.level], one.level, one.message)


def _limit(installation: int, one: Limit) -> Line:
    scarce = one.remaining * 10 < one.limit
    return Line(
        f"Installation {installation}",
        "error" if scarce else "good",
        f"{one.remaining:,} of {one.limit:,} calls left",
        f"all of them again at {moment(one.resets_at).text}",
    )
