"""Break-glass: some people skip the gates that a deployment waits for, and everybody sees it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox.faults import Fault
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.model import Message, User
from sandbox.slack.screen import render
from sandbox.slack.server import Slack
from tests.world import QUICK, World, live, until
from webhook.gates import GATES
from webhook.gates.contract import ALLOW, Deny, Gate, Snapshot, Verdict, Wait

DEPLOY_YML = """
slack: {{channel: "#deploys"}}
envs:
  - name: production
    handler: command
    with: {{run: ["true"]}}
    break_glass: [Octocat, acme/sre]
  - name: "slow*"
    handler: command
    with: {{run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{{payload.gate}}"]}}
    timeout: 2h
    break_glass: octocat
  - name: frozen
    handler: command
    with: {{run: ["true"]}}
    frozen_windows: [{{start: "0 0 * * *", duration: 25h}}]
    break_glass: octocat
  - name: filed
    handler: command
    with: {{run: ["true"]}}
    repository_file: tighten
    break_glass: octocat
  - name: staging
    handler: command
    with: {{run: ["true"]}}
slack_users: {{octocat: {ada}, hubot: {bob}}}
"""
ASKED_OFTEN = replace(QUICK, gates_asked_again_after=timedelta(seconds=0.2))


@dataclass
class Held:
    """Gates that wait, or refuse, as a test says."""

    verdicts: dict[str, Verdict] = field(
        default_factory=lambda: {
            "hatch": Wait(reason="The hatch is closed by mona", way_out="Ask mona"),
            "tide": Wait(reason="The tide is low"),
            "fog": ALLOW,
        }
    )

    def gates(self) -> dict[str, Gate]:
        return {**GATES, **{name: self._gate(name) for name in self.verdicts}}

    def _gate(self, name: str) -> Gate:
        def decide(snapshot: Snapshot) -> Verdict:
            return self.verdicts.get(name, ALLOW)

        return Gate(name=name, decide=decide)


@dataclass
class Scene:
    world: World
    held: Held
    ada: User
    bob: User

    @property
    def slack(self) -> Any:
        return self.world.slack

    async def waiting(self, environment: str = "production", **fields: Any) -> Deployment:
        deployment = await self.world.deploy(environment, **fields)
        await until(lambda: self.blockers(deployment.id) or None)
        return deployment

    def blockers(self, deployment_id: int) -> list[str]:
        rows = self.world.rows("select blockers from deployments where id = %s", deployment_id)
        return [one["gate"] for row in rows for one in row["blockers"]]

    async def typed(self, text: str, user: User) -> str:
        before = len(self._replies(user))
        assert not (await self.slack.command("/deploy", text, user)).error
        return await self._reply(user, before)

    async def override(self, deployment: Deployment, reason: str, user: User) -> str:
        """By the button and its form."""
        return await self.submit(await self.open(deployment, user), reason, user)

    async def submit(self, view: Any, reason: str, user: User) -> str:
        before = len(self._replies(user))
        await self.slack.submit(view, {"reason": reason}, user)
        return await self._reply(user, before)

    async def open(self, deployment: Deployment, user: User) -> Any:
        message = await until(lambda: self.offering(deployment))
        assert (await self.slack.press(message, "open_override", user)).status == 200
        return await until(lambda: self.form_of(user))

    def offering(self, deployment: Deployment) -> Message | None:
        for message in self.world.messages():
            if str(deployment.id) in str(message.blocks) and "[Override…]" in render(message):
                return message
        return None

    def form_of(self, user: User) -> Any:
        return next((v for v in self.slack.views.opened if v.user == user.id and v.open), None)

    async def _reply(self, user: User, before: int) -> str:
        found = await until(lambda: self._replies(user)[before:] or None)
        return str(found[0].text)

    def _replies(self, user: User) -> list[Any]:
        return [one for one in self.slack.ephemeral_messages if one.user == user.id]

    def acts(self) -> list[dict[str, Any]]:
        return self.world.rows("select * from audit where action = 'override' order by id")


@contextlib.asynccontextmanager
async def a_scene(store_url: str, folder: Path) -> AsyncIterator[Scene]:
    slack, held = Slack(scopes=("chat:write", "commands", "channels:history", "users:read")), Held()
    sandbox = Sandbox(slack=slack, interactive=True)
    sandbox.github.default_role = "none"
    for login in ("octocat", "hubot"):
        sandbox.github.add_collaborator(REPOSITORY, login, "write")
    ada, bob = slack.add_user("ada"), slack.add_user("bob")
    deploy_yml = DEPLOY_YML.format(ada=ada.id, bob=bob.id)
    async with live(
        store_url, folder, deploy_yml, sandbox=sandbox, gates=held.gates(), timing=ASKED_OFTEN
    ) as world:
        yield Scene(world, held, ada, bob)


async def test_whoever_may_breaks_the_glass_and_everybody_sees_it(
    store_url: str, tmp_path: Path
) -> None:
    async with a_scene(store_url, tmp_path) as scene:
        world = scene.world
        deployment = await scene.waiting()
        view = await scene.open(deployment, scene.ada)
        assert "hatch" in str(view.blocks)
        assert "The tide is low (no known end)" in str(view.blocks)
        await scene.slack.submit(view, {"reason": " "}, scene.ada)
        assert "Say why it cannot wait" in view.errors["reason"]

        reply = await scene.override(deployment, "the shop\nis down", scene.ada)
        said = "octocat overrides hatch, tide for 30 minutes: the shop is down"
        assert reply.startswith(said)
        await world.github.wait_for(deployment.id, "success", within=20)
        await world.idle()
        [announced] = [one for one in world.replies() if one.broadcast]
        assert f"🚨 {REPOSITORY} to production: {said}" in announced.text
        shown = render(announced)
        assert said in shown
        [main] = world.messages()
        assert "🚨 octocat overrode hatch, tide, " in render(main)
        assert ": the shop is down" in render(main)
        assert "The tide" not in shown.partition(said)[0]
        page = await world.page(deployment.id)
        assert said in page
        assert "<strong>octocat</strong> skipped hatch, tide" in page
        with pytest.raises(psycopg.errors.RaiseException, match="does not change"):
            await asyncio.to_thread(world.execute, "update overrides set expires_at = 'infinity'")
        assert scene.offering(deployment) is None
        [act] = scene.acts()
        assert (act["actor"], act["outcome"], act["source"]) == ("octocat", "done", "slack")
        assert (act["reason"], act["deployment_id"]) == ("the shop is down", deployment.id)
        assert act["details"]["gates"] == ["hatch", "tide"]
        assert act["details"]["sha"] == deployment.sha
        assert act["details"]["slack_user"] == f"{scene.ada.team_id}/{scene.ada.id}"


async def test_whoever_may_not_and_what_waits_for_nothing_get_an_answer_alone(
    store_url: str, tmp_path: Path
) -> None:
    async with a_scene(store_url, tmp_path) as scene:
        held = await scene.waiting("staging")
        assert scene.offering(held) is None
        command = f"override {REPOSITORY}"
        assert "Say why it cannot wait" in await scene.typed(f"{command} production", scene.ada)
        long = await scene.typed(f"{command} production {'x' * 5000}", scene.ada)
        assert "A reason has at most 500 characters, and this one has 5000" in long
        unknown = await scene.typed(f"{command} moon it is down", scene.ada)
        assert "'moon' is not in deploy.yml; known: production" in unknown
        nothing = await scene.typed(f"{command} production it is down", scene.ada)
        assert "create the deployment first, then override" in nothing
        nobody = await scene.typed(f"{command} staging it is down", scene.ada)
        assert "deploy.yml has no break_glass for it" in nobody
        waiting, github = await scene.waiting(), scene.world.github
        unclear = await scene.typed(f"{command} production it is down", scene.bob)
        assert "GitHub does not say whether hubot is in acme/sre" in unclear
        assert "Members: read" in unclear
        app = github.world.installation_of(github.repository(REPOSITORY))
        app.permissions["members"] = "read"
        may_not = await scene.typed(f"{command} production it is down", scene.bob)
        assert "hubot may not override the gates of production" in may_not
        assert "Octocat, acme/sre" in may_not
        assert scene.blockers(waiting.id) == ["hatch", "tide"]
        assert [one["outcome"] for one in scene.acts()] == [
            *("refused", "refused", "failed", "refused")
        ]
        scene.ada.deleted = True
        left = await scene.typed(f"{command} production it is down", scene.ada)
        assert left == "Your account in Slack is deactivated, so nothing was done"
        scene.ada.deleted = False
        assert not any(one.broadcast for one in scene.world.replies())

        view, before = await scene.open(waiting, scene.ada), scene.held.verdicts.copy()
        fog = Wait(reason="Fog")
        scene.held.verdicts.update(hatch=ALLOW, tide=ALLOW, fog=fog)
        unseen = await scene.submit(view, "it is down", scene.ada)
        assert f"Deployment {waiting.id} waits for something else now: fog" in unseen
        scene.held.verdicts.update(before)
        github.add_team("acme/sre", "hubot")
        may = await scene.typed(f"{command} production it is down", scene.bob)
        assert "hubot overrides hatch, tide for 30 minutes" in may


async def test_it_skips_what_was_named_for_half_an_hour_and_no_refusal(
    store_url: str, tmp_path: Path
) -> None:
    async with a_scene(store_url, tmp_path) as scene:
        world, gate = scene.world, tmp_path / "gate"
        running = await scene.waiting("slow", payload={"gate": str(gate)})
        await scene.typed(f"override {REPOSITORY} SLOW it is down", scene.ada)
        await world.phase(running.id, "in_progress")
        # The next one waits for that one, too, which nobody can override.
        late = await scene.waiting("slow", payload={"gate": str(gate)})
        assert set(scene.blockers(late.id)) == {"hatch", "tide", "serialization"}
        reply = await scene.typed(f"override {REPOSITORY} slow it is down", scene.ada)
        assert "octocat overrides hatch, tide" in reply
        await until(lambda: scene.blockers(late.id) == ["serialization"] or None)
        reply = await scene.typed(f"override {REPOSITORY} slow it is down", scene.ada)
        assert f"Waits for deployment {running.id}" in reply
        with world.clock.moved(timedelta(minutes=31)):
            gate.touch()
            await world.phase(running.id, "success")
            await until(lambda: scene.blockers(late.id) == ["hatch", "tide"] or None)
            await world.github.settled()
            assert world.github.states(late.id)[-1] == "queued"

        refused = await scene.waiting("slow", payload={"gate": str(gate)})
        scene.held.verdicts["tide"] = Deny(reason="mona said no")
        await scene.typed(f"override {REPOSITORY} slow it is down", scene.ada)
        status = await world.github.wait_for(refused.id, "error", within=20)
        assert status.description == "mona said no"


async def test_a_freeze_is_overridden(store_url: str, tmp_path: Path) -> None:
    async with a_scene(store_url, tmp_path) as scene:
        scene.held.verdicts.update(hatch=ALLOW, tide=ALLOW)
        deployment = await scene.waiting("frozen")
        reply = await scene.typed(f"override {REPOSITORY} frozen the fix", scene.ada)
        assert reply.startswith("octocat overrides freeze for 30 minutes: the fix")
        await scene.world.github.wait_for(deployment.id, "success", within=20)


async def test_a_file_that_github_does_not_show_can_be_overridden(
    store_url: str, tmp_path: Path
) -> None:
    async with a_scene(store_url, tmp_path) as scene:
        scene.held.verdicts.clear()
        scene.world.github.faults.add("GET /repos/*/contents/*", Fault.status(503), 1000)
        deployment = await scene.waiting("filed")
        reply = await scene.override(deployment, "GitHub is down", scene.ada)
        assert reply.startswith("octocat overrides repository_file for 30 minutes: GitHub is down")
        await scene.world.github.wait_for(deployment.id, "success", within=20)
