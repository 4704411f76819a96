"""The audit: who did what, when, why, and from where. Operators see all of it, who administers a
repository sees that one's.

Errors: 400 a date that is none, each filter as it is typed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, render_template, request

from webhook.errors import HttpError
from webhook.github.events import storable
from webhook.store import audit
from webhook.store.audit import Act, Filter
from webhook.web import paths
from webhook.web.auth.viewer import Viewer
from webhook.web.given import number
from webhook.web.pages.elements import Link, Moment, line, moment
from webhook.web.services import PageServices
from webhook.web.table_file import table_file

ON_A_PAGE = 50
# Of a file for a table program, which opens no more.
MOST_IN_FILE = 10_000
_TONES = {"done": "good", "refused": "error", "failed": "bad"}
_TEXTS = ("actor", "action", "source", "outcome", "repo", "environment")
_DAYS = ("since", "until")
_COLUMNS = (
    *("id", "at", "actor", "source", "action", "outcome"),
    *("repo", "environment", "deployment_id", "reason"),
)


@dataclass(frozen=True, slots=True)
class ActView:
    at: Moment
    actor: str
    action: str
    source: str
    kind: str
    text: str
    environment: Link
    deployment: Link | None
    reason: str


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get(paths.AUDIT)
    def show_audit() -> str:
        viewer = services.require_viewer()
        repo_ids = _readable(viewer)
        given = _given(request.args)
        with services.pool.connection() as connection:
            found = audit.search(connection, _filter(given, repo_ids), ON_A_PAGE, before=_before())
        older = paths.with_query(paths.AUDIT, **given, before=str(found.older or ""))
        return render_template(
            "audit.html",
            acts=[_view(one) for one in found.acts],
            given=given,
            filtered=any(given.values()),
            older=older if found.older else "",
            newest=paths.with_query(paths.AUDIT, **given) if "before" in request.args else "",
            file=paths.with_query(f"{paths.AUDIT}.csv", **given),
            nothing_to_see=repo_ids is not None and not repo_ids,
        )

    @bp.get(f"{paths.AUDIT}.csv")
    def audit_file() -> Response:
        viewer = services.require_viewer()
        wanted = _filter(_given(request.args), _readable(viewer))
        with services.pool.connection() as connection:
            found = audit.search(connection, wanted, MOST_IN_FILE)
        rows = ([getattr(act, name) for name in _COLUMNS] for act in found.acts)
        return table_file("audit.csv", _COLUMNS, rows)


def _readable(viewer: Viewer) -> frozenset[int] | None:
    """None: everything."""
    return None if viewer.operator else viewer.with_permission("admin")


def _given(args: Mapping[str, str]) -> dict[str, str]:
    return {name: storable(args.get(name, "").strip()[:200]) for name in (*_TEXTS, *_DAYS)}


def _filter(given: Mapping[str, str], repo_ids: frozenset[int] | None) -> Filter:
    until = _day(given["until"])
    return Filter(
        repo_ids=repo_ids,
        **{name: given[name] for name in _TEXTS},
        since=_day(given["since"]),
        until=until + timedelta(days=1) if until else None,  # that day too
    )


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        day + timedelta(days=1)  # it may be the last that there is
        return day
    except (ValueError, OverflowError):
        raise HttpError(
            400,
            "This is not a date",
            detail=f"{line(text)} is not as 2026-11-28.",
            remedy="Write the year, the month and the day.",
        ) from None


def _before() -> int | None:
    return number(request.args.get("before", ""))


def _view(act: Act) -> ActView:
    name = f"{act.repo}: {act.environment or 'all environments'}" if act.repo else "everything"
    one = bool(act.repo and act.environment) and "*" not in act.environment
    environment = paths.environment(act.repo, act.environment) if one else ""
    deployment_id = act.deployment_id
    deployment = paths.deployment(act.repo, deployment_id) if deployment_id else ""
    return ActView(
        at=moment(act.at),
        actor=line(act.actor),
        action=act.action.replace("_", " "),
        source=act.source,
        kind=_TONES.get(act.outcome, "other"),
        text=act.outcome,
        environment=Link(environment, line(name)),
        deployment=Link(deployment, str(deployment_id)) if deployment else None,
        reason=line(act.reason),
    )
