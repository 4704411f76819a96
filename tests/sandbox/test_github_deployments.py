"""Deployments and their statuses, over HTTP."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gidgethub import BadRequest
from gidgethub.aiohttp import GitHubAPI

from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
PATH = "/repos/acme/web/deployments"


async def test_a_person_creates_a_deployment_with_githubs_defaults(
    github: GitHub, installation: Installation, client: GitHubAPI, shape: Shape
) -> None:
    alice = github.add_user("alice")
    created = await client.post(PATH, data={"ref": "main"}, oauth_token=alice.token)
    shape("Deployment", created)
    assert created["creator"]["login"] == "alice"
    assert created["performed_via_github_app"] is None
    assert (created["task"], created["environment"], created["payload"]) == (
        "deploy",
        "production",
        {},
    )
    assert created["production_environment"] is True
    assert created["transient_environment"] is False
    assert await client.getitem(created["url"], oauth_token=alice.token) == created


async def test_the_app_creates_a_deployment(
    installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    body = {"ref": "main", "environment": "qa", "payload": "v1", "transient_environment": True}
    status, created = await send("POST", PATH, token, body)
    assert status == 201
    shape("Deployment", created)
    assert created["performed_via_github_app"]["slug"] == "gitploy-relay"
    assert created["creator"]["login"] == "gitploy-relay[bot]"
    assert created["creator"]["type"] == "Bot"
    assert (created["payload"], created["production_environment"]) == ("v1", False)


async def test_a_ref_becomes_a_sha(github: GitHub, installation: Installation) -> None:
    repository = installation.repositories[0]
    repository.refs["main"] = "a" * 40
    shas = [(await github.create_deployment("acme/web", r)).sha for r in ("main", "b" * 40, "x")]
    assert shas[:2] == ["a" * 40, "b" * 40]
    assert len(shas[2]) == 40


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ref": ""},
        {"ref": 1},
        {"ref": "main", "environment": None},
        {"ref": "main", "payload": 1},
        {"ref": "main", "auto_merge": "yes"},
    ],
)
async def test_a_wrong_deployment_is_rejected(
    installation: Installation, send: Send, token: str, body: dict[str, Any]
) -> None:
    status, document = await send("POST", PATH, token, body)
    assert status == 422
    assert document["message"]


async def test_a_body_that_is_not_an_object_is_rejected(
    installation: Installation, send: Send, token: str
) -> None:
    assert await send("POST", PATH, token, []) == (
        400,
        {
            "message": "Body should be a JSON object",
            "documentation_url": "https://docs.github.com/rest",
            "status": "400",
        },
    )


async def test_deployments_are_listed_newest_first_with_filters_and_pages(
    github: GitHub, installation: Installation, client: GitHubAPI, token: str
) -> None:
    for number in range(5):
        await github.create_deployment("acme/web", f"v{number}", environment="qa")
    await github.create_deployment("acme/web", "v9", environment="prod", task="migrate")
    await github.create_deployment("acme/api", "v9")

    async def refs(query: str) -> list[str]:
        found = client.getiter(f"{PATH}?{query}", oauth_token=token)
        return [d["ref"] async for d in found]

    assert await refs("") == ["v9", "v4", "v3", "v2", "v1", "v0"]
    assert await refs("environment=qa&per_page=2") == ["v4", "v3", "v2", "v1", "v0"]
    assert await refs("task=migrate&environment=none") == ["v9"]
    assert await refs("ref=v3") == ["v3"]
    sha = installation.repositories[0].sha("v1")
    assert await refs(f"sha={sha}") == ["v1"]
    assert len(github.called("GET", "/deployments")) == 7


async def test_only_the_last_deployment_is_deleted_while_it_is_active(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    first = await github.create_deployment("acme/web")
    second = await github.create_deployment("acme/web")
    await github.create_status(first.id, "success")
    await github.create_status(second.id, "queued")
    status, document = await send("DELETE", f"{PATH}/{first.id}", token)
    assert (status, document["message"].split(" unless")[0]) == (
        422,
        "We cannot delete an active deployment",
    )
    assert (await send("DELETE", f"{PATH}/{second.id}", token))[0] == 204
    assert (await send("GET", f"{PATH}/{second.id}", token))[0] == 404
    body = {"state": "error"}
    assert (await send("POST", f"{PATH}/{second.id}/statuses", token, body))[0] == 404
    assert (await send("DELETE", f"{PATH}/{first.id}", token))[0] == 204


async def test_a_status_is_written_and_read(
    github: GitHub, installation: Installation, client: GitHubAPI, token: str, shape: Shape
) -> None:
    created = await github.create_deployment("acme/web")
    body = {
        "state": "in_progress",
        "description": "d" * 140,
        "log_url": "https://ci.test/1",
        "environment_url": "https://web.test",
        "surprise": 1,
    }
    path = f"{PATH}/{created.id}/statuses"
    status = await client.post(path, data=body, oauth_token=token)
    shape("DeploymentStatus", status)
    assert status["performed_via_github_app"]["id"] == github.app.id
    assert (status["log_url"], status["target_url"]) == ("https://ci.test/1",) * 2
    assert status["environment"] == "production"
    assert await client.getitem(status["url"], oauth_token=token) == status
    await client.post(path, data={"state": "success"}, oauth_token=token)
    listed = [s["state"] async for s in client.getiter(path + "?per_page=1", oauth_token=token)]
    assert listed == ["success", "in_progress"]
    assert github.states(created.id) == ["in_progress", "success"]
    assert all(s.by_app for s in github.statuses(created.id))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, '"state" wasn\'t supplied'),
        ({"state": "waiting"}, "Validation Failed"),
        ({"state": None}, "For 'properties/state', nil is not a string."),
        ({"state": "success", "description": "d" * 141}, "Validation Failed"),
        ({"state": "success", "log_url": None}, "nil is not a string"),
        ({"state": "success", "log_url": "ci.test"}, "Validation Failed"),
        ({"state": "success", "environment_url": 1}, "1 is not a string"),
        ({"state": "success", "auto_inactive": "no"}, "is not a boolean"),
    ],
)
async def test_a_wrong_status_is_rejected_and_not_stored(
    github: GitHub,
    installation: Installation,
    send: Send,
    token: str,
    body: dict[str, Any],
    text: str,
) -> None:
    created = await github.create_deployment("acme/web")
    status, document = await send("POST", f"{PATH}/{created.id}/statuses", token, body)
    assert status == 422
    assert text in document["message"]
    assert github.states(created.id) == []


async def test_gidgethub_understands_the_error(
    github: GitHub, installation: Installation, client: GitHubAPI, token: str
) -> None:
    created = await github.create_deployment("acme/web")
    with pytest.raises(BadRequest, match="state is not included in the list"):
        await client.post(
            f"{PATH}/{created.id}/statuses", data={"state": "waiting"}, oauth_token=token
        )


async def test_a_deployment_is_found_in_its_own_repository_only(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    created = await github.create_deployment("acme/api")
    body = {"state": "success"}
    assert (await send("POST", f"{PATH}/{created.id}/statuses", token, body))[0] == 404
    assert (await send("GET", f"{PATH}/{created.id}", token))[0] == 404
    assert (await send("GET", "/repos/acme/none/deployments", token))[0] == 404
    assert (await send("GET", f"/repos/acme/api/deployments/{created.id}/statuses/1", token))[
        0
    ] == 404


async def test_a_success_makes_earlier_ones_inactive(
    github: GitHub, installation: Installation
) -> None:
    fields: list[dict[str, Any]] = [
        {"environment": "qa"},
        {"environment": "QA"},
        {"environment": "qa", "transient_environment": True},
        {"environment": "qa", "production_environment": True},
        {"environment": "other"},
    ]
    earlier = [await github.create_deployment("acme/web", **f) for f in fields]
    failed = await github.create_deployment("acme/web", environment="qa")
    for deployment in earlier:
        await github.create_status(deployment.id, "success", auto_inactive=False)
    await github.create_status(failed.id, "failure")
    last = await github.create_deployment("acme/web", environment="qa")
    await github.create_status(last.id, "success")
    ended = [github.states(d.id)[-1] for d in earlier]
    assert ended == ["inactive", "inactive", "success", "success", "success"]
    assert github.states(failed.id) == ["failure"]
    assert github.states(last.id) == ["success"]


async def test_a_status_may_rename_the_environment(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    created = await github.create_deployment("acme/web", environment="review")
    await github.create_status(created.id, "in_progress", environment="review/7")
    _, document = await send("GET", f"{PATH}/{created.id}", token)
    assert document["environment"] == "review/7"
    assert document["original_environment"] == "review"


async def test_a_new_status_calls_back_and_can_be_waited_for(
    github: GitHub, installation: Installation
) -> None:
    states: list[str] = []
    github.on_status.append(lambda _, status: states.append(status.state))
    created = await github.create_deployment("acme/web")
    await github.create_status(created.id, "queued")
    await github.create_status(created.id, "success")
    assert (await github.wait_for(created.id, "success", "failure")).state == "success"
    assert states == ["queued", "success"]
    with pytest.raises(TimeoutError):
        await github.wait_for(created.id, "error", within=0.01)


async def test_an_old_deployment_whose_event_was_lost_is_listed(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    at = datetime(2026, 11, 1, 12, tzinfo=UTC)
    await github.create_deployment("acme/web", "v1", at=at, delivered=False)
    [listed] = (await send("GET", PATH, token))[1]
    assert listed["created_at"] == listed["updated_at"] == "2026-11-01T12:00:00Z"
    github.world.ahead = timedelta(days=1)
    later = await github.create_deployment("acme/web", "v2")
    assert later.created_at - datetime.now(UTC) > timedelta(hours=23)
    assert not github.deliveries
