"""Commit statuses, check runs, check suites, and pushes: over HTTP, and as events."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandbox.github.model import NO_COMMIT, CheckApp, Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
Received = Callable[[], Awaitable[list[tuple[str, Any]]]]
PATH = "/repos/acme/web"
COMMITS = f"{PATH}/commits"
OTHER = CheckApp(77, "other-ci")


@pytest.fixture
async def installation(github: GitHub) -> Installation:
    github.app.permissions |= {"statuses": "write", "checks": "write"}
    github.app.events += ["push", "status", "check_run", "check_suite"]
    return github.add_installation("acme", ["acme/web"])


@pytest.fixture
def events(github: GitHub) -> Received:
    """All that was sent, in that order; nobody has to be there to receive it."""
    github.webhook_url = f"{github.url}/nobody"

    async def received() -> list[tuple[str, Any]]:
        await github.settled()
        every = sorted(github.deliveries, key=lambda delivery: delivery.id)
        return [(one.event, json.loads(one.body)) for one in every]

    return received


async def test_a_combined_status_is_pending_without_any_and_knows_no_check_runs(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    sha = github.repository("acme/web").push("One", ref="topic/a")
    await send("POST", f"{PATH}/check-runs", token, {"name": "build", "head_sha": sha})
    status, combined = await send("GET", f"{COMMITS}/topic%2Fa/status", token)
    assert (status, combined["state"], combined["total_count"]) == (200, "pending", 0)

    async def report(**body: Any) -> tuple[int, Any]:
        return await send("POST", f"{PATH}/statuses/{sha}", token, body)

    states = [("ci/a", "pending"), ("ci/a", "success"), ("ci/b", "error"), ("ci/b", "success")]
    expected = ["pending", "success", "failure", "success"]
    for (context, state), together in zip(states, expected, strict=True):
        code, document = await report(context=context, state=state, target_url="https://ci.dev/1")
        assert (code, shape("Status", document).state) == (201, state)
        _, combined = await send("GET", f"{COMMITS}/{sha}/status", token)
        assert shape("CombinedCommitStatus", combined).state == together
    assert len((await send("GET", f"{COMMITS}/{sha}/statuses", token))[1]) == 4
    assert combined["total_count"] == 2
    for body in ({"state": "green"}, {}, {"state": "success", "description": "d" * 141}):
        assert (await report(**body))[0] == 422
    unknown = await send("POST", f"{PATH}/statuses/{'f' * 40}", token, {"state": "success"})
    assert unknown[1]["message"] == f"No commit found for SHA: {'f' * 40}"


async def test_check_runs_are_listed_by_name_app_and_whether_they_are_the_latest(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    sha = github.repository("acme/web").push("One")
    for name, app in (("build", OTHER), ("build", OTHER), ("lint", OTHER)):
        github.report_check("acme/web", sha, name, app=app, conclusion="success")
    runs = f"{PATH}/check-runs"
    body: Any = {"name": "build", "head_sha": sha, "status": "in_progress"}
    _, own = await send("POST", runs, token, body)
    assert shape("CheckRun", own).conclusion is None

    async def listed(query: str) -> list[tuple[str, int]]:
        _, page = await send("GET", f"{COMMITS}/main/check-runs{query}", token)
        shape("ReposOwnerRepoCommitsRefCheckRunsGetResponse200", page)
        return [(run["name"], run["app"]["id"]) for run in page["check_runs"]]

    own_id = github.app.id
    assert await listed("") == [("build", own_id), ("lint", 77), ("build", 77)]
    assert await listed("?filter=all&app_id=77") == [("lint", 77), ("build", 77), ("build", 77)]
    assert await listed("?check_name=build&status=completed") == [("build", 77)]
    assert await listed("?per_page=1&page=2") == [("lint", 77)]
    _, suites = await send("GET", f"{COMMITS}/main/check-suites", token)
    shape("ReposOwnerRepoCommitsRefCheckSuitesGetResponse200", suites)
    counts = {s["app"]["id"]: s["latest_check_runs_count"] for s in suites["check_suites"]}
    assert counts == {77: 2, own_id: 1}

    output = {"title": "Two faults", "summary": "In deploy.yml"}
    annotation = {"path": "deploy.yml", "start_line": 3, "end_line": 3, "message": "Unknown key"}
    good = {**annotation, "annotation_level": "failure"}
    body = {"conclusion": "failure", "output": {**output, "annotations": [good]}}
    _, changed = await send("PATCH", f"{runs}/{own['id']}", token, body)
    assert (changed["status"], changed["output"]["annotations_count"]) == ("completed", 1)
    for bad in (
        {"status": "completed"},
        {"conclusion": "stale"},
        {"status": "waiting"},
        {"output": {"title": "No summary"}},
        {"output": {**output, "annotations": [annotation]}},
        {"output": {**output, "annotations": [good] * 51}},
    ):
        assert (await send("PATCH", f"{runs}/{own['id']}", token, bad))[0] == 422
    other = github.report_check("acme/web", sha, "lint", app=OTHER)
    assert (await send("PATCH", f"{runs}/{other.id}", token, {"status": "queued"}))[0] == 403


async def test_an_installation_without_the_permission_reads_and_hears_nothing(
    github: GitHub,
    installation: Installation,
    send: Send,
    app_jwt: Callable[..., str],
    events: Received,
) -> None:
    installation.permissions = {"metadata": "read", "contents": "read"}
    path = f"/app/installations/{installation.id}/access_tokens"
    token = (await send("POST", path, app_jwt()))[1]["token"]
    sha = github.repository("acme/web").push("One")
    for name in ("status", "statuses", "check-runs", "check-suites"):
        assert (await send("GET", f"{COMMITS}/{sha}/{name}", token))[0] == 403
    github.report_status("acme/web", sha, "ci", "success")
    github.report_check("acme/web", sha, "build", conclusion="success")
    assert [event for event, _ in await events()] == ["push"]


async def test_what_happens_to_commits_is_sent_as_events(
    github: GitHub,
    installation: Installation,
    event_shape: Shape,
    events: Received,
) -> None:
    web = github.repository("acme/web")
    first = web.push("One")
    second = web.push("Two")
    web.push("Instead of two", onto=first)
    github.report_status("acme/web", second, "ci", "pending")
    github.report_check("acme/web", second, "build", conclusion="success")
    tag = web.tag("v1", second, annotated=True)
    web.delete_branch("main")
    received = await events()
    for event, body in received:
        event_shape(event, body)
    named = [f"{event} {body.get('action', '')}".strip() for event, body in received]
    assert named == [
        *["push", "check_suite requested"] * 3,
        "status",
        *["check_run created", "check_run completed", "check_suite completed"],
        *["push", "push"],
    ]
    pushes = [body for event, body in received if event == "push"]
    assert [(p["ref"], p["forced"], p["deleted"]) for p in pushes] == [
        ("refs/heads/main", False, False),
        ("refs/heads/main", False, False),
        ("refs/heads/main", True, False),
        ("refs/tags/v1", False, False),
        ("refs/heads/main", False, True),
    ]
    assert (pushes[3]["after"], pushes[3]["head_commit"]["id"]) == (tag, second)
    assert tag != second
    assert (pushes[4]["after"], pushes[4]["head_commit"]) == (NO_COMMIT, None)
    assert pushes[0]["pusher"]["name"] == pushes[0]["sender"]["login"] == "octocat"
