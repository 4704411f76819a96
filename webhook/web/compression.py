"""Pages are sent compressed to browsers that take it: a board of many repositories is a tenth of
itself then.

What a page holds of its session is written differently each time (`webhook.web.auth.sessions`), so
that the compressed size says nothing of it to who has a hand in the page, by what is searched for
example: breachattack.com. Units: bytes. Source: RFC 9110, "Accept-Encoding".
"""

import gzip

from flask import Request, Response

# Shorter ones fit in one packet anyway.
SHORTEST = 1400
# Of 1 to 9. Higher ones take more time than they save.
_LEVEL = 4
_PAGES = ("text/html",)
_FILES = ("text/css", "text/javascript", "image/svg+xml")


def compress(request: Request, response: Response) -> Response:
    if not _can_be(response):
        return response
    response.vary.add("Accept-Encoding")
    response.direct_passthrough = False
    body = response.get_data()
    if len(body) < SHORTEST or not request.accept_encodings["gzip"]:
        return response
    etag, _ = response.get_etag()
    if etag:
        # The file's, not of these bytes.
        response.set_etag(etag, weak=True)
    response.set_data(gzip.compress(body, _LEVEL, mtime=0))
    response.headers["Content-Encoding"] = "gzip"
    return response


def _can_be(response: Response) -> bool:
    """A whole page, or a whole file of the pages' own."""
    if response.status_code == 200 and response.direct_passthrough:
        return response.mimetype in _FILES
    return response.mimetype in _PAGES and not response.is_streamed
