"""What an operator does about Slack on the command line."""

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from click.testing import CliRunner, Result

from sandbox.github.server import GitHub
from tests.slack.install.installing import Browser, browser, installable, installed
from tests.world import World
from webhook.__main__ import main
from webhook.security.cipher import Cipher

OLD, NEW = "an-old-key-of-16-characters", "a-new-key-of-16-characters"
NAME = re.compile(r"[a-z0-9_.-]{1,80}")


def run(environ: dict[str, str], *arguments: str) -> Result:
    """In this process, and not more of its environment than a relay needs."""
    runner = CliRunner(env={name: None for name in os.environ if name.startswith("GITPLOY_")})
    return runner.invoke(main, ["slack", *arguments], env=environ)


def variables(world: World, **changed: str) -> dict[str, str]:
    known = {k: v for k, v in world.setup.environ.items() if k != "PATH"}
    return {**known, "GITPLOY_STORE_SOURCE": world.store_url, **changed}


@pytest.fixture(scope="module")
def private_key() -> str:
    return GitHub().private_key_pem


@pytest.fixture
def environ(tmp_path: Path, private_key: str) -> dict[str, str]:
    """All that a relay needs whose Slack app does not exist yet."""
    config = tmp_path / "deploy.yml"
    config.write_text("envs:\n  - {name: a, handler: command, with: {run: [x]}}\n")
    return {
        "GITPLOY_SERVER_HOST": "relay.acme.io",
        "GITPLOY_WEBHOOK_SECRET": "0123456789-a-secret",
        "GITPLOY_GITHUB_APP_ID": "1",
        "GITPLOY_GITHUB_PRIVATE_KEY": private_key,
        "GITPLOY_CONFIG": str(config),
        "GITPLOY_DATA_DIR": str(tmp_path),
    }


def manifest_in(result: Result) -> tuple[dict[str, Any], str]:
    """The manifest, and the one that its link holds."""
    assert result.exit_code == 0, result.output
    text, _, link = result.stdout.rstrip("\n").rpartition("\n\n")
    address, query = link.split("?", 1)
    assert address == "https://api.slack.com/apps"
    query_values = parse_qs(query, strict_parsing=True)
    assert query_values["new_app"] == ["1"]
    manifest: dict[str, Any] = json.loads(text)
    assert json.loads(query_values["manifest_json"][0]) == manifest
    return manifest, link


# What docs.slack.dev/reference/app-manifest allows, as far as the relay uses it.
KNOWN: dict[str, Any] = {
    "display_information": {"name": str, "description": str},
    "features": {
        "bot_user": {"display_name": str, "always_online": bool},
        "slash_commands": [
            {
                "command": str,
                "url": str,
                "description": str,
                "usage_hint": str,
                "should_escape": bool,
            }
        ],
    },
    "oauth_config": {"redirect_urls": [str], "scopes": {"bot": [str]}},
    "settings": {
        "org_deploy_enabled": bool,
        "socket_mode_enabled": bool,
        "token_rotation_enabled": bool,
        "interactivity": {"is_enabled": bool, "request_url": str},
        "event_subscriptions": {"request_url": str, "bot_events": [str]},
    },
}


def fits(value: Any, known: Any) -> bool:
    if isinstance(known, dict):
        return isinstance(value, dict) and all(
            key in known and fits(part, known[key]) for key, part in value.items()
        )
    if isinstance(known, list):
        return isinstance(value, list) and all(fits(part, known[0]) for part in value)
    return isinstance(value, known)


def test_slack_accepts_the_manifest(environ: dict[str, str]) -> None:
    for options in ([], ["--plain"], ["--socket-mode"], ["--rotate-tokens"]):
        manifest, link = manifest_in(run(environ, "manifest", *options))
        assert fits(manifest, KNOWN)
        assert 0 < len(manifest["display_information"]["name"]) <= 35
        assert len(manifest["display_information"]["description"]) <= 140
        assert NAME.fullmatch(manifest["features"]["bot_user"]["display_name"])
        assert manifest["oauth_config"]["redirect_urls"] == ["https://relay.acme.io/slack/signin"]
        assert manifest["settings"]["token_rotation_enabled"] == ("--rotate-tokens" in options)
        only = run(environ, "manifest", "--link", *options)
        assert only.stdout == f"{link}\n"
        assert json.loads(run(environ, "manifest", "--json", *options).stdout) == manifest


