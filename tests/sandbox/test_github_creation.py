"""What GitHub checks before it creates a deployment, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandbox.github.deployments import AutoMerged
from sandbox.github.model import ErrorResponse, Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
PATH = "/repos/acme/web/deployments"


async def test_checks_have_to_pass_unless_none_is_required(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    web = github.repository("acme/web")
    sha = web.push("One")
    web.set_check("main", "ci/build", "success")
    assert (await send("POST", PATH, token, {"ref": "main"}))[0] == 201
    web.set_check(sha, "ci/test", "pending")
    status, rejected = await send("POST", PATH, token, {"ref": "main"})
    assert status == 409
    assert rejected["message"] == "Conflict: Commit status checks failed for main."
    assert rejected["errors"][0]["field"] == "required_contexts"
    assert rejected["errors"][0]["contexts"] == [
        {"context": "ci/build", "state": "success"},
        {"context": "ci/test", "state": "pending"},
    ]
    for contexts, expected in (([], 201), (["ci/build"], 201), (["unheard"], 409), (None, 422)):
        body = {"ref": sha, "required_contexts": contexts}
        assert (await send("POST", PATH, token, body))[0] == expected
    assert len(github.deployments) == 3


async def test_a_ref_that_is_behind_is_merged_into_instead(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    web = github.repository("acme/web")
    web.behind = {"topic"}
    assert (await send("POST", PATH, token, {"ref": "topic", "auto_merge": False}))[0] == 201
    response = await send("POST", PATH, token, {"ref": "topic"})
    assert response == (202, {"message": "Auto-merged main into topic on deployment."})
    assert len(github.deployments) == 1
    assert (await send("POST", PATH, token, {"ref": "topic"}))[0] == 201
    web.behind, web.conflicting = {"topic"}, {"clash"}
    with pytest.raises(AutoMerged, match="Auto-merged main into topic"):
        await github.create_deployment("acme/web", "topic")
    with pytest.raises(ErrorResponse, match="409 Conflict merging main into clash"):
        await github.create_deployment("acme/web", "clash")
    status, rejected = await send("POST", PATH, token, {"ref": "clash"})
    assert (status, rejected["message"]) == (409, "Conflict merging main into clash.")
    assert (await send("POST", PATH, token, {"ref": "clash", "auto_merge": False}))[0] == 201


async def test_a_missing_ref_and_a_long_description_are_rejected(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    github.repository("acme/web").missing_refs = {"gone"}
    status, rejected = await send("POST", PATH, token, {"ref": "gone", "auto_merge": False})
    assert (status, rejected["message"]) == (422, "No ref found for: gone")
    for description, expected in (("d" * 141, 422), ("d" * 140, 201), (None, 201), (1, 422)):
        body = {"ref": "main", "description": description, "surprise": 1}
        assert (await send("POST", PATH, token, body))[0] == expected


async def test_a_ref_that_was_not_pushed_can_be_missing(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    web = github.repository("acme/web")
    web.only_pushed = True
    sha = web.push("Begin")
    statuses = [
        (await send("POST", PATH, token, {"ref": ref}))[0] for ref in ("main", sha, "v9", "f" * 40)
    ]
    assert statuses == [201, 201, 422, 422]
