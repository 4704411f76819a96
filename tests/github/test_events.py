"""From a delivery's body to a typed event."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.deployments.models import GitHubApp, GitHubDeployment, Repository
from webhook.errors import MALFORMED, UserError
from webhook.github.events import (
    DeploymentCreated,
    Ignored,
    InstallationChanged,
    Ping,
    StatusCreated,
    parse,
    storable,
)

Body = dict[str, Any]


def deployment_body(**changes: Any) -> Body:
    return {
        "action": "created",
        "deployment": {
            "url": "https://api.github.com/repos/acme/web/deployments/42",
            "id": 42,
            "node_id": "DE_kw",
            "task": "deploy",
            "original_environment": "production",
            "environment": "production",
            "description": None,
            "created_at": "2026-11-20T10:11:12Z",
            "updated_at": "2026-11-20T10:11:12Z",
            "sha": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
            "ref": "main",
            "payload": {"release": 7},
            "transient_environment": False,
            "production_environment": True,
            "creator": {"login": "octocat", "id": 1, "type": "User"},
            "performed_via_github_app": None,
        },
        "workflow": None,
        "workflow_run": None,
        "repository": {
            "id": 9,
            "full_name": "acme/web",
            "html_url": "https://github.com/acme/web",
            "private": True,
        },
        "sender": {"login": "hubot", "id": 2},
        "installation": {"id": 77, "node_id": "MDIz"},
    } | changes


def status_body(**status: Any) -> Body:
    reported = {
        "id": 5,
        "state": "in_progress",
        "description": "half way",
        "log_url": "https://ci.acme.io/1",
        "target_url": "https://ci.acme.io/1",
        "environment_url": "",
        "creator": {"login": "drone[bot]"},
        "created_at": "2026-11-20T10:12:00Z",
        "performed_via_github_app": {"id": 1234, "slug": "relay"},
    }
    return deployment_body(deployment_status=reported | status, check_run=None)


def parsed(event: str, body: Any) -> Any:
    return parse(event, json.dumps(body).encode())


def rejection(event: str, body: bytes) -> str:
    with pytest.raises(UserError) as caught:
        parse(event, body)
    assert caught.value.code == MALFORMED
    return str(caught.value)


def test_a_created_deployment_is_parsed() -> None:
    assert parsed("deployment", deployment_body()) == DeploymentCreated(
        deployment=GitHubDeployment(
            id=42,
            environment="production",
            ref="main",
            sha="f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
            task="deploy",
            created_at=datetime(2026, 11, 20, 10, 11, 12, tzinfo=UTC),
            payload={"release": 7},
            description="",
            creator="octocat",
            creator_id=1,
            production_environment=True,
            transient_environment=False,
            creator_type="User",
        ),
        repository=Repository(id=9, full_name="acme/web", html_url="https://github.com/acme/web"),
        installation_id=77,
        sender="hubot",
        watched=False,
    )


def test_a_deployment_of_an_actions_job_is_watched() -> None:
    assert parsed("deployment", deployment_body(workflow_run={"id": 3})).watched is True


def test_events_of_an_enterprise_server_need_no_action() -> None:
    body = deployment_body()
    for key in ("action", "workflow", "workflow_run"):
        del body[key]
    assert isinstance(parsed("deployment", body), DeploymentCreated)


def test_the_app_that_created_a_deployment_is_read_as_far_as_it_is_there() -> None:
    body = deployment_body()
    body["deployment"]["performed_via_github_app"] = {"id": 8329, "slug": "vercel", "name": None}
    app = GitHubApp(id="8329", client_id="", slug="vercel")
    assert parsed("deployment", body).deployment.app == app
    body["deployment"]["performed_via_github_app"] = "vercel"
    assert parsed("deployment", body).deployment.app is None


def test_a_changed_list_of_repositories_is_parsed() -> None:
    account = {"login": "acme"}
    body = {
        "action": "added",
        "installation": {"id": 77, "account": account},
        "repositories_added": [{"id": 9, "full_name": "acme/web"}, {"id": "10"}, None],
    }
    assert parsed("installation_repositories", body) == InstallationChanged(
        installation_id=77, action="added", account="acme", repository_ids=(9,)
    )


def test_a_deleted_creator_has_no_name() -> None:
    body = deployment_body(sender=None)
    body["deployment"]["creator"] = None
    requested = parsed("deployment", body)
    assert (requested.deployment.creator, requested.sender) == ("", "")


def test_a_created_status_is_parsed() -> None:
    event = parsed("deployment_status", status_body())
    assert isinstance(event, StatusCreated)
    assert event.deployment.id == 42
    assert event.installation_id == 77
    status = event.status
    assert (status.id, status.state, status.description) == (5, "in_progress", "half way")
    assert (status.log_url, status.environment_url) == ("https://ci.acme.io/1", "")
    assert status.creator == "drone[bot]"
    assert status.created_at == datetime(2026, 11, 20, 10, 12, tzinfo=UTC)


def test_an_unknown_state_is_kept() -> None:
    assert parsed("deployment_status", status_body(state="levitating")).status.state == "levitating"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://app.acme.io/a?b=c#d", True),
        ("HTTP://app.acme.io", True),
        ("javascript:alert(1)", False),
        ("https://", False),
        ("https://a b", False),
        ('https://a"onclick="x', False),
        ("https://a|<b>", False),
        ("//app.acme.io", False),
        (None, False),
        (7, False),
    ],
)
def test_only_web_addresses_become_links(url: Any, kept: bool) -> None:
    status = parsed("deployment_status", status_body(log_url=url, environment_url=url)).status
    assert status.log_url == status.environment_url == (url if kept else "")


@pytest.mark.parametrize("payload", [None, "", '{"a": 1}', {}, {"a": [1, 2.5, None, True]}])
def test_a_payload_is_unchanged(payload: Any) -> None:
    body = deployment_body()
    body["deployment"]["payload"] = payload
    assert parsed("deployment", body).deployment.payload == payload


def test_a_changed_installation_is_parsed() -> None:
    body = {"action": "suspend", "installation": {"id": 77}, "sender": {"login": "octocat"}}
    assert parsed("installation", body) == InstallationChanged(installation_id=77, action="suspend")


def test_a_ping_has_its_hook() -> None:
    assert parsed("ping", {"zen": "Speak like a human.", "hook_id": 30, "hook": {}}) == Ping(
        hook_id=30, zen="Speak like a human."
    )


@pytest.mark.parametrize(
    ("event", "body", "why"),
    [
        ("issues", b"not even JSON", "'issues' events"),
        ("deployment", b'{"action": "edited"}', "'deployment' events with action 'edited'"),
        ("installation", b'{"action": "renamed"}', "'installation' events with action 'renamed'"),
        ("deployment", b'{"action": {"a": []}}', "with action"),
    ],
)
def test_other_events_are_ignored(event: str, body: bytes, why: str) -> None:
    ignored = parse(event, body)
    assert isinstance(ignored, Ignored)
    assert why in ignored.reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON in UTF-8"),
        (b"{", "the body is not JSON in UTF-8"),
        (b"payload=%7B%7D", "the body is not JSON in UTF-8"),
        (b'{"a": "\xff"}', "the body is not JSON in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "the body is not JSON in UTF-8"),
        (b'{"a": NaN}', "the body is not JSON in UTF-8"),
        (b"[]", "the body is JSON, but not an object"),
        (b"[" * 200_000, "the body is JSON nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_an_error(body: bytes, message: str) -> None:
    assert rejection("deployment", body) == message


@pytest.mark.parametrize(
    ("path", "written", "message"),
    [
        ("deployment", "", "deployment is missing"),
        ("deployment", "[]", "deployment is not an object"),
        ("deployment.id", "", "deployment.id is missing"),
        ("deployment.id", '"42"', "deployment.id: Input should be a valid integer"),
        ("deployment.id", "true", "deployment.id: Input should be a valid integer"),
        ("deployment.id", str(2**63), "deployment.id: Input should be less than"),
        ("deployment.id", "9" * 5000, "deployment.id: Input should be a valid integer"),
        ("deployment.environment", "null", "deployment.environment: Input should be a valid s"),
        ("deployment.created_at", '"soon"', "deployment.created_at: Input should be a valid d"),
        ("repository.full_name", "", "repository.full_name is missing"),
        ("installation", "null", "installation.id is missing; a hook of a repository or organ"),
        ("installation", "", "installation.id is missing; a hook of a repository or organ"),
    ],
)
def test_missing_or_wrong_fields_are_named(path: str, written: str, message: str) -> None:
    body = deployment_body()
    *parents, key = path.split(".")
    parent = body[parents[0]] if parents else body
    del parent[key]
    if written:
        parent[key] = "@"
    text = json.dumps(body).replace('"@"', written)
    assert rejection("deployment", text.encode()).startswith(f"not a 'deployment' event: {message}")


def test_what_postgresql_cannot_store_is_replaced_everywhere() -> None:
    body = deployment_body()
    body["deployment"] |= {
        "ref": "a\x00b",
        "payload": {"k\x00": ["\ud800", {"x": "\udfff\U0001f600"}]},
    }
    deployment = parsed("deployment", body).deployment
    assert deployment.ref == "a\ufffdb"
    assert deployment.payload == {"k\ufffd": ["\ufffd", {"x": "\ufffd\U0001f600"}]}


def test_numbers_that_do_not_fit_become_their_text() -> None:
    digits = "9" * 5000
    body = json.dumps(deployment_body()).replace('"release": 7', f'"a": {digits}, "b": 1e999')
    requested = parse("deployment", body.encode())
    assert isinstance(requested, DeploymentCreated)
    assert requested.deployment.payload == {"a": digits, "b": "1e999"}


def test_a_payload_that_is_nested_too_deeply_is_cut() -> None:
    body = deployment_body()
    body["deployment"]["payload"] = json.loads("[" * 300 + "]" * 300)
    text = json.dumps(parsed("deployment", body).deployment.payload)
    assert text.startswith("[" * 90)
    assert "(nested too deeply)" in text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@settings(deadline=None)
@given(json_values)
def test_any_payload_can_be_stored(payload: Any) -> None:
    stored = json.dumps(storable(payload), ensure_ascii=False)
    stored.encode("utf-8")
    assert "\\u0000" not in stored


@settings(deadline=None)
@given(st.sampled_from(["deployment", "deployment_status", "ping"]), json_values)
def test_any_json_is_an_event_or_an_error_with_a_message(event: str, value: Any) -> None:
    body = {"deployment": value, "deployment_status": value, "repository": value, "hook_id": value}
    with suppress(UserError):
        parsed(event, body)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_an_event_or_an_error_with_a_message(body: bytes) -> None:
    with pytest.raises(UserError):
        parse("deployment", body)
