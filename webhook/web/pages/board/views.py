"""/ for who has signed in: what is where, and what waits for the viewer.

Errors: 503 the store does not respond.
"""

from flask import Blueprint, Response, current_app, make_response, render_template, request

from webhook.web.live import Shared
from webhook.web.pages.board.feed import TOPICS, BoardFeed
from webhook.web.pages.board.filters import STATES, Filters
from webhook.web.pages.board.parts import BoardParts
from webhook.web.pages.board.reader import BoardReader, Make
from webhook.web.pages.home import home_page
from webhook.web.services import PageServices

# Boards that are kept for several viewers: each may be a megabyte.
MOST_SHARED = 20


def add_to(bp: Blueprint, services: PageServices) -> None:
    reader = BoardReader(services)
    url, shared = services.settings.server_url, Shared(MOST_SHARED)

    @bp.get("/")
    def show_board() -> Response:
        """For who has not signed in, and for curl, what the relay is."""
        wants_page = "text/html" in request.headers.get("Accept", "")
        viewer = services.viewer() if wants_page else None
        if viewer is None or viewer.person is None:
            return home_page(services)
        filters = Filters.of(request.args)
        parts = BoardParts.of(reader.read(viewer, filters), url, current_app.jinja_env)
        return make_response(
            render_template(
                "board.html",
                page=parts.page,
                parts=parts,
                states=STATES,
                live=filters.address("/events", after=filters.after, shown=parts.digest),
            )
        )

    @bp.get("/events")
    def board_events() -> Response:
        viewer = services.require_viewer()
        assert viewer.person is not None
        filters, templates = Filters.of(request.args), current_app.jinja_env

        def read(make: Make) -> BoardParts:
            return BoardParts.of(reader.read(viewer, filters, make), url, templates)

        feed = BoardFeed(read, shared, request.args.get("shown", ""))
        return services.live.feed({*TOPICS, f"person:{viewer.person.id}"}, feed)
