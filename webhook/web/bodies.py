"""A request's body, as far as it may be read."""

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge


def body_of_at_most(size: int) -> bytes | None:
    """In bytes; None for a larger one. Read before anything is locked: it may come slowly."""
    request.max_content_length = size + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return None
    # A body without a length is cut off by Werkzeug, at one byte more than we take.
    return body if len(body) <= size else None
