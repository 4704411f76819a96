"""What is requested of deliveries: process one once more, or all that match a filter; ask GitHub to
send one again. A worker does it; the pages show what became of it.

Errors, each a page: 400 the form or the filter is not complete, 403 another site's form, 404 there
is none, or the viewer may not see it, 409 it cannot be done now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from flask import (
    Blueprint,
    Response,
    make_response,
    redirect,
    render_template,
    request,
)

from webhook.engine.deliveries import MOST_REPLAYED, may_deploy, why_not_replayed
from webhook.errors import HttpError
from webhook.store import audit, delivery_requests, delivery_search, recovery
from webhook.store.audit import NewAct
from webhook.store.database import Sync
from webhook.store.delivery_requests import DeliveryRequest, NewRequest
from webhook.store.delivery_search import PLANNED_OF, TEXT_SEARCHED, Candidate, Candidates
from webhook.web import paths
from webhook.web.auth.forms import form_key, incomplete
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.given import number
from webhook.web.pages.deliveries.delivery import PULLS, stored_delivery, why_not_redelivered
from webhook.web.pages.deliveries.filter import DeliveryFilter, is_seen, read_filter, seen_by
from webhook.web.pages.deliveries.rows import (
    DeliveryRow,
    RequestRow,
    filter_text,
    replay_path,
    request_row,
    row_of,
)
from webhook.web.pages.elements import Moment, moment
from webhook.web.services import PageServices

_MOST_SHOWN = 10
_MOST_FAILURES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPage:
    """What a replay of all that match would do. `upto`: the id of the newest, so that none counts
    that comes later. `left_out`: how many cannot be, each with the reason. `too_many`: none is."""

    filter: DeliveryFilter
    what: str
    count: int
    too_many: bool
    most: int
    upto: int
    left_out: Sequence[tuple[int, str]]
    warning: str
    searched_to: Moment | None
    searched: int
    rows: Sequence[DeliveryRow]


class Asker(TypedDict):
    key: str
    login: str
    user_id: int


@dataclass(frozen=True, slots=True)
class _Plan:
    chosen: Sequence[Candidate]
    left_out: Mapping[str, int]
    candidates: Candidates

    @property
    def too_many(self) -> bool:
        return len(self.candidates.found) > MOST_REPLAYED


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.post("/deliveries/<guid>/replay")
    def replay(guid: str) -> Response:
        viewer = services.require_form()
        _replay_one(services, viewer, guid)
        return _back(paths.delivery(guid))

    @bp.post("/deliveries/<guid>/redeliver")
    def redeliver(guid: str) -> Response:
        viewer = services.require_form()
        _redeliver(services, viewer, guid)
        return _back(paths.delivery(guid))

    @bp.get("/deliveries/replay")
    def plan() -> str:
        viewer = services.require_viewer()
        return render_template("replay_plan.html", page=_plan_page(services, viewer))

    @bp.post("/deliveries/replay")
    def replay_all() -> Response:
        viewer = services.require_form()
        return _back(replay_path(_replay_all(services, viewer)))

    @bp.get("/deliveries/replays/<int:request_id>")
    def progress(request_id: int) -> str:
        viewer = services.require_viewer()
        return render_template("replay.html", page=read_replay(services, viewer, request_id))

    @bp.post("/deliveries/replays/<int:request_id>/cancel")
    def cancel(request_id: int) -> Response:
        viewer = services.require_form()
        _cancel(services, viewer, request_id)
        return _back(replay_path(request_id))


def _back(path: str) -> Response:
    return make_response(redirect(path, 303))


# -- one delivery -----------------------------------------------------------------------------


def _replay_one(services: PageServices, viewer: Viewer, guid: str) -> None:
    found = stored_delivery(services, viewer, guid)
    if found is None:
        raise not_found()
    new = asker(viewer, "replay", guid)
    with services.pool.connection() as connection, connection.transaction():
        _, is_new = delivery_requests.add(
            connection,
            NewRequest(
                **new,
                kind="replay",
                guid=guid,
                repo_id=found.repo_id or 0,
                repo=found.repo,
                deliveries=[found.summary.id],
            ),
        )
        if not is_new:
            return
        if why := why_not_replayed(found.summary, services.keep, services.clock()):
            raise conflict(f"This delivery {why}")
        act = NewAct(
            actor=new["login"],
            source="page",
            action="replay",
            repo_id=found.repo_id or 0,
            repo=found.repo,
            deployment_id=found.summary.deployment_id,
            reason="1 delivery",
            details={"deliveries": [guid], "count": 1},
        )
        audit.add_sync(connection, act)


def _redeliver(services: PageServices, viewer: Viewer, guid: str) -> None:
    """Who asked GitHub stands in the audit once a worker has."""
    found = stored_delivery(services, viewer, guid)
    if found is None:
        _require_missed(services, viewer, guid)
    why = why_not_redelivered(services, found.delivery) if found else ""
    if why or services.settings.deliveries == "pull":
        raise conflict(why or PULLS)
    with services.pool.connection() as connection, connection.transaction():
        delivery_requests.add(
            connection,
            NewRequest(
                **asker(viewer, "redeliver", guid),
                kind="redeliver",
                guid=guid,
                repo_id=(found.repo_id or 0) if found else 0,
                repo=found.repo if found else "",
                arrivals=found.summary.arrivals if found else 0,
            ),
        )


def _require_missed(services: PageServices, viewer: Viewer, guid: str) -> None:
    viewer.require_operator()
    with services.pool.connection() as connection:
        if recovery.missed(connection, guid) is None:
            raise not_found()


def asker(viewer: Viewer, *about: str) -> Asker:
    session = viewer.session
    assert session is not None
    key = form_key(session, *about)
    return {"key": key, "login": session.person.login, "user_id": session.person.id}


def conflict(reason: str) -> HttpError:
    return HttpError(
        409,
        "This cannot be done now",
        detail=f"{reason}. Nothing was done.",
        remedy="Go back, and open the page again: it says what can be done.",
    )


# -- all that match ---------------------------------------------------------------------------


def _plan_page(services: PageServices, viewer: Viewer) -> PlanPage:
    chosen = _filter(services, viewer, request.args)
    with services.pool.connection() as connection:
        plan = _plan(services, connection, chosen, None)
        rows = delivery_search.page(connection, _MOST_SHOWN, chosen.selection).deliveries
    found = plan.candidates
    return PlanPage(
        filter=chosen,
        what=filter_text(dict(chosen.given)),
        count=len(plan.chosen),
        too_many=plan.too_many,
        most=MOST_REPLAYED,
        upto=found.newest,
        left_out=[(number, why) for why, number in plan.left_out.items()],
        warning=may_deploy(plan.chosen),
        searched_to=moment(found.searched_to) if found.searched_to else None,
        searched=TEXT_SEARCHED if chosen.selection.text else PLANNED_OF,
        rows=[row_of(one, services.redactor, services.clock()) for one in rows],
    )


def _plan(
    services: PageServices, connection: Sync, chosen: DeliveryFilter, upto: int | None
) -> _Plan:
    before = None if upto is None else upto + 1
    found = delivery_search.candidates(connection, MOST_REPLAYED + 1, chosen.selection, before)
    now = services.clock()
    can_be: list[Candidate] = []
    left_out: dict[str, int] = {}
    for one in found.found:
        if why := why_not_replayed(one, services.keep, now):
            left_out[why] = left_out.get(why, 0) + 1
        else:
            can_be.append(one)
    return _Plan(can_be, left_out, found)


def _filter(
    services: PageServices, viewer: Viewer, given: Mapping[str, str], *, for_act: bool = False
) -> DeliveryFilter:
    """Of these no GUID: that is one delivery."""
    repo_ids = seen_by(viewer, for_act=for_act)
    chosen = read_filter(given, services, repo_ids)
    if repo_ids == frozenset() or (chosen.tab == "missed" and not viewer.operator):
        raise not_found()
    if chosen.errors or chosen.guid or chosen.tab == "missed":
        raise HttpError(
            400,
            "These deliveries cannot be replayed together",
            detail="; ".join(chosen.errors)
            or "A GUID is of one delivery; what is missing is not here.",
            remedy="Go back to the list, and choose by event, outcome, repository or time.",
        )
    return chosen


def _replay_all(services: PageServices, viewer: Viewer) -> int:
    """What matches now, of what the plan has counted: its report says what became of each."""
    form = request.form
    chosen = _filter(services, viewer, form, for_act=True)
    upto = number(form.get("upto", ""))
    if upto is None:
        raise incomplete()
    new = asker(viewer, "replay all")
    with services.pool.connection() as connection, connection.transaction():
        plan = _plan(services, connection, chosen, upto)
        ids = [] if plan.too_many else [one.id for one in plan.chosen]
        request_id, is_new = delivery_requests.add(
            connection,
            NewRequest(**new, kind="replay", filter=dict(chosen.given), deliveries=ids),
        )
        if is_new and not ids:
            raise conflict("No delivery matches any more, or too many do")
        if is_new:
            details = {**chosen.given, "count": len(ids)}
            _audit(connection, viewer, "replay", f"{len(ids):,} deliveries", details)
    return request_id


def _audit(
    connection: Sync, viewer: Viewer, action: str, reason: str, details: Mapping[str, object]
) -> None:
    assert viewer.person is not None
    actor = viewer.person.login
    act = NewAct(actor=actor, source="page", action=action, reason=reason, details=details)
    audit.add_sync(connection, act)


def read_replay(services: PageServices, viewer: Viewer, request_id: int) -> RequestRow:
    operator = viewer.operator  # which may take a connection itself
    with services.pool.connection() as connection:
        found = _own_replay(connection, viewer, request_id, operator=operator)
        results = delivery_requests.results(connection, found.id) if found.open else None
        failures = delivery_requests.failures(connection, found.id, _MOST_FAILURES)
    seen = [one for one in failures if is_seen(viewer, one.repo_id)]
    return request_row(found, results, seen)


def _own_replay(
    connection: Sync, viewer: Viewer, request_id: int, *, operator: bool
) -> DeliveryRequest:
    """Somebody else's only for operators."""
    found = delivery_requests.read_sync(connection, request_id)
    person = viewer.person
    if found is None or found.guid or person is None:
        raise not_found()
    if not operator and found.user_id != person.id:
        raise not_found()
    return found


def _cancel(services: PageServices, viewer: Viewer, request_id: int) -> None:
    assert viewer.person is not None
    operator = viewer.operator
    with services.pool.connection() as connection, connection.transaction():
        found = _own_replay(connection, viewer, request_id, operator=operator)
        message = f"cancelled by {viewer.person.login}"
        if delivery_requests.cancel(connection, request_id, message):
            reason = f"after {found.position:,} of {found.count:,}"
            details = {"replay": request_id, **found.filter}
            _audit(connection, viewer, "cancel replay", reason, details)
