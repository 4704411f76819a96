"""Files of a repository, over HTTP, and when GitHub says that nothing has changed."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from sandbox.github.git import File, Submodule, Symlink
from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
PATH = "/repos/acme/web/contents"


async def test_a_file_is_read_at_the_head_and_at_a_commit(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    web = github.repository("acme/web")
    assert (await send("GET", f"{PATH}/deploy.yml", token))[1]["message"] == (
        "This repository is empty."
    )
    first = web.push("One", files={"deploy.yml": "envs: []\n", "docs/a.md": "a"})
    second = web.push("Two", files={"deploy.yml": "envs: [{name: x}]\n"})
    third = web.push("Three", files={"deploy.yml": None})
    web.push("On a branch", ref="topic", files={"deploy.yml": "topic"})

    async def text(query: str) -> str:
        status, document = await send("GET", f"{PATH}/deploy.yml{query}", token)
        if status == 404:
            return str(document["message"])
        shape("ContentFile", document)
        return base64.b64decode(document["content"]).decode()

    assert await text("") == "Not Found"
    assert await text(f"?ref={second}") == "envs: [{name: x}]\n"
    assert await text(f"?ref={first[:8]}") == "envs: []\n"
    assert await text("?ref=topic") == "topic"
    assert await text("?ref=nowhere") == "No commit found for the ref nowhere"
    kept = {"docs/a.md": "a"}
    assert dict(web.files) == kept
    changed = [dict(web.git.changed(web.git.commits[sha])) for sha in (first, second, third)]
    assert changed == [
        {"deploy.yml": "added", "docs/a.md": "added"},
        {"deploy.yml": "modified"},
        {"deploy.yml": "removed"},
    ]


async def test_what_is_no_file_and_what_is_too_large(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    files: dict[str, File] = {
        "a/deploy.yml": "a: 1",
        "link": Symlink("a/deploy.yml"),
        "away": Symlink("../elsewhere"),
        "sub": Submodule("git@github.com:acme/other.git"),
        "large": b"x" * (2**20 + 1),
    }
    github.repository("acme/web").push("One", files=files)
    _, listed = await send("GET", f"{PATH}/a", token)
    assert [(shape("ContentDirectoryItems", one).type, one["path"]) for one in listed] == [
        ("file", "a/deploy.yml")
    ]
    root = (await send("GET", PATH, token))[1]
    assert {one["name"]: one["type"] for one in root} == {
        "a": "dir",
        "away": "symlink",
        "large": "file",
        "link": "symlink",
        "sub": "submodule",
    }
    assert base64.b64decode((await send("GET", f"{PATH}/link", token))[1]["content"]) == b"a: 1"
    shape("ContentSymlink", (await send("GET", f"{PATH}/away", token))[1])
    shape("ContentSubmodule", (await send("GET", f"{PATH}/sub", token))[1])
    status, rejected = await send("GET", f"{PATH}/large", token)
    assert (status, rejected["errors"][0]["code"]) == (403, "too_large")


async def test_what_has_not_changed_is_not_sent_again(
    github: GitHub, installation: Installation, token: str, session: aiohttp.ClientSession
) -> None:
    web = github.repository("acme/web")
    web.push("One", files={"deploy.yml": "one"})

    async def get(credential: str, etag: str = "", accept: str = "") -> tuple[int, str, str, str]:
        headers = {"Authorization": f"Bearer {credential}", "If-None-Match": etag}
        headers |= {"Accept": f"application/vnd.github.{accept}+json"} if accept else {}
        url = f"{github.api_url}{PATH}/deploy.yml"
        async with session.get(url, headers=headers) as response:
            used = response.headers["x-ratelimit-used"]
            return response.status, response.headers["ETag"], await response.text(), used

    status, etag, _, used = await get(token)
    assert status == 200
    assert await get(token, etag) == (304, etag, "", used)
    assert (await get(github.add_user("octocat").token, etag))[0] == 200
    assert (await get(token, etag, "raw"))[2] == "one"
    web.push("Two", files={"other": "x"})
    web.push("Three", files={"deploy.yml": "three"})
    assert (await get(token, etag))[0] == 200
