"""Options of the endpoint handler under `with:` in deploy.yml, and its addresses with placeholders.

Whoever may create a deployment chooses the values: they can change neither the host nor the shape
of an address. Each value is percent-encoded, and one that servers or proxies could read as another
segment of the path is rejected.

Source: RFC 3986, sections 2.4, 3.3 and 5.2.4.
Errors: `ValueError` with the remedy; `Rejected` for values that do not fit into an address.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, JsonValue, TypeAdapter, ValidationError, model_validator
from yarl import URL

from handlers import contract
from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.http import tls_context
from handlers.options import File, Template, Text, address, fill

SIGNATURE = "X-Hub-Signature-256"
IDEMPOTENCY_KEY = "Idempotency-Key"
EVENT = "X-Gitploy-Event"
RELAY_HEADERS = {name.lower() for name in (SIGNATURE, IDEMPOTENCY_KEY, EVENT)}
# They define the destination and the length of a request.
FRAMING = {
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade"),
    *("te", "trailer", "expect", "proxy-authorization", "proxy-connection"),
}
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


_HEAD = re.compile(r"https?://[^/?]*", re.I)
_PIECE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
ENCODED = re.compile(r"([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
"""An address that needs no encoding any more."""
_KEPT = "/?:@!$&'()*+,;=%"


def _checked(text: str) -> str:
    head = _HEAD.match(text)
    address(_PIECE.sub(lambda piece: "x" if piece[0].startswith(("{", "}")) else piece[0], text))
    if head is None or {"{", "}"} & set(head[0]):
        raise ValueError("placeholders are allowed in the path and the query of an address only")
    if "@" in head[0] or "#" in text:
        raise ValueError("an address here has no user, password or fragment; use `headers`")
    if "{report_token}" in text:
        raise ValueError("{report_token} would show in the tool's logs; use `headers` or `body`")
    return text


Address = Annotated[Template, AfterValidator(_checked)]
"""An http or https address with placeholders after its host."""


def origin(template: str) -> URL:
    """Scheme, host and port, which no placeholder changes."""
    head = _HEAD.match(template)
    return URL(head[0] if head else template).origin()


def same_origin(one: URL, other: URL) -> bool:
    return (one.scheme, one.raw_host, one.port) == (other.scheme, other.raw_host, other.port)


def fill_address(template: str, deployment: Deployment) -> URL:
    path, mark, query = _HEAD.sub("", template, count=1).partition("?")
    segments = (_segment(segment, deployment) for segment in path.split("/"))
    return at(origin(template), "/".join(segments) + mark + _filled(query, deployment))


def at(origin: URL, path: str) -> URL:
    """The address of a path, which is encoded already; not even `//host` in it leads elsewhere."""
    return URL(f"{origin}{path if path.startswith('/') else '/' + path}", encoded=True)


def _segment(template: str, deployment: Deployment) -> str:
    filled = _filled(template, deployment, of_path=True)
    if "{" in template and filled in ("", ".", ".."):
        raise Rejected(f"'{filled}', filled in for '{template}', changes the tool's address")
    return filled


def _filled(template: str, deployment: Deployment, *, of_path: bool = False) -> str:
    def piece(match: re.Match[str]) -> str:
        text = match[0]
        if text in ("{{", "}}") or not text.startswith("{"):
            return _LONE_PERCENT.sub("%25", quote(text[:1] if text[0] in "{}" else text, _KEPT))
        value = fill(text, deployment)
        # Many servers and proxies decode the path before they read it.
        if of_path and {".", ".."} & set(re.split(r"[/\\]", value)):
            raise Rejected(f"'{value}', filled in for '{text}', changes the tool's address")
        return quote(value, safe="")

    return _PIECE.sub(piece, template)


_TEMPLATE = TypeAdapter(Template)


def _headers(headers: dict[str, str]) -> dict[str, str]:
    seen = set()
    for name in headers:
        lower = name.lower()
        if not _NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not the name of a header")
        if lower in RELAY_HEADERS or lower in FRAMING:
            raise ValueError(f"the relay writes the header '{name}' itself; leave it out")
        if lower in seen:
            raise ValueError(f"the header '{name}' is there twice")
        seen.add(lower)
    return headers


def _header_value(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a header is one line; take the line break out (of the variable)")
    return text


def _body(body: JsonValue) -> JsonValue:
    if not isinstance(body, dict | list):
        raise ValueError("must be keys or a list")  # noqa: TRY004 - pydantic reads ValueError only
    try:
        json.dumps(body, allow_nan=False)
    except ValueError:
        raise ValueError("has a number that JSON does not know") from None
    for text in _strings(body):
        try:
            _TEMPLATE.validate_python(text)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["ctx"]["error"]) from None
    return body


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


class Cancel(contract.Options):
    """How to stop the tool."""

    url: Address
    """On the host of `url`; placeholders as there."""
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    """A DELETE has no body."""


class EndpointOptions(contract.Options):
    """A tool that is started by an HTTP request."""

    url: Address
    """Where the request goes: https://host/path?query, with placeholders after the host."""
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    """A GET has no body."""
    headers: Annotated[
        dict[str, Annotated[Template, AfterValidator(_header_value)]], AfterValidator(_headers)
    ] = Field(default_factory=dict, repr=False)
    """Sent with every request to the tool; placeholders in the values."""
    body: Annotated[JsonValue, AfterValidator(_body)] = None
    """Instead of the standard document: keys and lists, with placeholders in their texts."""
    secret: Text | None = Field(default=None, repr=False)
    """Signs the body, as GitHub signs its webhooks."""
    restart: Literal["held", "safe"] = "held"
    """After a start that may have run although there was no clear response. `safe`: it is repeated
    until the timeout, because the tool knows the Idempotency-Key. `held`: it is repeated twice, and
    then waits for a person."""
    cancel: Cancel | None = None
    """Called when a run has timed out or is cancelled."""
    ca: File | None = None
    """The authorities (PEM) to trust instead of the system's."""
    certificate: File | None = None
    """The relay's own certificate (PEM), for tools that require one."""
    key: File | None = None
    """Its private key (PEM), without a password; if it is not in the same file."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        methods = {self.method, self.cancel.method if self.cancel else self.method}
        if self.method == "GET" and self.body is not None:
            raise ValueError("`body`: a GET has none; use `method: POST`, or leave it out")
        if self.secret and (bodiless := methods & {"GET", "DELETE"}):
            method = bodiless.pop()
            raise ValueError(f"`secret` signs a body, and a {method} has none; use POST")
        if self.cancel and not same_origin(origin(self.cancel.url), origin(self.url)):
            raise ValueError("`cancel.url` must be on the host of `url`, as it gets its `headers`")
        return self

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        files = (self.ca, self.certificate, self.key)
        if not any(files):
            return self
        if origin(self.url).scheme != "https":
            raise ValueError("`ca`, `certificate` and `key` are for an https address")
        if self.key and not self.certificate:
            raise ValueError("`key` needs its `certificate`")
        try:
            tls_context(*files)
        except OSError as error:
            reason = getattr(error, "reason", None) or "are they PEM, the key without a password?"
            raise ValueError(f"`ca`, `certificate` and `key` do not fit: {reason}") from None
        return self
