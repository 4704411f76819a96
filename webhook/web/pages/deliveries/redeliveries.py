"""GitHub is asked to send again what was missed: all that matches a filter. A plan shows first what
that is; a worker asks for each by itself, and the list shows what became of it.

Errors, each a page: 400 the form or the filter is not complete, 403 another site's form, 404 the
viewer runs no relay, 409 it cannot be done now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Response, make_response, redirect, render_template, request

from webhook.errors import HttpError
from webhook.github.deliveries import kept_at
from webhook.github.events import storable
from webhook.store import delivery_requests, recovery
from webhook.store.database import Sync
from webhook.store.delivery_requests import NewRequest
from webhook.store.recovery import MissedSelection
from webhook.web.auth.forms import incomplete
from webhook.web.auth.viewer import Viewer
from webhook.web.pages.deliveries.acts import asker, conflict
from webhook.web.pages.deliveries.delivery import PULLS
from webhook.web.pages.deliveries.filter import DeliveryFilter, read_filter
from webhook.web.pages.deliveries.rows import MissedRow, filter_text, missed_row
from webhook.web.pages.deliveries.views import REDELIVER_PATH
from webhook.web.services import PageServices

# Of GitHub, which allows 80 writes a minute.
MOST_REDELIVERED = 50
_FIELDS = ("event", "since", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeliveryPlan:
    """`missed`: those that GitHub would be asked for. `days`: as long as it keeps them. `too_many`:
    none would be."""

    filter: DeliveryFilter
    what: str
    missed: Sequence[MissedRow]
    days: int
    too_many: bool
    most: int


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get(REDELIVER_PATH)
    def redelivery_plan() -> str:
        viewer = services.require_viewer()
        chosen = _filter(services, viewer, request.args)
        with services.pool.connection() as connection:
            page = _plan(services, connection, chosen)
        return render_template("redelivery_plan.html", page=page)

    @bp.post(REDELIVER_PATH)
    def redeliver_all() -> Response:
        viewer = services.require_form()
        chosen = _filter(services, viewer, request.form)
        _redeliver_all(services, viewer)
        return make_response(redirect(chosen.path(), 303))


def _filter(services: PageServices, viewer: Viewer, given: Mapping[str, str]) -> DeliveryFilter:
    viewer.require_operator()
    if services.settings.deliveries == "pull":
        raise conflict(PULLS)
    wanted = {name: given.get(name, "") for name in _FIELDS}
    chosen = read_filter({**wanted, "tab": "missed"}, services, None)
    if chosen.errors:
        raise HttpError(
            400,
            "These deliveries cannot be chosen",
            detail="; ".join(chosen.errors),
            remedy="Go back to the list, and choose by event or time.",
        )
    return chosen


def _plan(services: PageServices, connection: Sync, chosen: DeliveryFilter) -> RedeliveryPlan:
    since = services.clock() - _kept(services)
    found = recovery.open_missed(connection, MOST_REDELIVERED + 1, chosen.of_missed, since)
    given = {name: value for name, value in chosen.given.items() if name != "tab"}
    return RedeliveryPlan(
        filter=chosen,
        what=filter_text(given),
        missed=[missed_row(one) for one in found[:MOST_REDELIVERED]],
        days=_kept(services).days,
        too_many=len(found) > MOST_REDELIVERED,
        most=MOST_REDELIVERED,
    )


def _kept(services: PageServices) -> timedelta:
    return kept_at(services.settings.github_base_url)


def _redeliver_all(services: PageServices, viewer: Viewer) -> None:
    """Of what the plan has shown, what still is missing, whatever else is by now; sent twice, it
    counts once."""
    confirmed = {storable(one) for one in request.form.getlist("guid")}
    if not confirmed:
        raise incomplete()
    since = services.clock() - _kept(services)
    with services.pool.connection() as connection, connection.transaction():
        for one in recovery.open_missed(
            connection, MOST_REDELIVERED, MissedSelection(), since, confirmed
        ):
            new = asker(viewer, "redeliver all", one.guid)
            delivery_requests.add(connection, NewRequest(**new, kind="redeliver", guid=one.guid))
