"""Flask without what no view of ours uses and each request would pay for: sessions, and hosts or
subdomains in routes. It is called without WSGI where a response need not be streamed.

Source: Flask 3.1, `Flask.wsgi_app`, `Flask.create_url_adapter` and `SessionInterface`. What is
saved stands in docs/explanation/decisions/0006-ingest.md.
"""

from typing import Any

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

from webhook.http import PAGE_HEADERS, PAGE_POLICY


class _NoSessions(SessionInterface):
    """One for all requests: whoever writes to it gets an error."""

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return _NO_SESSION


_NO_SESSION = NullSession()
_HTML = "text/html"
_DEFAULT_HEADERS = {"Content-Security-Policy": PAGE_POLICY, **PAGE_HEADERS}


class RelayFlask(Flask):
    session_interface = _NoSessions()

    def respond(self, environ: dict[str, Any]) -> Response:
        """As `wsgi_app` does, but for what it does for the sake of WSGI."""
        with self.request_context(environ):
            try:
                return self.full_dispatch_request()
            except Exception as error:  # noqa: BLE001 - as Flask does
                return self.handle_exception(error)

    def compile_templates(self) -> None:
        """It takes longer than showing most pages; who opens them first would wait for it."""
        for name in self.jinja_env.list_templates():
            self.jinja_env.get_template(name)

    def process_response(self, response: Response) -> Response:
        """Also what Flask itself responds with, such as 405, is shown safely."""
        response = super().process_response(response)
        headers = response.headers
        if headers.get("Content-Type", _HTML).startswith(_HTML):
            for name, value in _DEFAULT_HEADERS.items():
                headers.setdefault(name, value)
        return response

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return super().create_url_adapter(None)
        environ = request.environ
        return MapAdapter(
            self.url_map,
            environ["HTTP_HOST"],
            environ["SCRIPT_NAME"],
            self.url_map.default_subdomain,
            environ["wsgi.url_scheme"],
            environ["PATH_INFO"].encode("latin-1").decode(errors="replace"),
            environ["REQUEST_METHOD"],
            environ["QUERY_STRING"],
        )
