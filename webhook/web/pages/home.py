"""/ for who has not signed in: that the relay runs, and what to do next.

It reveals nothing that its address does not.
"""

from flask import Response, make_response, render_template, request

from webhook.web.services import PageServices


def home_page(services: PageServices) -> Response:
    """As text for curl and the like, which accept anything."""
    wants_page = "text/html" in request.headers.get("Accept", "")
    template, kind = ("home.html", "text/html") if wants_page else ("home.txt", "text/plain")
    text = render_template(template, url=services.settings.server_url)
    response = make_response(text + "\n")
    response.content_type = f"{kind}; charset=utf-8"
    return response
