"""Addresses for people, filled in for a deployment: each value is encoded by its place.

A branch such as `feature/ünï` or `a&b=c#d` belongs to the part of the address in which its
placeholder stands, and cannot begin another part. In the host, which allows no encoding, a value
has to be one that a host can have.

Source: RFC 3986, sections 3.2 to 3.5; RFC 5891 for hosts with other letters than ASCII's.
Errors: `ValueError` with the remedy for a template; `Rejected` for values that fit nowhere.
"""

import re
from urllib.parse import quote

from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.options import address, fill, pieces
from handlers.text import web_url

_HEAD = re.compile(r"https?://[^/?#]*", re.I)
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FILLED_PORT = re.compile(r"(?<=:)[0-9]*x[0-9x]*$")
_KEPT = "/?#:@!$&'()*+,;=%[]~"
# What a value may bring along without ending its part of the address.
_KEPT_IN_PATH = "/:@!$&'()*+,;=~"
_KEPT_AFTER_PATH = "/:@~"
_NOT_IN_HOST = frozenset("/?#@\\%")


def check_link(template: str) -> str:
    """The template, if values can make an address of it."""
    if "{report_token}" in template:
        raise ValueError("{report_token} would be shown to everybody")
    if not template.startswith(("https://", "http://", "{")):
        raise ValueError(f"'{template}' must begin with https:// or http://")
    if not template.startswith("{"):
        filled = "".join("x" if is_value else text for text, is_value in pieces(template))
        if "@" in _head(filled):
            raise ValueError("an address here has no user or password; leave them out")
        address(_FILLED_PORT.sub("1", _head(filled)))
    return template


def fill_link(template: str, deployment: Deployment) -> str:
    link = ""
    for text, is_value in pieces(template):
        link += _encoded(fill(text, deployment), link) if is_value else text
    head = _head(link)
    rest = _LONE_PERCENT.sub("%25", quote(link[len(head) :], _KEPT))
    path = re.split(r"[?#]", rest, maxsplit=1)[0]
    try:
        # Without a user, who could make the host look like another.
        filled = "" if "@" in head else f"{address(head).origin()}{rest}"
    except ValueError:
        filled = ""
    if not web_url(filled) or {".", ".."} & set(path.split("/")):
        raise Rejected(f"'{link}', filled in for '{template}', is not an address")
    return filled


def _head(link: str) -> str:
    """Scheme and host."""
    head = _HEAD.match(link)
    return head[0] if head else ""


def _encoded(value: str, before: str) -> str:
    """The value, as it can follow what is before it in the address."""
    head = _head(before)
    after = before[len(head) :]
    if not head:  # the value is the address itself
        return value
    if not after:
        if _NOT_IN_HOST & set(value):
            raise Rejected(f"'{value}' cannot be in the host of an address")
        return value
    return quote(value, _KEPT_AFTER_PATH if {"?", "#"} & set(after) else _KEPT_IN_PATH)
