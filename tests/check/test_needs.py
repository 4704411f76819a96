"""What the App needs is what deploy.yml uses: no less, and no more."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import pytest
from click.testing import CliRunner

from handlers import HANDLERS
from handlers.contract import Options
from sandbox.demo import demo
from sandbox.demo.playground import Playground
from sandbox.demo.tools import SECRETS, Tools
from sandbox.sandbox import Sandbox
from tests.github.github_app import on_github
from webhook.__main__ import main
from webhook.check.github import check_github
from webhook.check.needs import NEEDS, Need, events_of, needs_of, of_tool, permissions_of
from webhook.check.run import check
from webhook.config.environments import Config
from webhook.config.load import load
from webhook.gates import GATES
from webhook.github import events
from webhook.notifiers import DESTINATIONS

BASE = {"deployments": "write", "metadata": "read"}
COMMAND = "handler: command, with: {run: [x]}"


def config(text: str, **environ: str) -> Config:
    return load(
        text,
        source="deploy.yml",
        environ=environ,
        handler_options={name: handler.Options for name, handler in HANDLERS.items()},
        notifiers=DESTINATIONS,
        gates=tuple(GATES.values()),
    )


@pytest.mark.parametrize(
    ("keys", "permissions", "events"),
    [
        (COMMAND, {}, []),
        (f"{COMMAND}, slack: {{channel: '#x'}}", {"contents": "read"}, []),
        (f"{COMMAND}, auto_deploy_on: main", {"contents": "read"}, ["push"]),
        (
            f"{COMMAND}, auto_deploy_on: main, required_contexts: [ci]",
            {"contents": "read", "checks": "read", "statuses": "read"},
            ["check_run", "check_suite", "push", "status"],
        ),
        (f"{COMMAND}, required_contexts: [ci]", {}, []),
        (
            f"{COMMAND}, repository_file: tighten",
            {"contents": "read", "checks": "write", "pull_requests": "read", "statuses": "read"},
            ["check_run", "check_suite", "pull_request", "push", "status"],
        ),
        (
            "handler: github-actions, protection_rule: true",
            {"actions": "read"},
            ["deployment_protection_rule", "workflow_job", "workflow_run"],
        ),
        (
            f"{COMMAND}, protection_rule: true",
            {"actions": "read"},
            ["deployment_protection_rule", "workflow_run"],
        ),
        (f"{COMMAND}, break_glass: [octocat, acme/sre]", {"members": "read"}, []),
        ("handler: github-actions", {"actions": "read"}, ["workflow_job", "workflow_run"]),
        (
            "handler: github-actions, with: {mode: dispatch, workflow: deploy.yml}",
            {"actions": "write"},
            ["workflow_job", "workflow_run"],
        ),
    ],
)
def test_each_key_needs_its_own(keys: str, permissions: dict[str, str], events: list[str]) -> None:
    needs = needs_of(config(f"envs: [{{name: a, {keys}}}]").envs)
    assert permissions_of(needs) == BASE | permissions
    assert events_of(needs) == sorted([*events, "deployment", "deployment_status"])


async def test_an_app_with_exactly_that_is_right_and_each_thing_less_is_reported() -> None:
    keys = (
        "slack: {channel: '#x'}, auto_deploy_on: /main$, required_contexts: [ci],"
        " repository_file: tighten, protection_rule: true"
    )
    used = config(f"envs: [{{name: a, {COMMAND}, {keys}}}]")
    needs = needs_of(used.envs)
    async with on_github() as world:
        app, owner = world.there.app, world.installation

        async def found() -> list[str]:
            every = await check_github(world.github, used)
            return [one.message for one in every if one.level != "ok"]

        async def reported(need: Need) -> bool:
            """What is an error already says enough for notes."""
            messages = await found()
            return any(need.without in one for one in messages) or (
                need.level == "note" and any("without that" in one for one in messages)
            )

        app.permissions.clear()
        app.permissions.update(permissions_of(needs))
        owner.permissions.clear()
        owner.permissions.update(app.permissions)
        app.events[:] = events_of(needs)
        assert await found() == []
        for need in needs:
            for event in need.events:
                app.events.remove(event)
                assert await reported(need)
                app.events.append(event)
            for name in need.permissions:
                level = app.permissions.pop(name)
                assert await reported(need)
                app.permissions[name] = level
        owner.permissions["contents"] = "none"
        [message] = await found()
        page = f"{world.there.url}/settings/installations/{owner.id}"
    assert message == (
        f"has not accepted contents: read; its owner accepts it at {page}; until then, a"
        " repository's own deploy.yml cannot be read, so that nothing starts; no push is deployed"
    )


def test_what_explain_alone_shows_is_neither_asked_for_nor_superfluous() -> None:
    used = config(f"envs: [{{name: a, {COMMAND}, required_contexts: [ci]}}]").envs
    assert permissions_of(needs_of(used)) == BASE
    known = permissions_of(needs_of(used, optional=True))
    assert known == BASE | {"contents": "read", "checks": "read", "statuses": "read"}


def test_what_the_relay_asks_for_it_understands() -> None:
    modes = ({"mode": "watch"}, {"mode": "dispatch", "workflow": "deploy.yml"})
    actions = HANDLERS["github-actions"].Options
    of_actions = [need for mode in modes for need in of_tool(actions.model_validate(mode))]
    assert {*events_of([*NEEDS, *of_actions])} <= {*events.SHAPES}
    # Another handler with needs of its own has to be on the page, too.
    own = [
        name for name, one in HANDLERS.items() if one.Options.permissions is not Options.permissions
    ]
    assert own == ["github-actions"]


@pytest.mark.parametrize(("every_tool", "keep"), [(False, False), (True, False), (False, True)])
async def test_the_demo_asks_for_what_it_uses(every_tool: bool, keep: bool) -> None:
    github = demo.an_app(every_tool=every_tool)
    async with Sandbox(github) as sandbox, Tools(sandbox, demo.TOOLS) as tools:
        people = [sandbox.slack.add_user("octocat")]
        playground = Playground(sandbox) if keep else None
        text = demo.deploy_yml(Path("y"), "http://z", people, playground)
        used = config(text + (tools.deploy_yml() if every_tool else ""), **SECRETS)
    needs = needs_of(used.envs)
    assert github.app.permissions == permissions_of(needs)
    assert sorted(github.app.events) == events_of(needs)


async def test_what_is_missing_and_what_is_superfluous_is_named(
    tmp_path: Path, store_url: str
) -> None:
    file = tmp_path / "deploy.yml"
    file.write_text(
        "envs:\n"
        f"- {{name: a, {COMMAND}, auto_deploy_on: main, required_contexts: [ci]}}\n"
        f"- {{name: b, {COMMAND}, repository_file: tighten}}\n"
    )
    async with Sandbox() as sandbox:
        environ = sandbox.environ(tmp_path / "data", file, 8080)
        environ |= {"GITPLOY_STORE_SOURCE": store_url}
        app = sandbox.github.app
        app.permissions |= {"checks": "read", "issues": "write", "contents": "write"}
        app.events[:] = ["deployment", "deployment_status", "workflow_run", "status"]
        lines: list[str] = []
        assert not await check(environ, lines.append)
    page = f"{sandbox.github.url}/apps/gitploy-relay: Permissions & events"
    shown = [click.unstyle(line) for line in lines]
    for line in (
        f"error events: subscribe to push at {page}; without that, no push is deployed",
        f"error permissions: give statuses: read at {page}; without that, nobody knows whether the"
        " checks have succeeded, so that nothing is deployed",
        "note  permissions: without checks: write and pull_requests: read and the event"
        " pull_request, pull requests get no check of their deploy.yml; give it and subscribe"
        f" at {page}",
        "note  permissions: the App may also write actions, write contents (read is enough),"
        f" write issues, which nothing in deploy.yml uses; take it away at {page}",
        f"note  events: GitHub also sends workflow_run, which nothing in deploy.yml uses;"
        f" unsubscribe at {page}",
    ):
        assert line in shown


def test_the_manifest_has_what_deploy_yml_uses(tmp_path: Path) -> None:
    file = tmp_path / "deploy.yml"
    file.write_text(f"envs: [{{name: a, {COMMAND}, auto_deploy_on: main}}]")
    environ = {
        "GITPLOY_SERVER_HOST": "relay.acme.io",
        "GITPLOY_CONFIG": str(file),
        "GITPLOY_GITHUB_BASE_URL": "https://git.acme.io/api/v3",
    }
    command = ["github", "manifest", "--organization", "acme"]
    result = CliRunner().invoke(main, command, env=environ, catch_exceptions=False)
    text, _, link = result.output.strip().rpartition("\n\n")
    manifest = json.loads(text)
    assert manifest["default_permissions"] == BASE | {"contents": "read"}
    assert manifest["default_events"] == ["deployment", "deployment_status", "push"]
    assert manifest["hook_attributes"]["url"] == "https://relay.acme.io/webhook"
    page, query = urlsplit(link), parse_qs(urlsplit(link).query)
    assert (page.netloc, page.path) == ("git.acme.io", "/organizations/acme/settings/apps/new")
    assert query["events[]"] == manifest["default_events"]
    assert (query["contents"], query["public"]) == (["read"], ["false"])
    assert query["webhook_url"] == ["https://relay.acme.io/webhook"]
