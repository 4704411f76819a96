"""The App's webhook as GitHub sees it: its deliveries, to list, read and send again; its address.

Source: docs.github.com/rest/apps/webhooks, "Handling failed webhook deliveries". GitHub keeps a
delivery for three days, an Enterprise Server for seven; each attempt is a delivery of its own, with
the GUID of the first. The list has no page numbers and no order by `id`, which grew beyond 2^53.
Errors: `RetryAt` (a rate limit), `UnknownOutcome`, `Rejected`. Needs no permission.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError

from webhook.deployments.models import GitHubId, Text
from webhook.errors import Rejected, UnknownOutcome
from webhook.github.client import GitHub
from webhook.github.transport import Response

# The most that GitHub lists at once.
PAGE = 100
KEPT = timedelta(days=3)
KEPT_ON_A_SERVER = timedelta(days=7)
# To a cursor that it does not know, or not any more.
_STALE = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)

_PATH = "/app/hook/deliveries"
_CONFIG = "/app/hook/config"


_Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,100}$")]
_OptionalId = Annotated[int, BeforeValidator(lambda value: value or 0), Field(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDelivery:
    """One attempt. `repository_id`: 0 where the event is about none. `status` is "OK" or what went
    wrong, by GitHub, which need not be so: a proxy may have said OK, or our response came late."""

    id: GitHubId
    guid: _Name
    event: _Name
    delivered_at: AwareDatetime
    action: Text = ""
    repository_id: _OptionalId = 0
    status: Text = ""


_LISTED = TypeAdapter(ListedDelivery)
_HOOK_ID = TypeAdapter(GitHubId)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Newest first. `cursor`: of the next page, "" if there is none. `at`: GitHub's time. `pace`:
    from one call to the next, to stay within the rate limit."""

    deliveries: Sequence[ListedDelivery]
    oldest: datetime | None
    cursor: str
    at: datetime
    pace: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDelivery:
    """`body` is the payload as GitHub parsed it, in JSON that need not be the bytes that were
    signed."""

    hook_id: int
    guid: str
    event: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where the App's webhook points. `url`: "" if it has none."""

    url: str
    content_type: str
    insecure_ssl: bool


def kept_for(github: GitHub) -> timedelta:
    """How long GitHub keeps a delivery."""
    return kept_at(github.api_url)


def kept_at(api_url: str) -> timedelta:
    on_a_server = urlsplit(api_url).path.rstrip("/").endswith("/api/v3")
    return KEPT_ON_A_SERVER if on_a_server else KEPT


async def page(github: GitHub, cursor: str = "") -> Page:
    """The newest deliveries, or those from a cursor on. All outcomes: what never got a response is
    in no filter by status."""
    query = {"per_page": PAGE, **({"cursor": cursor} if cursor else {})}
    response = await github.as_app("GET", f"{_PATH}?{urlencode(query)}")
    if not isinstance(response.document, list):
        raise UnknownOutcome("GitHub's list of deliveries is none; check GITPLOY_GITHUB_BASE_URL")
    found = list(_read(response.document))
    following = _cursor(github, response.next_url)
    if following and following == cursor:
        raise UnknownOutcome("GitHub's list of deliveries links from a page to the same one")
    at = _date(response) or github.now()
    return Page(
        deliveries=found,
        oldest=found[-1].delivered_at if found else None,
        cursor=following if response.document else "",
        at=at,
        pace=_pace(response, at),
    )


def is_stale(error: Rejected) -> bool:
    """Whether it may be the cursor that GitHub rejects: the list is begun again then."""
    return error.status in _STALE


async def read(github: GitHub, delivery_id: int) -> FullDelivery | None:
    """None: GitHub does not have its payload or its headers; it can be sent again only."""
    try:
        return _full((await github.as_app("GET", f"{_PATH}/{delivery_id}")).document)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnknownOutcome(f"GitHub's delivery {delivery_id} cannot be read: {error}") from error


async def redeliver(github: GitHub, delivery_id: int) -> None:
    """Ask GitHub to send it once more. It says that it will; whether it arrives is to be seen."""
    await github.as_app("POST", f"{_PATH}/{delivery_id}/attempts")


async def hook(github: GitHub) -> Hook | None:
    """None: the App has no webhook."""
    try:
        response = await github.as_app("GET", _CONFIG)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    document = response.document
    if not isinstance(document, dict):
        raise UnknownOutcome("GitHub did not say where the App's webhook points")
    return Hook(
        url=str(document.get("url") or ""),
        content_type=str(document.get("content_type") or "form"),
        insecure_ssl=str(document.get("insecure_ssl") or "0") != "0",
    )


def _read(documents: Sequence[Any]) -> Iterator[ListedDelivery]:
    """Without what is malformed: one must not hide all others."""
    for document in documents:
        with suppress(ValidationError):
            yield _LISTED.validate_python(document)


def _cursor(github: GitHub, url: str | None) -> str:
    """The App's key goes with the next request: it is made of the cursor alone, and not even that
    is taken from an address that is not this list's."""
    if not url:
        return ""
    link, own = urlsplit(url), urlsplit(github.api_url.rstrip("/") + _PATH)
    cursors = parse_qs(link.query).get("cursor", [])
    if _address(link) != _address(own) or len(cursors) != 1:
        raise UnknownOutcome(
            f"GitHub's list of deliveries goes on at {link.scheme}://{link.hostname}{link.path},"
            f" which is not GITPLOY_GITHUB_BASE_URL ({github.api_url}); check that"
        )
    return cursors[0]


def _address(url: SplitResult) -> tuple[str, str, int | None, str]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.hostname or "", url.port or default, url.path


def _date(response: Response) -> datetime | None:
    try:
        at = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else None


def _pace(response: Response, at: datetime) -> timedelta:
    """What is left until the limit is reset, shared by the calls that are left until then."""
    remaining = response.headers.get("x-ratelimit-remaining", "")
    reset = response.headers.get("x-ratelimit-reset", "")
    if not remaining.isdecimal() or not reset.isdecimal():
        return timedelta(0)
    seconds = max(0.0, float(reset) - at.timestamp())
    return timedelta(seconds=min(seconds, 3600) / max(1, int(remaining)))


def _full(document: Mapping[str, Any]) -> FullDelivery | None:
    request = document.get("request") or {}
    payload, headers = request.get("payload"), request.get("headers")
    if not isinstance(payload, dict) or not isinstance(headers, dict):
        return None
    # Their case is not documented.
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    if "x-github-hook-id" not in named:
        return None
    return FullDelivery(
        hook_id=_HOOK_ID.validate_python(int(named["x-github-hook-id"])),
        guid=str(document["guid"]),
        event=named.get("x-github-event") or str(document["event"]),
        body=json.dumps(payload, separators=(",", ":")).encode(),
    )
