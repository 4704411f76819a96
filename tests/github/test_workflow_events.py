"""From `workflow_run` and `workflow_job` deliveries to a typed event."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings

from tests.github.test_events import deployment_body, json_values, parsed, rejection
from webhook.deployments.models import Repository
from webhook.errors import UserError
from webhook.github.events import Ignored, WorkflowJobUpdated, WorkflowRunUpdated, parse

Body = dict[str, Any]
SHA = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
ABOUT = {key: deployment_body()[key] for key in ("repository", "sender", "installation")}
REPOSITORY = Repository(id=9, full_name="acme/web", html_url="https://github.com/acme/web")
RUN: Body = {
    "id": 3,
    "name": "Deploy",
    "head_sha": SHA,
    "event": "deployment",
    "display_title": "Deploy production #42",
    "status": "completed",
    "conclusion": "success",
}
JOB: Body = {"id": 8, "run_id": 3, "head_sha": SHA, "status": "waiting", "name": "deploy"}


@pytest.mark.parametrize("action", ["requested", "in_progress", "completed"])
def test_a_workflow_run_is_parsed(action: str) -> None:
    body = {"action": action, "workflow_run": RUN, "workflow": {"id": 4}, **ABOUT}
    assert parsed("workflow_run", body) == WorkflowRunUpdated(
        repository=REPOSITORY,
        installation_id=77,
        run_id=3,
        head_sha=SHA,
        event="deployment",
        title="Deploy production #42",
    )


@pytest.mark.parametrize("action", ["queued", "waiting", "in_progress", "completed"])
def test_a_job_of_a_workflow_run_is_parsed(action: str) -> None:
    event = parsed("workflow_job", {"action": action, "workflow_job": JOB, **ABOUT})
    assert isinstance(event, WorkflowRunUpdated)
    assert event == WorkflowJobUpdated(
        repository=REPOSITORY, installation_id=77, run_id=3, head_sha=SHA
    )


def test_the_document_is_kept_without_what_it_says_of_other_things() -> None:
    run = {**RUN, "repository": {"id": 9}, "actor": {"login": "ada"}}
    event = parsed("workflow_run", {"action": "completed", "workflow_run": run, **ABOUT})
    assert event.document == RUN
    job = {**JOB, "steps": [{"name": "Deploy", "conclusion": "failure"}]}
    event = parsed("workflow_job", {"action": "completed", "workflow_job": job, **ABOUT})
    assert event.document == job
    assert (event.subject.name, event.subject.id) == ("workflow_job", 8)


IN_ORDER: list[Body] = [
    {"status": "requested", "updated_at": "2026-11-22T10:00:00Z"},
    {"status": "in_progress", "updated_at": "2026-11-22T10:00:00Z"},
    {"status": "waiting", "updated_at": "2026-11-22T10:00:09Z"},
    {"status": "in_progress", "updated_at": "2026-11-22T10:01:00Z"},
    # An end counts against whatever its own time says.
    {"status": "completed", "updated_at": "2026-11-22T10:00:59Z"},
    {"status": "queued", "updated_at": "2026-11-22T10:00:30Z", "run_attempt": 2},
    {"status": "completed", "updated_at": "2026-11-22T10:00:30Z", "run_attempt": 10},
]


def test_a_newer_document_of_a_run_has_a_later_revision() -> None:
    def revision(changes: Body) -> str:
        body = {"action": "completed", "workflow_run": RUN | changes, **ABOUT}
        return str(parsed("workflow_run", body).subject.revision)

    found = [revision(changes) for changes in IN_ORDER]
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_a_newer_document_of_a_job_has_a_later_revision() -> None:
    def revision(status: str) -> str:
        body = {"action": "queued", "workflow_job": JOB | {"status": status}, **ABOUT}
        return str(parsed("workflow_job", body).subject.revision)

    found = [revision(status) for status in ("queued", "waiting", "in_progress", "completed")]
    assert found == sorted(found)


def test_a_run_needs_no_title() -> None:
    run = {"id": 3, "head_sha": SHA, "event": "push", "display_title": None}
    event = parsed("workflow_run", {"action": "completed", "workflow_run": run, **ABOUT})
    assert (event.event, event.title) == ("push", "")


@pytest.mark.parametrize(
    ("event", "changes", "message"),
    [
        ("workflow_run", {"workflow_run": {}}, "workflow_run.id is missing"),
        ("workflow_run", {"workflow_run": []}, "workflow_run.id is missing"),
        ("workflow_run", {"workflow_run": RUN | {"id": 2**63}}, "workflow_run.id: Input should"),
        ("workflow_job", {"workflow_job": {"id": 8}}, "workflow_job.run_id is missing"),
        ("workflow_job", {"installation": None}, "installation.id is missing; a hook of a"),
    ],
)
def test_missing_or_wrong_fields_are_named(event: str, changes: Body, message: str) -> None:
    body = {"action": "completed", "workflow_run": RUN, "workflow_job": JOB, **ABOUT} | changes
    assert message in rejection(event, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("event", "body"), [("workflow_run", b'{"action": "dreamt"}'), ("workflow_job", b"{}")]
)
def test_unknown_actions_are_ignored(event: str, body: bytes) -> None:
    assert isinstance(parse(event, body), Ignored)


@settings(deadline=None)
@given(json_values)
def test_any_json_is_an_event_or_an_error_with_a_message(value: Any) -> None:
    body = {"action": "completed", "workflow_run": value, "workflow_job": value, **ABOUT}
    for event in ("workflow_run", "workflow_job"):
        with suppress(UserError):
            parsed(event, body)
