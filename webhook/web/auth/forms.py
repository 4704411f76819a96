"""Forms of the relay's own pages: whether a request comes from one, as all must that change
something, whether it came before, and where to go next.

A browser says where a request comes from (Sec-Fetch-Site, else Origin), and the form brings a token
of its session. The session's cookie is SameSite=Lax besides.

Source: developer.mozilla.org, "Sec-Fetch-Site"; fetch.spec.whatwg.org, "Origin header". Sec-Fetch-*
is sent to https and loopback addresses only.
"""

from typing import NoReturn
from urllib.parse import urlsplit

from flask import request

from webhook.deployments.actions import request_key
from webhook.errors import BadCredentials, HttpError
from webhook.web.auth.sessions import Session, Sessions

# The name of the form's field.
TOKEN = "csrf"  # noqa: S105 - no password
_OWN = ("same-origin", "none")


def require_own_form(sessions: Sessions, session: Session, server_url: str) -> None:
    """Errors: `BadCredentials`."""
    site = request.headers.get("Sec-Fetch-Site")
    own = site in _OWN if site is not None else _origin() == server_url
    if not own or not sessions.is_form_token(session, request.form.get(TOKEN, "")):
        _reject()


def form_key(session: Session, *about: str) -> str:
    """The same form sent twice is one request. Errors: `HttpError`."""
    key = request.form.get("key", "")
    if not key:
        raise incomplete()
    return request_key("page", session.id, *about, key)


def incomplete() -> HttpError:
    return HttpError(400, "The form is incomplete", "Open the page again, and press the button")


def local_path(text: str) -> str:
    """Where to go next, if that is a page of the relay's; "/" else."""
    local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if local else "/"


def _origin() -> str:
    given = request.headers.get("Origin") or request.headers.get("Referer", "")
    try:
        parts = urlsplit(given)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _reject() -> NoReturn:
    raise BadCredentials(
        403,
        "This did not come from a page of the relay",
        detail="Nothing was done. The page may be older than your session, or another site has sent"
        " it.",
        remedy="Open the page again, and press the button there.",
    )
