"""Reading a request as GitHub does: typed fields, its validation errors, pages with Link."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from sandbox.faults import without_api_prefix
from sandbox.github.model import ErrorResponse, Json

T = TypeVar("T")
API_VERSION = "2022-11-28"
KINDS = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}


def check_headers(request: web.Request) -> None:
    """Stricter than GitHub, which accepts what it need not be sent."""
    version = request.headers.get("X-GitHub-Api-Version")
    if version != API_VERSION:
        raise ErrorResponse(400, f"{version} is not a supported API version")
    content_type = request.headers.get("Content-Type", "")
    if request.body_exists and not content_type.startswith("application/json"):
        raise ErrorResponse(400, f"the body is not JSON but '{content_type}'")
    if content_type and not request.body_exists:
        raise ErrorResponse(400, f"there is a Content-Type, {content_type}, without a body")


async def body_of(request: web.Request) -> Json:
    """The JSON object of a request; no body is an empty object."""
    raw = await request.read()
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise ErrorResponse(400, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise ErrorResponse(400, "Body should be a JSON object")
    return body


def field(body: Json, name: str, default: T, kind: type[T]) -> T:
    """A field of the body; null is not the same as absent."""
    if name not in body:
        return default
    value = body[name]
    if isinstance(value, kind):
        return value
    sent = "nil" if value is None else json.dumps(value)
    raise ErrorResponse(
        422, f"Invalid request.\n\nFor 'properties/{name}', {sent} is not {KINDS[kind]}."
    )


def required(body: Json, name: str) -> str:
    if name not in body:
        raise ErrorResponse(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')
    return field(body, name, "", str)


def invalid(resource: str, name: str, message: str) -> NoReturn:
    error: Json = {"resource": resource, "code": "custom", "field": name, "message": message}
    raise ErrorResponse(422, "Validation Failed", [error])


def url_field(body: Json, name: str, resource: str) -> str:
    url = field(body, name, "", str)
    if url and not url.startswith(("https://", "http://")):
        invalid(resource, name, f"{name} must use http(s) scheme")
    return url


def number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() and int(text) > 0 else default


def conditional(request: web.Request, document: Any, headers: Json) -> web.Response:
    """With an ETag, or 304 where the caller has the document already. Another token has another
    ETag. Source: "Use conditional requests if appropriate" in GitHub's best practices."""
    body = json.dumps(document).encode()
    credential = request.headers.get("Authorization", "").encode()
    etag = f'W/"{hashlib.sha256(body + credential).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={**headers, "ETag": etag})
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return web.Response(body=body, headers={**headers, "ETag": etag, **kind})


def page(request: web.Request, items: Sequence[Any], url: str) -> tuple[Sequence[Any], Json]:
    """One page of items, and the Link header to the others."""
    size = min(number(request, "per_page", 30), 100)
    current, last = number(request, "page", 1), max(1, -(-len(items) // size))
    targets = {"prev": current - 1, "next": current + 1, "last": last, "first": 1}
    if current <= 1:
        del targets["prev"], targets["first"]
    if current >= last:
        del targets["next"], targets["last"]
    query = {k: v for k, v in request.query.items() if k != "page"}
    base = f"{url}{without_api_prefix(request.path)}"
    links = [
        f'<{base}?{urlencode({**query, "page": n})}>; rel="{rel}"' for rel, n in targets.items()
    ]
    return items[(current - 1) * size : current * size], {"Link": ", ".join(links)} if links else {}
