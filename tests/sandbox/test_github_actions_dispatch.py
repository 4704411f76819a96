"""GitHub Actions: a dispatch starts a workflow, or is rejected as GitHub does it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
REPOSITORY = "acme/api"
PATH = f"/repos/{REPOSITORY}/actions"
DISPATCHES = f"{PATH}/workflows/deploy.yml/dispatches"


@pytest.fixture(autouse=True)
def _installed(installation: Installation) -> None:
    """The repositories are there."""


async def test_a_dispatch_returns_its_run(
    github: GitHub, send: Send, token: str, shape: Shape
) -> None:
    github.actions.add_workflow(
        REPOSITORY,
        on=["workflow_dispatch"],
        inputs={"deployment_id": True, "size": False},
        run_name="Deploy #${{ inputs.deployment_id }}",
    )
    body = {"ref": "v1", "inputs": {"deployment_id": "42"}, "return_run_details": True}
    status, response = await send("POST", DISPATCHES, token, body)
    assert status == 200
    run = github.actions.runs.by_id[response["workflow_run_id"]]
    _, document = await send("GET", response["run_url"].removeprefix(github.api_url), token)
    assert shape("WorkflowRun", document).id == run.id
    assert shape("WorkflowDispatchResponse", response).html_url == document["html_url"]
    assert (run.event, run.title, run.head_branch) == ("workflow_dispatch", "Deploy #42", "v1")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"inputs": {}}, '"ref" wasn\'t supplied'),
        ({"ref": ""}, "No ref found for: "),
        ({"ref": "a" * 40}, "No ref found for: aaa"),
        ({"ref": "old"}, "Workflow does not have 'workflow_dispatch' trigger"),
        ({"ref": "v1"}, "Required input 'id' not provided"),
        ({"ref": "v1", "inputs": {"id": "1", "x": "y"}}, 'Unexpected inputs provided: ["x"]'),
        ({"ref": "v1", "inputs": {"id": 1}}, "is not a string"),
        ({"ref": "v1", "inputs": []}, "is not an object"),
        ({"ref": "v1", "inputs": {str(n): "" for n in range(26)}}, "No more than 25 properties"),
        ({"ref": "v1", "surprise": 1}, '"surprise" is not a permitted key.'),
    ],
)
async def test_a_wrong_dispatch_is_rejected(
    github: GitHub, send: Send, token: str, body: dict[str, Any], text: str
) -> None:
    workflow = github.actions.add_workflow(
        REPOSITORY, on=["workflow_dispatch"], inputs={"id": True}
    )
    workflow.missing_at.add("old")
    status, document = await send("POST", DISPATCHES, token, body)
    assert status == 422
    assert text in document["message"]
    assert not github.actions.runs.by_id


async def test_older_servers_do_not_know_run_details(
    github: GitHub, send: Send, token: str, session: Any
) -> None:
    github.actions.add_workflow(REPOSITORY, on=["workflow_dispatch"])
    github.actions.run_details = "rejected"
    body = {"ref": "v1", "return_run_details": True}
    status, document = await send("POST", DISPATCHES, token, body)
    assert (status, document["message"]) == (
        422,
        'Invalid request.\n\n"return_run_details" is not a permitted key.',
    )
    headers = {"Authorization": f"Bearer {token}"}
    for details, sent in (("rejected", {"ref": "v1"}), ("ignored", body)):
        github.actions.run_details = details  # type: ignore[assignment]
        async with session.post(
            github.api_url + DISPATCHES, json=sent, headers=headers
        ) as response:
            assert response.status == 204
            assert await response.read() == b""
    assert len(github.actions.runs.by_id) == 2
