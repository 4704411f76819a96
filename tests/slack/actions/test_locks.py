"""People lock an environment from Slack, and unlock it; what waited goes on by itself."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandbox.github.model import Deployment
from tests.slack.actions.action_world import ActionWorld, action_world
from tests.world import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENVIRONMENTS = """
  - {name: "locked*", handler: command, with: {run: ["true"]}}
  - name: native
    handler: github-actions
    with: {mode: watch}
"""
TIME = re.compile(r"until (?:\w{3} \d\d \w{3} )?\d\d:\d\d UTC")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    folder = tmp_path_factory.mktemp("locks")
    admins = {"GITPLOY_ADMIN_USERS": "Reader, octo-admin"}
    async with action_world(postgres, folder, environments=ENVIRONMENTS, environ=admins) as world:
        yield world


async def held(relay: ActionWorld, environment: str, **fields: Any) -> Deployment:
    """A deployment that waits, with its second status on GitHub."""
    deployment: Deployment = await relay.world.deploy(environment, **fields)
    await relay.github.wait_for(deployment.id, "queued")
    await until(lambda: len(relay.github.statuses(deployment.id)) > 1 or None)
    return deployment


def description(relay: ActionWorld, deployment: Deployment) -> str:
    return TIME.sub("until TIME", relay.github.statuses(deployment.id)[-1].description)


def announcements(relay: ActionWorld) -> list[dict[str, Any]]:
    rows = relay.world.rows("select document from announcements order by id")
    return [row["document"] for row in rows]


async def said(relay: ActionWorld, text: str, user: Any) -> str:
    return TIME.sub("until TIME", (await relay.typed(text, user)).text)


async def test_a_lock_holds_until_its_owner_unlocks_and_the_newest_goes_on(
    relay: ActionWorld,
) -> None:
    assert await said(
        relay, "lock acme/site Locked/one for 2h lets rollbacks database migration", relay.ada
    ) == (
        "locked/one of acme/site is locked (until TIME): database migration. It lets rollbacks"
        " through. What runs already goes on. To end the lock: /deploy unlock acme/site locked/one"
    )
    first = await held(relay, "locked/one", ref="v1")
    second = await held(relay, "LOCKED/one", ref="v2")
    for one in (first, second):
        assert relay.github.states(one.id) == ["queued", "queued"]
        assert description(relay, one) == (
            "Locked by octocat: database migration (until TIME). octocat, or /deploy unlock"
            " acme/site locked/one"
        )
    listed = (
        "locked/one of acme/site, locked by octocat since TIME (until TIME): database migration;"
        " lets rollbacks through. To end it: /deploy unlock acme/site locked/one"
    )
    since = re.compile(r"since \d\d:\d\d UTC")
    for command, user in (
        ("status acme/site", relay.ada),
        ("locks acme/site", relay.rob),
        ("locks", relay.rob),
    ):
        lines = since.sub("since TIME", await said(relay, command, user)).splitlines()
        assert lines[-1].removeprefix(":lock: ") == listed

    refused = await said(relay, "unlock acme/site locked/one", relay.bob)
    assert "locked by octocat since" in refused
    assert (
        "It is not yours; all the same, and octocat hears of it: /deploy unlock! acme/" in refused
    )
    for user, why in (
        (relay.rob, "this needs write permission on GitHub"),
        (relay.eve, "does not know who you are on GitHub"),
    ):
        assert why in await said(relay, "unlock acme/site locked/one", user)
    assert relay.github.states(second.id) == ["queued", "queued"]

    done = await said(relay, "unlock acme/site LOCKED/one", relay.ada)
    assert done == "locked/one of acme/site is unlocked; what waited for that goes on"
    await relay.github.wait_for(second.id, "success")
    await relay.github.wait_for(first.id, "inactive")
    assert relay.github.states(second.id) == ["queued", "queued", "in_progress", "success"]
    [row] = relay.world.rows("select * from locks where environment = 'locked/one'")
    assert (row["ended_how"], row["ended_by"], row["lets"]) == (
        "unlocked",
        "octocat",
        ["rollbacks"],
    )
    assert not announcements(relay)


async def test_another_owner_takes_over_only_explicitly_and_the_first_hears_of_it(
    relay: ActionWorld,
) -> None:
    await said(relay, "lock acme/site locked/two first reason", relay.ada)
    # Once more by the same person only renews it.
    renewed = await said(relay, "lock acme/site locked/two for 3h better reason", relay.ada)
    assert "is locked (until TIME): better reason" in renewed
    refused = await said(relay, "lock acme/site locked/two mine", relay.bob)
    assert "locked/two of acme/site, locked by octocat since" in refused
    assert "better reason. It is not yours" in refused
    assert refused.endswith("/deploy lock! acme/site locked/two reason…")
    taken = await said(relay, "lock! acme/site locked/two mine", relay.bob)
    assert "mine. octocat hears that it was taken over." in taken
    assert "which hubot hears of" in await said(relay, "unlock! acme/site locked/two", relay.ada)
    assert [
        (one["mentions"], TIME.sub("until TIME", one["text"])) for one in announcements(relay)
    ] == [
        (
            ["octocat"],
            "hubot has taken over locked/two of acme/site, which octocat had locked"
            " (until TIME): better reason. It is locked until TIME now: mine",
        ),
        (
            ["hubot"],
            "octocat has unlocked locked/two of acme/site, which hubot had locked"
            " (until TIME): mine",
        ),
    ]
    ended = relay.world.rows(
        "select owner, ended_how from locks where environment = 'locked/two' order by id"
    )
    assert [tuple(row.values()) for row in ended] == [
        ("octocat", "replaced"),
        ("octocat", "taken over"),
        ("hubot", "unlocked"),
    ]
    acts = relay.world.rows(
        "select actor, action, reason from audit where environment = 'locked/two'"
        " and outcome = 'done' order by id"
    )
    assert [(row["actor"], row["reason"]) for row in acts] == [
        ("octocat", "first reason"),
        ("octocat", "better reason"),
        ("hubot", "mine"),
        ("octocat", "mine"),
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("lock acme/site mars why", "'mars' is not in deploy.yml; known: production, broken*"),
        ("lock acme/site mars* why", "No environment in deploy.yml matches 'mars*'; known: "),
        ("lock acme/site locked/x", "A lock needs a reason"),
        ("lock acme/site", "Name a repository and an environment: `/deploy lock owner/repo env"),
        ("lock acme locked/x why", "'acme' is not a repository; write owner/repo"),
        ("lock acme/site locked/x " + "x" * 5000, "A reason has at most 500 characters, and"),
        ("lock acme/site locked/x for 3 fortnights why", "'3 fortnights' is not a duration; wr"),
        ("lock acme/site locked/x why for 3 fortnights", "'3 fortnights' is not a duration; wr"),
        ("lock acme/site locked/x for the why", 'a reason that begins with "for" goes in quot'),
        ("lock acme/site locked/x for never why", "is for the command line of the relay (--for n"),
        ("lock acme/site locked/x for 400d why", "'400d' is out of bounds; a lock lasts 1m to 365"),
        ("lock acme/site locked/x lets everybody why", "lets owner or rollbacks through, not 'eve"),
        ("lock acme/site native why", "native cannot be locked: its tool starts by itself, past"),
        ("unlock acme/site locked/x", "locked/x of acme/site has no lock of its own"),
        ("unlock acme/site locked/x or y", "Name one environment, no more"),
        ("lock acme/other locked/x why", "Either the App is not installed in acme/other"),
        ("locks acme/site production", "Name one repository, no more"),
        ("go now", "`/deploy go` stands alone; it ends the stop of everything"),
        ("go", "Nobody has stopped everything; /deploy locks lists what is locked"),
        ("stop", "A lock needs a reason"),
    ],
)
async def test_what_cannot_be_done_is_explained(relay: ActionWorld, text: str, answer: str) -> None:
    assert answer in (await relay.typed(text, relay.ada)).text
    assert not relay.world.rows("select 1 from locks where environment = 'locked/x'")
