"""The same person in Slack and on GitHub: nobody is mistaken for another."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.model import User
from sandbox.slack.server import Slack
from tests.slack.actions.action_world import SCOPES
from webhook import startup
from webhook.errors import RetryAt, UnknownOutcome
from webhook.github.tokens import Scope
from webhook.slack.actions import ACTIONS
from webhook.slack.actions.services import ActionServices
from webhook.slack.identity import known_as, login_of, mention_of, shows_emails
from webhook.worker import open_services

DEPLOY_YML = """
envs:
  - {name: production, handler: command, with: {run: ["true"]}}
slack_users: {Octocat: U0MAPPED, hubot: [T0ELSEWHERE/U0HUBOT, T0SANDBOX/U0HERE]}
"""


@dataclass
class Known:
    services: ActionServices
    sandbox: Sandbox
    scope: Scope

    @property
    def slack(self) -> Slack:
        return self.sandbox.slack

    async def login(self, user: str) -> str:
        return await login_of(self.services.people, self.scope, self.slack.workspace.id, user)

    async def mention(self, login: str) -> str:
        assert self.services.slack
        slack = await self.services.slack.of(self.slack.workspace.id)
        return await mention_of(
            self.services.people, slack, self.slack.workspace.id, login, self.scope
        )

    def both(self, name: str, email: str | None = None, *, confirmed: bool = True) -> User:
        """A person with the same address in Slack and on GitHub."""
        address = email or f"{name}@acme.test"
        self.sandbox.github.add_user(f"{name}-gh", email=address)
        return self.slack.add_user(name, address, confirmed)

    def calls(self, path: str) -> int:
        return len(self.sandbox.github.called("GET", path)) + len(self.slack.called("GET", path))


@pytest.fixture
async def known(
    store_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Known]:
    config = tmp_path / "deploy.yml"
    config.write_text(DEPLOY_YML)
    scopes = getattr(request, "param", SCOPES)
    async with Sandbox(slack=Slack(scopes=scopes), interactive=True) as sandbox:
        setup = startup.set_up(sandbox.environ(tmp_path, config, 1))
        repository = sandbox.github.repository(REPOSITORY)
        scope = Scope(sandbox.installation.id, REPOSITORY, repository.id)
        async with open_services(setup, store_url, actions=ACTIONS) as services:
            yield Known(services, sandbox, scope)


async def test_the_map_of_deploy_yml_comes_first(known: Known) -> None:
    assert await known.login("U0MAPPED") == "octocat"
    assert await known.login("U0HERE") == "hubot"
    assert await known.login("T0ELSEWHERE/U0HUBOT") == "hubot"
    # The same id in a workspace that the map does not mean.
    assert await known.login("T0OTHER/U0MAPPED") == ""
    assert await known.login("U0HUBOT") == ""
    assert await known.mention("OCTOCAT") == "<@U0MAPPED>"
    assert await known.mention("hubot") == "<@U0HERE>"
    assert await known.mention("monalisa") == ""
    assert await known.mention("") == ""


async def test_a_member_by_another_workspace_of_the_organization_is_one_person(
    known: Known,
) -> None:
    people, team = known.services.people, known.slack.workspace.id
    ada = known.both("ada")
    mapped = known.slack.add_user("hubot")
    mapped.id, mapped.home = "U0HUBOT", "T0ELSEWHERE"
    known.slack.workspace.users["U0HUBOT"] = mapped
    ada.home = "T0HOME"
    assert await known_as(people, team, f"T0HOME/{ada.id}") == ada.id
    assert await known.login(ada.id) == "ada-gh"
    # Also where deploy.yml names their own workspace.
    assert await known_as(people, team, "T0ELSEWHERE/U0HUBOT") == "U0HUBOT"
    assert await known.login("U0HUBOT") == "hubot"
    # Somebody else's workspace may have another person with that ID.
    for stranger in (f"T0OTHER/{ada.id}", "T0OTHER/U0NOBODY"):
        assert await known_as(people, team, stranger) == stranger


async def test_an_address_that_both_have_verified_identifies_the_person(known: Known) -> None:
    ada = known.both("ada")
    assert await known.login(ada.id) == "ada-gh"
    assert await known.mention("ada-gh") == f"<@{ada.id}>"
    team = known.slack.workspace.id
    assert await shows_emails(known.services.people, team, ada.id)
    assert not await shows_emails(known.services.people, team, f"T0OTHER/{ada.id}")
    searched, looked = known.calls("/search/users"), known.calls("/users.lookupByEmail")
    assert await known.login(ada.id) == "ada-gh"
    assert await known.mention("Ada-GH") == f"<@{ada.id}>"
    assert known.calls("/search/users") == searched == 1
    assert known.calls("/users.lookupByEmail") == looked == 1


async def test_an_address_that_proves_nothing_is_nobodys(known: Known) -> None:
    unconfirmed = known.both("eve", confirmed=False)
    gone, robot = known.both("gone"), known.both("robot")
    gone.deleted = robot.is_bot = True
    several = known.both("twin", "twins@acme.test")
    known.sandbox.github.add_user("twin-two", email="twins@acme.test")
    longer = known.slack.add_user("part", "a@acme.test")  # a part of ada's
    known.sandbox.github.add_user("whole", email="aa@acme.test")
    none = known.slack.add_user("none")
    unproved = known.both("unproved")
    profile = {"id": unproved.id, "team_id": unproved.team_id, "profile": {"email": unproved.email}}
    known.slack.faults.add(
        "GET /users.info", Fault(status_code=200, body={"ok": True, "user": profile})
    )
    assert await known.login(unproved.id) == ""  # only what Slack confirms is
    for user in (unconfirmed, gone, robot, several, longer, none):
        assert await known.login(user.id) == "", user.name
    stranger = known.slack.add_workspace("Other").add_user("stranger", "ada@acme.test")
    assert await known.login(f"{stranger.team_id}/{stranger.id}") == ""
    assert await known.login("U0NOBODY") == ""
    assert await known.mention("gone-gh") == ""
    assert await known.mention("robot-gh") == ""


async def test_a_failed_lookup_is_repeated(known: Known) -> None:
    ada = known.both("ada")
    known.slack.faults.add("GET /users.info", Fault.rate_limited(1))
    known.sandbox.github.faults.add("GET /search/users", Fault.status(502))
    with pytest.raises(RetryAt):
        await known.login(ada.id)
    with pytest.raises(UnknownOutcome):
        await known.login(ada.id)
    assert await known.login(ada.id) == "ada-gh"
    known.slack.faults.add("GET /users.lookupByEmail", Fault.status(502))
    assert await known.mention("ada-gh") == ""
    assert await known.mention("ada-gh") == ""  # no call is made again at once
    del known.services.people.caches.unknown_mentions[known.slack.workspace.id, "ada-gh"]
    assert await known.mention("ada-gh") == f"<@{ada.id}>"


@pytest.mark.parametrize("known", [("chat:write",)], indirect=True, ids=["chat:write only"])
async def test_without_the_scopes_only_the_map_identifies_people(known: Known) -> None:
    ada = known.both("ada")
    assert await known.login(ada.id) == ""
    assert await known.mention("ada-gh") == ""
    assert await known.login("U0MAPPED") == "octocat"
    assert not await shows_emails(known.services.people, known.slack.workspace.id, ada.id)
    assert not known.calls("/users.info")
