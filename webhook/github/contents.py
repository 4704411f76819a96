"""A file of a repository: at the head of its default branch, or at a commit.

Source: docs.github.com/rest/repos/contents#get-repository-content. Its JSON of type "object" has no
content of what is larger than a megabyte. A link to a file of the same repository yields that file.
Errors: those of `GitHub`. Needs the permission contents: read.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from webhook.errors import Forbidden, Rejected, UnknownOutcome
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.github.transport import NOT_MODIFIED

_NO_FILES = {
    "dir": "is a directory",
    "symlink": "is a link to something that is no file of this repository",
    "submodule": "is a submodule",
}


@dataclass(frozen=True, slots=True)
class Content:
    """`blob`: git's name of it. `unusable`: why it is no text that can be read, "" if it can be, as
    in "is a directory"."""

    etag: str
    blob: str
    text: bytes = b""
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class Unchanged:
    etag: str


async def read_file(
    github: GitHub, scope: Scope, path: str, *, ref: str = "", etag: str = ""
) -> Content | Unchanged | None:
    """`ref`: "" for the head of the default branch. `etag`: of what is known already. None: there
    is no such file; of a repository or a commit that GitHub does not show it says the same."""
    at = f"?ref={quote(ref, safe='')}" if ref else ""
    address = f"/repos/{scope.repo}/contents/{quote(path)}{at}"
    reading = scope.only(contents="read")
    try:
        document, now = await github.get_if_changed(reading, address, etag, media="object")
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden):
            return None
        raise
    if document is NOT_MODIFIED:
        return Unchanged(etag=now)
    try:
        return _content(document, now)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        message = f"GitHub gave no clear response ({error or type(error).__name__})"
        raise UnknownOutcome(message) from error


def _content(document: Any, etag: str) -> Content:
    # An older server lists a directory, whatever is asked for.
    if isinstance(document, list):
        return Content(etag, "", unusable=_NO_FILES["dir"])
    kind, blob = str(document["type"]), str(document["sha"])
    if kind != "file":
        return Content(etag, blob, unusable=_NO_FILES.get(kind, f"is a {kind}, no file"))
    return _text(document, etag, blob)


def _text(document: Mapping[str, Any], etag: str, blob: str) -> Content:
    encoding = document["encoding"]
    if encoding == "none":
        return Content(etag, blob, unusable="is larger than 1 MB")
    if encoding != "base64":
        raise ValueError(f"the encoding {encoding}")
    return Content(etag, blob, base64.b64decode(document["content"]))
