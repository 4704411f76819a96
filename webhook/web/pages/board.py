"""/ for who has signed in: what is where, and what waits for the viewer.

Errors: 503 the store does not respond.
"""

from flask import Blueprint, Response, make_response, render_template, request

from webhook.web.pages.board_filters import STATES, Filters
from webhook.web.pages.board_parts import BoardParts
from webhook.web.pages.board_reader import BoardReader
from webhook.web.pages.home import home_page
from webhook.web.services import PageServices


def add_to(bp: Blueprint, services: PageServices) -> None:
    reader = BoardReader(services)
    url = services.settings.server_url

    @bp.get("/")
    def show_board() -> Response:
        """For who has not signed in, and for curl, what the relay is."""
        wants_page = "text/html" in request.headers.get("Accept", "")
        viewer = services.viewer() if wants_page else None
        if viewer is None or viewer.person is None:
            return home_page(services)
        filters = Filters.of(request.args)
        parts = BoardParts.of(reader.read(viewer, filters), url)
        return make_response(
            render_template(
                "board.html",
                page=parts.page,
                parts=parts,
                states=STATES,
            )
        )
