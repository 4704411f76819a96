"""Pull requests: their documents and events, from branches and from forks."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]


async def test_a_fork_s_commits_are_in_the_repository_that_its_pull_request_is_for(
    github: GitHub,
    installation: Installation,
    send: Send,
    app_jwt: Callable[..., str],
    shape: Shape,
    event_shape: Shape,
) -> None:
    github.app.events.append("pull_request")
    github.webhook_url = "http://127.0.0.1:9/nobody"
    installation.permissions["pull_requests"] = "read"
    web, fork = github.repository("acme/web"), github.add_repository("mallory/web")
    web.push("One")
    first = fork.push("Two", "mallory", "topic")
    mallory = github.add_user("mallory").account
    pull = github.pull_requests.open(web, "topic", mallory, fork=fork)
    second = fork.push("Three", "mallory", "topic")
    github.pull_requests.synchronize(pull, mallory)
    github.pull_requests.retarget(pull, "release", mallory)
    github.pull_requests.set_state(pull, "closed", mallory)
    await github.settled()

    bodies = [json.loads(one.body) for one in github.deliveries]
    for body in bodies:
        event_shape("pull_request", body)
    assert {one["action"]: one["pull_request"]["head"]["sha"] for one in bodies} == {
        "opened": first,
        "synchronize": second,
        "edited": second,
        "closed": second,
    }
    path = f"/app/installations/{installation.id}/access_tokens"
    _, granted = await send("POST", path, app_jwt())
    _, document = await send("GET", "/repos/acme/web/pulls/1", granted["token"])
    shape("PullRequest", document)
    assert (document["head"]["repo"]["full_name"], document["state"]) == ("mallory/web", "closed")
    for ref in (second, "refs%2Fpull%2F1%2Fhead"):
        _, commit = await send("GET", f"/repos/acme/web/commits/{ref}", granted["token"])
        assert commit["sha"] == second
    _, other = await send("POST", path, app_jwt(), {"permissions": {"contents": "read"}})
    status, _ = await send("GET", "/repos/acme/web/pulls/1", other["token"])
    assert status == 403
