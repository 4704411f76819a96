"""/: that the relay runs, and what to do next. It reveals nothing that its address does not."""

from flask import Blueprint, Response, make_response, render_template, request

from webhook.http import PAGE_HEADERS, PAGE_POLICY


def blueprint(server_url: str) -> Blueprint:
    bp = Blueprint("home", __name__)
    template = {"text/html": "home.html", "text/plain": "home.txt"}

    @bp.get("/")
    def home() -> Response:
        """As text for curl and the like, which accept anything."""
        wants_page = "text/html" in request.headers.get("Accept", "")
        kind = "text/html" if wants_page else "text/plain"
        response = make_response(render_template(template[kind], url=server_url) + "\n")
        response.content_type = f"{kind}; charset=utf-8"
        response.headers.update(PAGE_HEADERS)
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    return bp
