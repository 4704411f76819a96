"""What all views share: how an error is written, how much of a body is read, headers of pages."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import psycopg
import structlog
from flask import Blueprint, Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from webhook.errors import BadCredentials, HttpError, UnknownOutcome
from webhook.security.attempts import MOST, WITHIN, FailedAttempts

log = structlog.get_logger()

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    # Keys, codes and states are in the URLs. Without any referrer, browsers would hide where the
    # pages' own forms come from, too.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


# In the environ, of webhook.web.gateway: a body that was read before the view was called, what the
# response has to wait for, and what sends its body.
BODY = "relay.body"
AWAITED = "relay.awaited"
STREAMED = "relay.streamed"


@lru_cache(maxsize=1000)
def environ_key(header: str) -> str:
    """Of a header other than Content-Type and Content-Length, by PEP 3333."""
    return "HTTP_" + header.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class BodyRule:
    """Where views take a body, of `largest` bytes at most. Without headers of this form its sender
    cannot be verified, so that it need not be read."""

    path: re.Pattern[str]
    largest: int
    headers: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    # The view waits for nothing but with `wait_for`, so that it needs no thread.
    immediate: bool = False

    def is_for(self, environ: Mapping[str, Any]) -> bool:
        return self.path.fullmatch(environ["PATH_INFO"]) is not None

    def applies(self, environ: Mapping[str, Any]) -> bool:
        return self.is_for(environ) and all(
            form.fullmatch(environ.get(environ_key(name), ""))
            for name, form in self.headers.items()
        )


@dataclass(frozen=True, slots=True)
class ErrorHandling:
    """`render` writes the error of a view; `store_unavailable` is the error for a store that does
    not respond. `every_error`: Flask's own errors and bugs are written by `render` too."""

    render: Callable[[HttpError], Response]
    store_unavailable: HttpError | None = None
    every_error: bool = False


def serve(app: Flask, bp: Blueprint, errors: ErrorHandling) -> None:
    """Add these views, with their errors."""

    def reject_without_store(error: Exception) -> Response:
        assert errors.store_unavailable is not None
        log.error("no response from the store", path=_path(), error=type(error).__name__)
        return errors.render(errors.store_unavailable)

    def reject_any(error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return errors.render(HttpError(error.code or 500, error.name))
        log.exception("a request failed", path=_path())
        return errors.render(HttpError(500, "Server Error"))

    failed = FailedAttempts()

    def reject_credentials(error: BadCredentials) -> Response:
        count = failed.add(request.environ["REMOTE_ADDR"])
        return errors.render(error if count <= MOST else _limited(error, count))

    bp.register_error_handler(HttpError, errors.render)
    bp.register_error_handler(BadCredentials, reject_credentials)
    if errors.store_unavailable is not None:
        bp.register_error_handler(psycopg.Error, reject_without_store)
    if errors.every_error:
        bp.register_error_handler(Exception, reject_any)
    app.register_blueprint(bp)


def _limited(error: BadCredentials, count: int) -> HttpError:
    """Only the first one is logged."""
    return HttpError(
        429,
        str(error),
        error.remedy,
        detail=f"More than {MOST} such requests came from your address. {error.detail}".strip(),
        retry_after=int(WITHIN),
        quiet=count > MOST + 1,
    )


def as_json(error: HttpError) -> Response:
    """For machines."""
    log_rejection(error)
    return with_status(jsonify(error=str(error), remedy=error.remedy), error)


def as_page(error: HttpError) -> Response:
    """For people. Uses the templates of the pages."""
    return with_status(make_response(render_template("error.html", error=error)), error)


def with_status(response: Response, error: HttpError) -> Response:
    response.status_code = error.status
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


JSON_ERRORS = ErrorHandling(as_json)


def log_rejection(error: HttpError) -> None:
    if error.quiet:
        return
    about = {"path": _path(), "status": error.status}
    if guid := request.headers.get("X-GitHub-Delivery"):
        about["delivery"] = guid[:100]
    messages = [str(error), *(field["message"] for field in error.fields)]
    log.warning("request rejected", error=": ".join(messages), **about)


@dataclass(frozen=True, slots=True)
class Awaited:
    """`begin` is called on the event loop. `error` is the response if what that begins is not done
    `within` seconds, or its outcome is unknown."""

    begin: Callable[[], Awaitable[None]]
    within: float
    error: Callable[[], HttpError]

    async def done(self) -> None:
        """Errors: `HttpError`."""
        try:
            async with asyncio.timeout(self.within):
                await self.begin()
        except (TimeoutError, UnknownOutcome):
            raise self.error() from None


def wait_for(awaited: Awaited) -> None:
    """The response of this view is sent when that is done. The gateway waits, after the view: no
    thread does."""
    if AWAITED not in request.environ:
        raise RuntimeError("nobody would wait: this view is to be called by webhook.web.gateway")
    request.environ[AWAITED] = awaited


class Outgoing(Protocol):
    """A response under way. What is written is queued, however slowly the client reads.
    `gone` is done once the client is."""

    gone: asyncio.Future[None]

    def write(self, chunk: bytes) -> None: ...


class Streamed(Protocol):
    """Sends a body from the event loop, so that it holds no thread."""

    async def send(self, outgoing: Outgoing) -> None: ...

    def close(self) -> None:
        """The client has got all of it, or is gone."""


def stream(streamed: Streamed, mimetype: str, headers: Mapping[str, str]) -> Response:
    """The response of this view, whose body the gateway lets `streamed` send after the view."""
    if STREAMED not in request.environ:
        raise RuntimeError("nobody would send: this view is to be called by webhook.web.gateway")
    request.environ[STREAMED] = streamed
    return Response(iter(()), mimetype=mimetype, headers=dict(headers))


def read_body(limit: int) -> bytes | None:
    """None where it is longer than `limit` bytes. Read before anything is locked: it may come
    slowly."""
    body: bytes | None = request.environ.get(BODY)
    if body is not None:
        return body if len(body) <= limit else None
    if request.content_length is not None and request.content_length > limit:
        return None
    request.max_content_length = limit + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return None
    # A body without a length is cut off by Werkzeug, at one byte more than we take.
    return body if len(body) <= limit else None


def _path() -> str:
    return request.path[:200]
