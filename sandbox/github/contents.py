"""Files of a repository, at a commit or at the head of the default branch.

Source: https://docs.github.com/rest/repos/contents#get-repository-content, and "Use conditional
requests if appropriate" in its best practices: an ETag, which another token does not share, and a
304 that counts against no limit.
"""

import base64
import hashlib
import json
import posixpath
import re
from typing import Any, NoReturn
from urllib.parse import quote

from aiohttp import web

from sandbox.github.auth import Auth, credential_of
from sandbox.github.documents import Documents
from sandbox.github.git import Commit, File, Submodule, Symlink
from sandbox.github.model import ErrorResponse, Json, Repository, World

CONTENTS = "/repos/{owner}/{repo}/contents{path:(?:/.*)?}"
RAW, OBJECT = "raw", "object"
_MEDIA_TYPE = re.compile(r"vnd\.github\.(?:v3\.)?(raw|object)\b")
# Up to there its JSON has the text; up to the second there is one at all.
MOST_IN_JSON, MOST = 2**20, 100 * 2**20


class Contents:
    def __init__(self, world: World, documents: Documents, auth: Auth) -> None:
        self._world = world
        self._documents = documents
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [web.get(CONTENTS, self._contents)]

    async def _contents(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "contents", "read")
        commit = _commit_of(repository, request.query.get("ref", ""))
        path = request.match_info["path"].strip("/")
        body, content_type = self._body(request, repository, commit, path)
        etag = _etag(body, request)
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=body, headers={"ETag": etag, "Content-Type": content_type})

    def _body(
        self, request: web.Request, repository: Repository, commit: Commit, path: str
    ) -> tuple[bytes, str]:
        media, json_type = _media_type(request), "application/json; charset=utf-8"
        file = commit.files.get(path)
        if file is None:
            return _json(self._directory(repository, commit, path, media)), json_type
        if isinstance(file, Symlink):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), file.target))
            linked = commit.files.get(target)
            file = linked if isinstance(linked, str | bytes) else file
        content = _bytes(file)
        if media == RAW and content is not None:
            return content, "application/vnd.github.raw+json; charset=utf-8"
        if content is not None and len(content) > (MOST if media else MOST_IN_JSON):
            _too_large()
        return _json(self._entry(repository, commit, path, file, content)), json_type

    def _directory(self, repository: Repository, commit: Commit, path: str, media: str) -> Any:
        prefix = f"{path}/" if path else ""
        below = [one.removeprefix(prefix) for one in commit.files if one.startswith(prefix)]
        if path and not below:
            raise ErrorResponse(404, "Not Found")
        names = sorted({one.partition("/")[0] for one in below})
        entries = [self._listed(repository, commit, prefix + name) for name in names]
        if media != OBJECT:
            return entries
        return {**self._base(repository, commit, path, "dir", b""), "entries": entries}

    def _listed(self, repository: Repository, commit: Commit, path: str) -> Json:
        file = commit.files.get(path)
        if file is None:
            return self._base(repository, commit, path, "dir", b"")
        entry = self._entry(repository, commit, path, file, _bytes(file))
        return {name: value for name, value in entry.items() if name not in ("content", "encoding")}

    def _entry(
        self, repository: Repository, commit: Commit, path: str, file: File, content: bytes | None
    ) -> Json:
        if isinstance(file, Symlink):
            base = self._base(repository, commit, path, "symlink", file.target.encode())
            return {**base, "target": file.target}
        if isinstance(file, Submodule):
            base = self._base(repository, commit, path, "submodule", b"")
            return {**base, "submodule_git_url": file.url}
        assert content is not None
        base = self._base(repository, commit, path, "file", content)
        if len(content) > MOST_IN_JSON:
            return {**base, "content": "", "encoding": "none"}
        return {**base, "content": base64.encodebytes(content).decode(), "encoding": "base64"}

    def _base(
        self, repository: Repository, commit: Commit, path: str, kind: str, content: bytes
    ) -> Json:
        url = f"{self._documents.api}/repos/{repository.full_name}"
        html = f"{self._world.url}/{repository.full_name}"
        sha, quoted = _blob_sha(content), quote(path)
        view = "tree" if kind == "dir" else "blob"
        links: Json = {
            "self": f"{url}/contents/{quoted}?ref={commit.sha}",
            "git": f"{url}/git/{view}s/{sha}",
            "html": f"{html}/{view}/{commit.sha}/{quoted}",
        }
        return {
            "type": kind,
            "name": posixpath.basename(path),
            "path": path,
            "sha": sha,
            "size": len(content),
            "url": links["self"],
            "git_url": links["git"],
            "html_url": links["html"],
            "download_url": f"{html}/raw/{commit.sha}/{quoted}" if kind == "file" else None,
            "_links": links,
        }


def _commit_of(repository: Repository, ref: str) -> Commit:
    commit = repository.git.find(ref or repository.default_branch)
    if commit is not None and ref not in repository.missing_refs:
        return commit
    if not repository.git.commits:
        raise ErrorResponse(404, "This repository is empty.")
    raise ErrorResponse(404, f"No commit found for the ref {ref or repository.default_branch}")


def _media_type(request: web.Request) -> str:
    """Old clients name a version of the API in it."""
    found = _MEDIA_TYPE.search(request.headers.get("Accept", ""))
    return found[1] if found else ""


def _too_large() -> NoReturn:
    message = "This API returns blobs up to 1 MB in size. The requested blob is too large."
    error = {"resource": "Blob", "field": "data", "code": "too_large"}
    raise ErrorResponse(403, message, [error])


def _bytes(file: File) -> bytes | None:
    if isinstance(file, str):
        return file.encode()
    return file if isinstance(file, bytes) else None


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _blob_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _etag(body: bytes, request: web.Request) -> str:
    return f'W/"{hashlib.sha256(body + credential_of(request).encode()).hexdigest()}"'
