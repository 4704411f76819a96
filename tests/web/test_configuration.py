"""The page of the configuration: deploy.yml in use, its environments, and the settings."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.web.people import Page, browser
from tests.web.viewing import private_key_pem
from tests.world import World, live, until
from webhook.logs import Redactor
from webhook.setting_types import private_key_forms
from webhook.settings import VARIABLES, Settings
from webhook.web.pages.configuration.settings import build_settings

DEPLOY_YML = """
slack: {channel: "#deploys"}
frozen_windows:
  - {start: "0 0 1 1 *", duration: 1h, reason: "As ${TOOL_PART} is", environments: [production]}
envs:
  - name: production
    repos: [acme/site]
    handler: command
    with: {run: ["true", "${TOOL_PART}"]}
    wait_limit: 2h
    repository_file: tighten
    review: {enabled: true, reviewers: [mona, hubot]}
    discord: {url: "${DISCORD_HOOK}"}
  - name: staging
    handler: command
    with: {run: ["true"]}
    auto_deploy_on: ^refs/heads/main$
  - name: "jobs*"
    handler: github-actions
unrouted: ignore
"""
# No other text contains them.
TOOLS = {
    "TOOL_PART": 'marker"of<the>tool',
    "DISCORD_HOOK": "https://discord.com/api/webhooks/1/marker-of-discord",
}
IDS = {"GITPLOY_GITHUB_CLIENT_ID": "Iv1.0", "GITPLOY_SLACK_CLIENT_ID": "1.2"}
SECRETS = {
    "GITPLOY_WEBHOOK_SECRET": "marker-webhook-0123456789,marker-older-0123456789",
    "GITPLOY_GITHUB_CLIENT_SECRET": "marker-client-0123456789",
    "GITPLOY_SLACK_APP_TOKEN": "xapp-marker-0123456789",
    "GITPLOY_SLACK_CLIENT_SECRET": "marker-slack-0123456789",
    "GITPLOY_SLACK_BOT_TOKEN": "xoxb-marker-0123456789",
    "GITPLOY_SLACK_SIGNING_SECRET": "marker-signing-0123456789",
    "GITPLOY_STORE_SOURCE": "postgresql://marker:marker-password@db.example.com/relay",
    "DATABASE_URL": "postgresql://marker:marker-password@other.example.com/relay",
    "GITPLOY_SECRET_KEY": "marker-key-0123456789,marker-older-key-0123456789",
}


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    environ = {"GITPLOY_ADMIN_USERS": "octoadmin", "GITPLOY_KEEP_OUTPUT": "forever", **TOOLS}
    async with live(store_url, tmp_path, DEPLOY_YML, environ=environ) as started:
        yield started


# It reads what others use, and still holds its own place.
OTHER = """
import sys
from pathlib import Path
from webhook.config.environments import Config
from webhook.presence import Presence
one = Presence.begin(Path(sys.argv[1]), "up", Config(envs=(), digest="older"), reloads=True)
one.rejects(["deploy.yml:5:1: is wrong; mend it"])
assert one.others() == []
print(flush=True)
sys.stdin.read()
one.end()
"""


@contextmanager
def another_process(data_dir: Path) -> Iterator[int]:
    """Of the relay, which did not take the newest file; its id."""
    with Popen([sys.executable, "-c", OTHER, str(data_dir)], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


async def opened(world: World, query: str = "") -> Page:
    """Nothing that the relay was given as a secret is ever in it."""
    async with browser(world, "octoadmin") as operator:
        page = await operator.open(f"/configuration{query}")
    assert page.status == 200
    secrets = (*world.credentials(), *world.setup.settings.secrets, *TOOLS.values(), "marker")
    assert not [one for one in secrets if one in page.html or one in page.text]
    return page


async def test_an_operator_reads_what_the_relay_works_with(world: World, tmp_path: Path) -> None:
    page = await opened(world)
    seen = page.text
    assert f"{tmp_path / 'deploy.yml'} In use {world.setup.config.digest[:8]} since" in seen
    assert "On disk as it is in use" in seen
    assert "is ignored" in seen
    row = "1 production acme/site command locks, freeze, approval, serialization 2h 30m"
    assert f"{row} slack:#deploys discord:1 no may tighten" in seen
    assert "2 staging all command locks, serialization 24h 30m slack:#deploys pushes to" in seen
    assert "3 jobs* all github-actions nothing: its tool starts by itself" in seen
    assert "1. production, line 6" in seen
    assert "review 1 of mona, hubot the operator's deploy.yml, line 12" in seen
    assert "As *** is the default" not in seen
    assert "frozen_windows As *** is" in seen
    assert "with run; values are not shown, as they may be secrets" in seen
    assert "GITPLOY_KEEP_OUTPUT set forever" in seen
    assert "GITPLOY_KEEP_DELIVERIES default 30d" in seen
    assert "GITPLOY_WEBHOOK_SECRET set a secret, not shown" in seen


@pytest.mark.parametrize("key", ["GITPLOY_GITHUB_PRIVATE_KEY", "GITPLOY_GITHUB_PRIVATE_KEY_PATH"])
def test_each_setting_that_is_a_secret_is_only_said_to_be_set(tmp_path: Path, key: str) -> None:
    pem = private_key_pem()
    (tmp_path / "marker.pem").write_text(pem)
    value = str(tmp_path / "marker.pem") if key.endswith("PATH") else pem
    texts = {"GITPLOY_SERVER_HOST": "relay.example.com", **IDS, **SECRETS, key: value}
    settings = Settings.from_environ(texts)
    groups = build_settings(settings, Redactor(()))
    views = {one.name: one for group in groups for one in group.settings}
    assert {name for name, one in views.items() if one.secret} == {
        one.name for one in VARIABLES if one.secret
    }
    for name, one in views.items():
        if one.secret:
            expected = (
                "not used" if name == "DATABASE_URL" else "set" if name in texts else "not set"
            )
            assert (one.state, one.value) == (expected, ""), name
    shown = repr(groups)
    assert "marker" not in shown
    assert not [part for part in private_key_forms(pem) if part in shown]
    assert views["GITPLOY_SLACK_CLIENT_ID"].value == "1.2"


async def test_only_operators_are_led_there(world: World) -> None:
    async with browser(world, "octowriter") as writer:
        assert "/configuration" not in (await writer.open("/health")).links
        unknown = await writer.open("/configurations")
        refused = await writer.open("/configuration?env=production&repo=acme/site")
        assert refused.status == unknown.status == 404
        assert refused.text == unknown.text
    assert "/configuration" in (await opened(world)).links


async def test_a_name_is_explained_as_the_command_does(world: World) -> None:
    world.github.repository("acme/site").push("One")
    found = (await opened(world, "?env=PRODUCTION&repo=acme/site")).text
    assert "It belongs to entry 1, production ." in found
    assert "What a deployment would meet now" in found
    assert "approval waits no known end" in found
    assert "The running workers" not in found
    assert (
        "No route for environment 'nowhere'" in (await opened(world, "?env=nowhere&repo=a/b")).text
    )
    unknown = (await opened(world, "?env=staging&repo=acme/unknown")).text
    assert "It belongs to entry 2, staging" in unknown
    assert "GitHub shows the App no repository acme/unknown" in unknown
    for query, error in (
        ("?env=production", "Write OWNER/NAME"),
        ("?env=stag*&repo=acme/site", "This is a pattern"),
        ("?repo=acme/site", "Write the name of an environment"),
        ("?env=%00%E2%80%AE<script>&repo=a/b/c&start=999999999999999999", "Write OWNER/NAME"),
    ):
        page = await opened(world, query)
        assert error in page.text
        assert "<script>" not in page.html


async def test_an_edited_file_and_who_uses_another_are_named(world: World, tmp_path: Path) -> None:
    file = tmp_path / "deploy.yml"
    await until(lambda: world.rows("select 1 from workers") or None)
    world.execute("update workers set config_digest = 'another'")
    file.write_text(DEPLOY_YML.replace("name: staging", "name: canary"))
    edited = (await opened(world)).text
    assert "The file was edited since It has no errors, and adds canary; removes staging" in edited
    assert "Another one is used by a worker here" in edited
    with another_process(tmp_path) as number:
        both = (await opened(world)).text
    assert f"Another one is used by up (process {number}) here, a worker here." in both
    assert f"up (process {number}) did not take the file at its last reload" in both
    assert "it goes on with the one before. deploy.yml:5:1: is wrong; mend it" in both
    assert f"up (process {number}) another file older" in both
    file.write_text(DEPLOY_YML.replace("handler: github-actions", "handler: jenkins"))
    wrong = (await opened(world)).text
    assert "The file has errors" in wrong
    assert "deploy.yml:19:14: envs[2].handler: 'jenkins' is not a handler" in wrong
    file.unlink()
    assert "cannot be read: No such file" in (await opened(world)).text
