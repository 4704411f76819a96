"""An address in deploy.yml with placeholders in its path and query.

Whoever may create a deployment chooses the values: they can change neither the host nor the shape
of the address. Each is percent-encoded, and what servers and proxies could read as another segment
of the path is refused.

Source: RFC 3986, sections 2.4, 3.3 and 5.2.4.
Errors: `ValueError` for an address that is none; `Rejected` for values that do not fit into it.
"""

import re
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator
from yarl import URL

from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.option_types import address
from handlers.placeholders import Template, fill

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
        raise ValueError("placeholders may stand in the path and the query of an address only")
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
