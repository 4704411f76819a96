"""Lists in pages, as GitHub cuts them: `per_page`, `page`, and a Link header to the others.

Source: docs.github.com, "Using pagination in the REST API".
"""

from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Response, jsonify, request

_USUAL, _MOST = 30, 100
_LONGEST_NUMBER = 6


def page(items: Sequence[object], api: str) -> Response:
    """`api` is the base URL that the links begin with."""
    size = min(_number("per_page", _USUAL), _MOST)
    at, last = _number("page", 1), max(1, -(-len(items) // size))
    response = jsonify(items[(at - 1) * size : at * size])
    targets = {"prev": at - 1, "next": at + 1, "last": last, "first": 1}
    wanted = [*(("prev", "first") if at > 1 else ()), *(("next", "last") if at < last else ())]
    if wanted:
        links = [f'<{_address(api, targets[name])}>; rel="{name}"' for name in wanted]
        response.headers["Link"] = ", ".join(links)
    return response


def _number(name: str, default: int) -> int:
    text = request.args.get(name, "")
    sound = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return int(text) or default if sound else default


def _address(api: str, number: int) -> str:
    query = {name: value for name, value in request.args.items() if name != "page"}
    path = request.path.removeprefix("/api/v3")
    return f"{api}{path}?{urlencode({**query, 'page': number})}"
