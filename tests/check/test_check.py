"""`python -m webhook check`: each thing that can be wrong, and its remedy."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from tests.world import DEPLOY_YML
from webhook.check.run import check


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def environ(sandbox: Sandbox, store_url: str, tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "deploy.yml"
    config.write_text(DEPLOY_YML)
    return sandbox.environ(tmp_path / "data", config, 8080) | {"GITPLOY_STORE_SOURCE": store_url}


async def checked(environ: dict[str, str]) -> tuple[bool, str]:
    lines: list[str] = []
    passed = await check(environ, lines.append)
    text = click.unstyle("\n".join(lines))
    for name in ("GITPLOY_WEBHOOK_SECRET", "GITPLOY_SLACK_BOT_TOKEN"):
        assert name not in environ or environ[name] not in text
    return passed, text


@pytest.mark.slow
async def test_a_correct_relay_passes(environ: dict[str, str]) -> None:
    passed, text = await checked(environ)
    assert passed
    assert "error" not in text
    for message in (
        "deploy.yml: production -> command",
        "store: PostgreSQL responds",
        "GitHub: the App is gitploy-relay",
        "events: deployment, deployment_status",
        "deployments: write",
        "ok    installations: acme\n",
        "Slack: the bot is @relay in Acme",
    ):
        assert message in text


async def test_errors_of_settings_and_config_are_listed_with_the_rest(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "deploy.yml").write_text("envs:\n  - name: production\n    handler: comand\n")
    passed, text = await checked(environ)
    assert not passed
    assert "deploy.yml:3:14" in text
    assert "GitHub: the App is" in text


async def test_a_value_that_a_shell_would_run_is_an_error_with_the_safe_forms(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "deploy.yml").write_text(
        "envs:\n- name: production\n  handler: command\n"
        '  with: {run: [sh, -c, "echo {ref}; date"]}\n'
    )
    passed, text = await checked(environ)
    assert not passed
    assert "deploy.yml:4:24: envs[0].with.run[2]: {ref} would be run as code by sh" in text
    assert '"$DEPLOYMENT_REF"' in text
    assert """[sh, -c, 'echo "$1"', sh, "{ref}"]""" in text


async def test_a_missing_variable_is_named(environ: dict[str, str]) -> None:
    del environ["GITPLOY_WEBHOOK_SECRET"]
    passed, text = await checked(environ)
    assert not passed
    assert "GITPLOY_WEBHOOK_SECRET" in text


async def test_missing_events_and_permissions_are_named(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    sandbox.github.app.events.remove("deployment_status")
    sandbox.github.app.permissions["deployments"] = "read"
    passed, text = await checked(environ)
    assert not passed
    assert "subscribe to deployment_status" in text
    assert "give deployments: write" in text


async def test_what_a_protection_rule_needs_is_named(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    rule = "envs: [{name: production, handler: github-actions, protection_rule: true}]"
    Path(environ["GITPLOY_CONFIG"]).write_text(rule)
    sandbox.github.app.permissions["actions"] = "none"
    passed, text = await checked(environ)
    assert not passed
    assert "subscribe to deployment_protection_rule" in text
    assert "give actions: read" in text


async def test_a_wrong_clock_is_named(sandbox: Sandbox, environ: dict[str, str]) -> None:
    sandbox.github.world.ahead = timedelta(seconds=500)
    passed, text = await checked(environ)
    assert not passed
    assert re.search(r"clock: this machine's clock is (499|500) s slow; .*: set it", text)
    assert "GitHub: the App is gitploy-relay" in text


async def test_where_the_webhook_points_is_checked(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    own = sandbox.github.webhook_url
    passed, text = await checked(environ)
    assert passed
    assert f"ok    webhook: GitHub sends to {own}\n" in text
    assert "note  deliveries: not compared with GitHub's list yet" in text
    sandbox.github.webhook_url = "https://user:secret@old.example.com/webhook?token=secret"
    sandbox.github.webhooks.content_type = "form"
    sandbox.github.webhooks.insecure_ssl = "1"
    passed, text = await checked(environ)
    assert not passed
    elsewhere = "GitHub sends to https://old.example.com/webhook"
    assert f"error webhook: {elsewhere}, not to this relay, and nothing arrives; set the" in text
    assert f"to {own} and make it active" in text
    assert "error webhook: its content type is form" in text
    assert "note  webhook: GitHub does not verify the certificate" in text
    assert "secret@" not in text
    assert "token=" not in text
    with psycopg.connect(environ["GITPLOY_STORE_SOURCE"]) as connection:
        connection.execute(
            "insert into deliveries (hook_id, guid, event, body) values (1, 'g', 'ping', '{}')"
        )
    _, text = await checked(environ)
    assert f"note  webhook: {elsewhere}, from where deliveries reach this relay" in text
    sandbox.github.webhook_url = ""
    _, text = await checked(environ)
    assert "error webhook: the App has none, so nothing arrives; set the webhook URL" in text
    pulled = environ | {"GITPLOY_DELIVERIES": "pull"}
    del pulled["GITPLOY_WEBHOOK_SECRET"]
    _, text = await checked(pulled)
    assert "error webhook: the App has none, and GitHub keeps no deliveries without one" in text
    sandbox.github.webhook_url = "https://nobody.example.com/"
    passed, text = await checked(pulled)
    assert passed
    assert "ok    webhook: deliveries are pulled; GitHub also sends them to" in text


async def test_what_was_missing_among_the_deliveries_is_named(environ: dict[str, str]) -> None:
    with psycopg.connect(environ["GITPLOY_STORE_SOURCE"], autocommit=True) as connection:
        connection.execute("insert into delivery_scan (compared_at, found) values (now(), 3)")
        connection.execute(
            "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at,"
            " state, reason) values ('g-1', 'deployment', 1, now(), '2026-01-02T03:04:05Z',"
            " 'given_up', 'GitHub has no payload of it')"
        )
        passed, text = await checked(environ)
        assert passed
        assert "UTC; 3 were missing so far, 1 lately given up\n" in text
        assert (
            "note  deliveries: g-1 of 2026-01-02 03:04:05 UTC (deployment) is given up: GitHub has"
            " no payload of it; redeliver it from"
        ) in text
        connection.execute(
            "update delivery_scan set failing_since = now() - interval '40 minutes', error = 'x'"
        )
    passed, text = await checked(environ)
    assert not passed
    assert re.search("error deliveries: not compared with GitHub's list for 4[0-5] min: x", text)


ACTIONS = "envs: [{name: production, handler: github-actions, with: {mode: %s}, repos: ['%s']}]"
DISPATCH = "dispatch, workflow: deploy.yml"


def write_config(environ: dict[str, str], mode: str, repos: str = "*") -> None:
    Path(environ["GITPLOY_CONFIG"]).write_text(ACTIONS % (mode, repos))


async def test_an_installation_that_has_not_accepted_a_permission_is_an_error(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    write_config(environ, DISPATCH)
    passed, text = await checked(environ)
    assert passed
    assert "ok    permissions: actions: write" in text
    sandbox.installation.permissions["actions"] = "read"
    new = sandbox.github.add_installation("globex", permissions={"metadata": "read"})
    sandbox.github.add_installation("initech")
    passed, text = await checked(environ)
    assert not passed
    page = f"{sandbox.github.url}/settings/installations"
    assert text.splitlines()[text.splitlines().index("ok    installations: initech") :][1:3] == [
        "error installation acme: has not accepted actions: write; its owner accepts it at"
        f" {page}/{sandbox.installation.id}; until then, its runs cannot be followed",
        "error installation globex: has not accepted actions: write and deployments: write; its"
        f" owner accepts it at {page}/{new.id}; until then, GitHub sends no deployments, and takes"
        " no statuses; its runs cannot be followed",
    ]


async def test_an_installation_needs_only_what_its_environments_need(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    sandbox.installation.permissions["actions"] = "read"
    write_config(environ, DISPATCH, "globex/*")
    assert (await checked(environ))[0]
    write_config(environ, DISPATCH, "Acme/site")
    assert not (await checked(environ))[0]
    write_config(environ, "watch", "acme/site")
    assert (await checked(environ))[0]


async def test_a_permission_that_the_app_lacks_is_reported_of_the_app_alone(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    write_config(environ, DISPATCH)
    for permissions in (sandbox.github.app.permissions, sandbox.installation.permissions):
        del permissions["actions"]
    passed, text = await checked(environ)
    assert not passed
    assert "error permissions: give actions: write at" in text
    assert "ok    installations: acme" in text


async def test_a_file_of_the_repository_needs_its_contents(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    write_config(environ, DISPATCH)
    config = Path(environ["GITPLOY_CONFIG"])
    config.write_text(f"repository_file: tighten\n{config.read_text()}")
    del sandbox.installation.permissions["contents"]
    passed, text = await checked(environ)
    assert not passed
    assert "has not accepted contents: read; its owner accepts it at" in text


async def test_a_suspended_installation_is_a_note(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    sandbox.installation.suspended = True
    passed, text = await checked(environ)
    assert passed
    message = "note  installation acme: suspended, so GitHub sends no deployments of it; its owner"
    page = f"{sandbox.github.url}/settings/installations/{sandbox.installation.id}"
    assert f"{message} unsuspends it at {page}" in text
    assert "ok    installations" not in text


async def test_an_app_that_is_installed_nowhere_is_an_error(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    sandbox.github.world.installations.clear()
    passed, text = await checked(environ)
    assert not passed
    page = f"{sandbox.github.url}/apps/gitploy-relay/installations/new"
    assert "error installations: there is none" in text
    assert f"install the App at {page}" in text


async def test_many_installations_are_read_up_to_the_thousandth_and_summarized(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    for number in range(150):
        sandbox.github.add_installation(f"org{number:03}")
    passed, text = await checked(environ)
    assert passed
    assert ", ".join(f"org{n:03}" for n in range(9)) + " and 141 more" in text
    for number in range(1000):
        sandbox.github.add_installation(f"late{number}", permissions={"metadata": "read"})
    sandbox.github.calls.clear()
    passed, text = await checked(environ)
    assert not passed
    assert text.count("has not accepted deployments: write") == 20
    assert "error installations: 829 more are like that" in text
    assert "note  installations: only the first 1000 were checked" in text
    assert len(sandbox.github.called("GET", "/app/installations")) == 10


@pytest.mark.parametrize("body", [{"message": "no list"}, [{"id": 1}], [{"account": "acme"}]])
async def test_a_malformed_list_of_installations_is_an_error(
    sandbox: Sandbox, environ: dict[str, str], body: Any
) -> None:
    sandbox.github.faults.add("GET /app/installations", Fault.status(200, body))
    passed, text = await checked(environ)
    assert not passed
    assert "error installations: GitHub gave no clear response" in text


async def test_a_wrong_app_id_or_key_is_an_error_with_a_remedy(environ: dict[str, str]) -> None:
    environ |= {"GITPLOY_GITHUB_APP_ID": "999", "GITPLOY_GITHUB_CLIENT_ID": ""}
    del environ["GITPLOY_GITHUB_CLIENT_SECRET"]
    passed, text = await checked(environ)
    assert not passed
    assert "check GITPLOY_GITHUB_APP_ID" in text


async def test_a_page_that_is_not_githubs_api_is_an_error(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    environ["GITPLOY_GITHUB_BASE_URL"] = sandbox.slack.url
    passed, text = await checked(environ)
    assert not passed
    assert "GITPLOY_GITHUB_BASE_URL" in text


async def test_a_github_that_does_not_respond_is_an_error(environ: dict[str, str]) -> None:
    environ["GITPLOY_GITHUB_BASE_URL"] = "http://127.0.0.1:9"
    passed, text = await checked(environ)
    assert not passed
    assert "GitHub gave no clear response" in text


@pytest.mark.parametrize("error", ["invalid_auth", "token_revoked"])
async def test_a_revoked_slack_token_is_an_error(
    sandbox: Sandbox, environ: dict[str, str], error: str
) -> None:
    sandbox.slack.auth_error = error
    passed, text = await checked(environ)
    assert not passed
    assert error in text


async def test_a_missing_scope_is_named(sandbox: Sandbox, environ: dict[str, str]) -> None:
    sandbox.slack.scopes = {"channels:history"}
    passed, text = await checked(environ)
    assert not passed
    assert "error Slack scopes: lacks chat:write; add it under OAuth & Permissions" in text
    sandbox.slack.scopes = {"chat:write", "channels:history"}
    environ["GITPLOY_SLACK_SIGNING_SECRET"] = "a-signing-secret"
    passed, text = await checked(environ)
    assert not passed
    assert "error Slack scopes: lacks commands; add it" in text
    sandbox.slack.scopes = {"chat:write", "commands"}
    passed, text = await checked(environ)
    assert passed
    assert "note  Slack scopes: has chat:write, commands; with channels:history" in text


async def test_scopes_that_slack_does_not_name_are_not_lacking(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    sandbox.slack.scopes = set()
    passed, text = await checked(environ)
    assert passed
    assert "note  Slack scopes: Slack does not name those of the token" in text
    assert "lacks" not in text.replace("whether one lacks", "")


async def test_the_ways_in_which_actions_arrive_are_checked(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    environ["GITPLOY_SLACK_SIGNING_SECRET"] = "a-signing-secret"
    environ["GITPLOY_SLACK_APP_TOKEN"] = sandbox.slack.app.app_token
    sandbox.slack.scopes = {"chat:write", "commands"}
    passed, text = await checked(environ)
    assert passed
    assert "note  Slack actions: expected at http://127.0.0.1:8080/slack/interactions; " in text
    assert "ok    Slack actions: come by Socket Mode" in text
    del environ["GITPLOY_SLACK_SIGNING_SECRET"]
    sandbox.slack.app.app_token_scopes.clear()
    passed, text = await checked(environ)
    assert not passed
    assert "error Slack Socket Mode: Slack returned missing_scope for the app token; set" in text
    assert "connections:write" in text
    assert "expected at" not in text
    environ["GITPLOY_SLACK_APP_TOKEN"] = "xapp-1-A0-1-of-nobody"
    passed, text = await checked(environ)
    assert not passed
    assert "error Slack Socket Mode: Slack returned invalid_auth for the app token; set" in text
    assert "of-nobody" not in text
    sandbox.slack.faults.add("POST /apps.connections.open", Fault.status(503, "away"))
    _, text = await checked(environ)
    assert "error Slack Socket Mode: Slack gave no clear response (HTTP 503)" in text


async def test_channels_without_a_token_are_an_error(environ: dict[str, str]) -> None:
    del environ["GITPLOY_SLACK_BOT_TOKEN"]
    passed, text = await checked(environ)
    assert not passed
    assert "neither GITPLOY_SLACK_CLIENT_ID nor GITPLOY_SLACK_BOT_TOKEN is set" in text


async def test_a_store_that_is_away_or_old_is_an_error(environ: dict[str, str]) -> None:
    with psycopg.connect(environ["GITPLOY_STORE_SOURCE"]) as connection:
        connection.execute("update alembic_version set version_num = '0000'")
    passed, text = await checked(environ)
    assert not passed
    assert "python -m webhook migrate" in text
    environ["GITPLOY_STORE_SOURCE"] = "postgresql://127.0.0.1:9/none"
    passed, text = await checked(environ)
    assert not passed
    assert "check GITPLOY_STORE_SOURCE" in text


def unsent_messages(environ: dict[str, str], *messages: tuple[str, str, str]) -> None:
    """Of one deployment: destination, state and error of each."""
    with psycopg.connect(environ["GITPLOY_STORE_SOURCE"]) as connection:
        connection.execute(
            "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment,"
            " ref, sha, task, description, creator, production, production_on_github,"
            " transient, created_at, phase) values"
            " (1, 'a/b', 1, '', 1, 'x', 'r', 's', 't', '', '', false, false, false, now(), 'error')"
        )
        connection.cursor().executemany(
            "insert into outbox (kind, deployment_id, purpose, destination, state, error)"
            " values ('message', 1, 'main', %s, %s, %s)",
            messages,
        )


async def test_recent_rejections_of_slack_are_errors(environ: dict[str, str]) -> None:
    not_invited = "Slack says not_in_channel: type /invite @relay"
    unsent_messages(environ, ("slack:#deploys", "rejected", not_invited))
    passed, text = await checked(environ)
    assert not passed
    assert "Slack #deploys: Slack says not_in_channel: type /invite @relay" in text


async def test_a_message_in_doubt_is_a_note_and_a_destination_that_is_gone_is_not_named(
    environ: dict[str, str],
) -> None:
    unsent_messages(
        environ,
        ("slack:#deploys", "claimed", "Slack gave no clear response"),
        ("slack:#former", "rejected", "Slack says is_archived"),
    )
    passed, text = await checked(environ)
    assert passed
    message = "whether the newest message is there is not known: Slack gave no clear response"
    assert f"note  Slack #deploys: {message}" in text
    assert "former" not in text


async def test_a_login_that_github_does_not_know_is_named(
    environ: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.github.add_user("mona")
    people = "slack_users: {Mona: U0MONA, octocat: U0CAT, renamed: U0OLD}\n"
    (tmp_path / "deploy.yml").write_text(DEPLOY_YML + people)
    passed, text = await checked(environ)
    assert passed
    [line] = [line for line in text.splitlines() if "slack_users" in line]
    assert line.startswith("note")
    assert "GitHub has no account 'renamed' (any more)" in line
    assert "write its new login" in line
    sandbox.github.add_user("renamed")
    assert "slack_users: mona, octocat, renamed" in (await checked(environ))[1]


async def test_a_sign_in_that_github_would_not_take_is_an_error(
    sandbox: Sandbox, environ: dict[str, str]
) -> None:
    _, text = await checked(environ)
    assert "ok    sign-in: GitHub takes the client secret; people come back to" in text
    sandbox.github.faults.add(
        "POST /login/oauth/access_token", Fault.status(200, {"error": "redirect_uri_mismatch"})
    )
    passed, text = await checked(environ)
    assert not passed
    assert "error sign-in: the App has no callback URL http" in text
    passed, text = await checked(environ | {"GITPLOY_GITHUB_CLIENT_SECRET": "0123456789abcdef"})
    assert not passed
    assert "GITPLOY_GITHUB_CLIENT_SECRET is not a client secret of the App" in text
    del environ["GITPLOY_GITHUB_CLIENT_SECRET"]
    _, text = await checked(environ)
    assert "note  sign-in: nobody can sign in" in text