def test_the_manifest_needs_no_github_app() -> None:
    manifest, _ = manifest_in(run({"GITPLOY_SERVER_HOST": "relay.acme.io"}, "manifest"))
    assert manifest["oauth_config"]["redirect_urls"] == ["https://relay.acme.io/slack/signin"]
    wrong = run({"GITPLOY_SLACK_BOT_SCOPES": "users:read"}, "manifest")
    assert wrong.exit_code == 1
    assert "GITPLOY_SERVER_HOST is not set" in wrong.stderr
    assert "GITPLOY_SLACK_BOT_SCOPES lacks chat:write" in wrong.stderr


@pytest.mark.parametrize("options", [["--plain", "--socket-mode"], ["--link", "--json"]])
def test_options_that_exclude_each_other_are_an_error(options: list[str]) -> None:
    result = run({"GITPLOY_SERVER_HOST": "relay.acme.io"}, "manifest", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(option in result.stderr for option in options)
    assert "leave one of them out" in result.stderr


def test_the_whole_manifest_has_all_addresses_of_this_relay(environ: dict[str, str]) -> None:
    environ["GITPLOY_SLACK_BOT_SCOPES"] = "chat:write, users:read"
    manifest, _ = manifest_in(run(environ, "manifest"))
    assert manifest["display_information"]["name"] == "Gitploy Relay"
    assert manifest["oauth_config"]["scopes"] == {"bot": ["chat:write", "commands", "users:read"]}
    [command] = manifest["features"]["slash_commands"]
    assert (command["command"], command["url"]) == (
        "/deploy",
        "https://relay.acme.io/slack/commands",
    )
    settings = manifest["settings"]
    assert settings["interactivity"] == {
        "is_enabled": True,
        "request_url": "https://relay.acme.io/slack/interactions",
    }
    assert settings["event_subscriptions"] == {
        "request_url": "https://relay.acme.io/slack/events",
        "bot_events": ["app_uninstalled", "tokens_revoked"],
    }
    assert settings["socket_mode_enabled"] is False


def test_the_plain_manifest_posts_and_nothing_else(environ: dict[str, str]) -> None:
    manifest, _ = manifest_in(run(environ, "manifest", "--plain"))
    assert manifest["oauth_config"]["scopes"] == {"bot": ["chat:write"]}
    assert "slash_commands" not in manifest["features"]
    assert not {"interactivity", "event_subscriptions"} & manifest["settings"].keys()


@pytest.mark.parametrize("by", ["option", "token"])
def test_with_socket_mode_the_manifest_has_no_address(environ: dict[str, str], by: str) -> None:
    if by == "token":
        environ["GITPLOY_SLACK_APP_TOKEN"] = "xapp-1-A0-1-secret"
    result = run(environ, "manifest", *(["--socket-mode"] if by == "option" else []))
    manifest, _ = manifest_in(result)
    assert manifest["settings"]["socket_mode_enabled"] is True
    assert manifest["settings"]["interactivity"] == {"is_enabled": True}
    assert "request_url" not in manifest["settings"]["event_subscriptions"]
    assert "url" not in manifest["features"]["slash_commands"][0]
    assert "xapp" not in result.output


def test_http_produces_a_note_that_slack_needs_https(environ: dict[str, str]) -> None:
    environ["GITPLOY_SERVER_PROTO"] = "http"
    result = run(environ, "manifest", "--link")
    assert "https:// addresses only" in result.stderr
    assert "Note" not in result.stdout


PREVIEWED = """
slack: {channel: "#deploys", failures: "#oncall"}
envs:
  - name: production
    repos: ["initech/*", globex/api]
    handler: command
    with: {run: [x]}
    slack:
      - {failures: none}
      - {channel: "#shop", failures: none, repos: ["*/shop-*"]}
      - {channel: "#api", failures: none, repos: [globex/api]}
      - {workspace: T0456EFGH, channel: "#customers", repos: ["initech/[w]eb"]}
"""


def test_a_preview_has_a_sample_for_each_channel(environ: dict[str, str]) -> None:
    Path(environ["GITPLOY_CONFIG"]).write_text(PREVIEWED.replace("initech/[w]eb", "initech/w?b"))
    text = run(environ, "preview", "--state", "success").stdout
    heads = re.findall(r"^(\S+), message .*\n  (?:\S+) (\S+) to production", text, re.M)
    assert heads == [
        ("#deploys", "initech/site"),
        ("#shop", "initech/shop-site"),
        ("#api", "globex/api"),
        ("T0456EFGH/#customers", "initech/wxb"),
    ]
    assert "#oncall" not in text
    shown = json.loads(run(environ, "preview", "--json", "--state", "failure").stdout)
    assert {one["channel"] for one in shown} == {channel for channel, _ in heads}
    assert all(one["blocks"] for one in shown)
    held = run(environ, "preview", "--state", "on_hold").stdout
    assert "⏸️ initech/site to production on hold" in held
    assert "  • Locked by hubot: an incident  ·  until " in held
    superseded = run(environ, "preview", "--state", "superseded").stdout
    assert "⏭️ superseded: Superseded by deployment 43 (v1.3)" in superseded
    assert "in progress" not in superseded


def test_a_preview_names_the_channel_without_a_sample(environ: dict[str, str]) -> None:
    Path(environ["GITPLOY_CONFIG"]).write_text(PREVIEWED)
    text = run(environ, "preview").stdout
    line = "T0456EFGH/#customers: not for initech/*, globex/api (repos) (production)"
    assert line in text.splitlines()
    shown = json.loads(run(environ, "preview", "--json").stdout)
    assert {one["channel"] for one in shown} == {"#deploys", "#shop", "#api"}


def test_a_link_needs_the_apps_credentials(environ: dict[str, str]) -> None:
    result = run(environ, "install-link")
    assert result.exit_code == 1
    assert "GITPLOY_SLACK_CLIENT_ID and GITPLOY_SLACK_CLIENT_SECRET are not set" in result.stderr
    assert "Basic Information" in result.stderr
    assert result.stdout == ""


async def linked(world: World, person: Browser) -> str:
    """The page of a link that the command printed."""
    result = run(variables(world), "install-link")
    assert result.exit_code == 0, result.output
    link = result.stdout.strip()
    assert re.search(r"It works once, until \d\d:\d\d .*one browser", result.stderr)
    assert link.startswith(f"{world.url}/slack/install?key=")
    assert len(urlsplit(link).query) >= len("key=") + 43
    return link


async def test_a_printed_link_installs_and_keys_can_be_rotated(
    store_url: str, tmp_path: Path
) -> None:
    old = {"GITPLOY_SECRET_KEY": OLD}
    async with installable(store_url, tmp_path, old) as world, browser() as person:
        nothing = run(variables(world), "rotate-key")
        assert "nothing to encrypt" in nothing.stdout
        world.slack.app.rotates = True
        second = world.slack.add_workspace("Beta")
        for workspace in (world.slack.workspace, second):
            page = await person.press(await linked(world, person))
            back = await world.slack.authorize_app(page.location, "allow", workspace=workspace)
            assert (await person.get(back)).status == 200
        tokens = installed(world)
        assert len(tokens) == 2

        both = run(variables(world, GITPLOY_SECRET_KEY=f"{NEW},{OLD}"), "rotate-key")
        assert both.stdout == "The tokens of 2 workspaces are encrypted with the newest key.\n"
        rows = world.rows("select * from slack_installations")
        cipher = Cipher([NEW])
        assert {row["team"]: cipher.decrypt(row["token"]) for row in rows} == tokens
        assert all(cipher.decrypt(row["refresh_token"]).startswith("xoxe-") for row in rows)

        without = run(variables(world), "rotate-key")
        assert without.exit_code == 1
        assert "Nothing was changed. Acme (T0SANDBOX), Beta" in without.stderr
        assert "GITPLOY_SECRET_KEY" in without.stderr
        assert world.rows("select * from slack_installations") == rows


async def test_a_token_that_cannot_be_decrypted_leaves_all_unchanged(
    store_url: str, tmp_path: Path
) -> None:
    old = {"GITPLOY_SECRET_KEY": OLD}
    async with installable(store_url, tmp_path, old) as world, browser() as person:
        await person.install(world)
        await person.install(world, world.slack.add_workspace("Beta"))
        with psycopg.connect(store_url) as connection:
            lost = Cipher(["a key that nobody has"]).encrypt("xoxb-lost")
            connection.execute(
                "update slack_installations set token = %s where team_name = 'Beta'", [lost]
            )
        rows = world.rows("select * from slack_installations order by team")
        result = run(variables(world, GITPLOY_SECRET_KEY=f"{NEW},{OLD}"), "rotate-key")
        assert result.exit_code == 1
        assert "Beta (T00000001)" in result.stderr
        assert "Acme" not in result.stderr
        assert world.rows("select * from slack_installations order by team") == rows
