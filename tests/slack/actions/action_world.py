"""What the tests of actions share: one relay for a module, in which some people
know each other, and buttons that may be older than what happened since."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.model import EphemeralMessage, Message, User
from sandbox.slack.server import Slack
from tests.conftest import in_database
from tests.world import World, live, until
from webhook.slack.actions import ACTIONS, Actions

SCOPES = ("chat:write", "channels:history", "commands", "users:read", "users:read.email")
CREATE = "POST /repos/acme/site/deployments"
ENVIRONMENTS = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    serialization: false
    with: {run: ["true"]}
  - name: "broken*"
    handler: command
    serialization: false
    with: {run: ["false"]}
  - name: "slow*"
    handler: command
    serialization: false
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
  - name: "workflow*"
    handler: github-actions
    serialization: false
    with: {mode: dispatch, workflow: deploy.yml, inputs: {sha: "{sha}"}}
  - name: "stage*"
    handler: command
    serialization: false
    with: {run: ["true"]}
"""
_numbers = itertools.count()


@dataclass
class ActionWorld:
    """`ada` is octocat, `bob` hubot, both by deploy.yml; `rob` may only read; `eve` is nobody."""

    world: World
    ada: User
    bob: User
    rob: User
    eve: User
    _shas: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def slack(self) -> Slack:
        return self.world.sandbox.slack

    @property
    def github(self) -> Any:
        return self.world.github

    def sha(self) -> str:
        """A new one."""
        return f"{next(self._shas):040x}"

    def past_deployment(self, environment: str, phase: str = "failure", **columns: Any) -> int:
        """The id of a deployment that ended so some time ago."""
        repository = self.github.repository(columns.get("repo", REPOSITORY))
        values = {
            "id": self.github.world.id(),
            "repo": REPOSITORY,
            "repo_id": repository.id,
            "repo_url": f"https://github.test/{REPOSITORY}",
            "installation_id": self.github.world.installation_of(repository).id,
            "environment": environment,
            "ref": "main",
            "sha": self.sha(),
            "task": "deploy",
            "payload": "{}",
            "description": "",
            "creator": "octocat",
            "production": False,
            "production_on_github": False,
            "transient": False,
            "created_at": datetime.now(UTC),
            "requested_at": datetime.now(UTC),
            "phase": phase,
            "ended_at": datetime.now(UTC) if phase in ("failure", "error", "success") else None,
            **columns,
        }
        names, placeholders = ", ".join(values), ", ".join("%s" for _ in values)
        insert = f"insert into deployments ({names}) values ({placeholders}) returning id"
        return int(self.world.rows(insert, *values.values())[0]["id"])

    def button(self, action: str, value: int | str) -> Message:
        """An earlier message with that button, whether or not the action is still offered."""
        text = {"type": "plain_text", "text": action}
        element = {"type": "button", "action_id": action, "value": str(value), "text": text}
        blocks = [{"type": "actions", "elements": [element]}]
        workspace = self.slack.workspace
        message = Message(self.slack.clock.ts(), workspace.bot.user, action, blocks)
        return workspace.publish(workspace.channel("deploys"), message)

    async def press(self, action: str, value: int | str, user: User, *, times: int = 1) -> str:
        """The reply to that user."""
        before = len(self.replies_to(user))
        response = await self.slack.press(self.button(action, value), action, user, times=times)
        assert {one.status for one in (response, *response.duplicates)} == {200}
        return (await self.until_replies(user, before, times))[-1].text

    async def typed(self, text: str, user: User) -> EphemeralMessage:
        before = len(self.replies_to(user))
        assert not (await self.slack.command("/deploy", text, user)).error
        return (await self.until_replies(user, before))[0]

    def replies_to(self, user: User) -> list[EphemeralMessage]:
        return [message for message in self.slack.ephemeral_messages if message.user == user.id]

    async def until_replies(
        self, user: User, before: int, count: int = 1
    ) -> list[EphemeralMessage]:
        """All replies to that user after so many."""

        def read() -> list[EphemeralMessage] | None:
            found = self.replies_to(user)[before:]
            return found if len(found) >= count else None

        found: list[EphemeralMessage] = await until(read, within=40)
        return found

    def created(self, environment: str) -> list[Deployment]:
        """By the App."""
        every: Sequence[Deployment] = list(self.github.deployments.values())
        return [d for d in every if d.environment == environment and d.by_app]

    def action(self, deployment_id: int | None = None) -> dict[str, Any]:
        """The newest row, of that deployment if one is given."""
        return self.world.rows(
            "select actions.*, (select lookups from outbox where action_id = actions.id) as lookups"
            " from actions where %s::bigint is null or deployment_id = %s"
            " order by id desc limit 1",
            deployment_id,
            deployment_id,
        )[0]

    async def until_action(
        self, of: Callable[[dict[str, Any]], bool], deployment_id: int | None = None
    ) -> dict[str, Any]:
        def read() -> dict[str, Any] | None:
            row = self.action(deployment_id)
            return row if of(row) else None

        row: dict[str, Any] = await until(read, within=40)
        return row

    async def until_none_waits(self, deployment_id: int) -> None:
        waiting = "select 1 from actions where deployment_id = %s and reply is not null limit 1"
        await until(lambda: not self.world.rows(waiting, deployment_id) or None, within=40)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    async with action_world(postgres, tmp_path_factory.mktemp("actions")) as world:
        yield world


@contextlib.asynccontextmanager
async def action_world(
    postgres: str,
    folder: Path,
    actions: Actions = ACTIONS,
    *,
    environments: str = "",
    environ: dict[str, str] | None = None,
) -> AsyncIterator[ActionWorld]:
    name = f"actions_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template template")
        sandbox, ada, bob, rob, eve = _people()
        deploy_yml = f"{ENVIRONMENTS}{environments}slack_users:\n"
        deploy_yml += (
            f"  Octocat: {ada.id}\n  hubot: [{bob.team_id}/{bob.id}]\n  reader: {rob.id}\n"
        )
        url = in_database(postgres, name)
        async with live(
            url, folder, deploy_yml, sandbox=sandbox, actions=actions, environ=environ
        ) as world:
            yield ActionWorld(world, ada, bob, rob, eve)
        await asyncio.to_thread(connection.execute, f"drop database {name} with (force)")


def _people() -> tuple[Sandbox, User, User, User, User]:
    slack = Slack(scopes=SCOPES)
    sandbox = Sandbox(slack=slack, interactive=True)
    sandbox.github.default_role = "none"
    for login, role in (("octocat", "write"), ("hubot", "admin"), ("reader", "triage")):
        sandbox.github.add_collaborator(REPOSITORY, login, role)
    ada, bob, rob = (slack.add_user(name) for name in ("ada", "bob", "rob"))
    return sandbox, ada, bob, rob, slack.add_user("eve", "eve@acme.test")
