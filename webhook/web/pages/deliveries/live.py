"""The pages of deliveries kept up to date."""

from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, current_app, request

from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.live import TICK, Parts
from webhook.web.pages.deliveries.acts import read_replay
from webhook.web.pages.deliveries.delivery import read_delivery, stored_delivery
from webhook.web.pages.deliveries.views import read_page
from webhook.web.requests import FormFields, form_fields
from webhook.web.services import PageServices

_LIST_PARTS = ("delivery_list", "replays")
# Of one delivery, besides its buttons.
_PARTS = ("outcome", "facts", "requested")
_LONGEST_KEY = 100


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get("/deliveries/events")
    def newest_deliveries() -> Response:
        viewer, args = services.require_viewer(), request.args.to_dict()
        macros = _macros()

        def render() -> Parts:
            page = read_page(services, viewer, args)
            html = {name: str(getattr(macros, name)(page)) for name in _LIST_PARTS}
            return Parts("Deliveries", "", html)

        return services.live.parts([TICK], render)

    @bp.get("/deliveries/<guid>/events")
    def live_delivery(guid: str) -> Response:
        viewer = services.require_viewer()
        if stored_delivery(services, viewer, guid) is None:
            raise not_found()
        form = _form(services, viewer)
        macros = _macros()

        def render() -> Parts | None:
            page = read_delivery(services, viewer, guid)
            if page is None:
                return None
            html = {name: str(getattr(macros, name)(page)) for name in _PARTS}
            html["again"] = str(macros.again(page, form))
            return Parts(page.row.about, page.row.tone, html)

        return services.live.parts([TICK], render)

    @bp.get("/deliveries/replays/<int:request_id>/events")
    def live_progress(request_id: int) -> Response:
        viewer = services.require_viewer()
        read_replay(services, viewer, request_id)
        form = _form(services, viewer)
        macros = _macros()

        def render() -> Parts:
            replay = read_replay(services, viewer, request_id)
            html = {
                "progress": str(macros.progress(replay)),
                "cancel": str(macros.cancel(replay, form)),
                "failed": str(macros.failed(replay)),
            }
            return Parts(f"Replay of {replay.count} deliveries", replay.tone, html)

        return services.live.parts([TICK], render)


def _form(services: PageServices, viewer: Viewer) -> FormFields:
    """With the key of the page, so that what is sent before and after an update counts once."""
    new = form_fields(services.sessions, viewer.session)
    return replace(new, key=request.args.get("key", "")[:_LONGEST_KEY] or new.key)


def _macros() -> Any:
    """They are used outside of the request."""
    return current_app.jinja_env.get_template("deliveries_parts.html").module
