"""People lock an environment from Slack, and unlock it; what waited goes on by itself."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
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
        # Whoever may write to a repository that was deployed to lately may stop everything.
        world.past_deployment("locked/before", "success")
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


async def listed(relay: ActionWorld, command: str, user: Any) -> str:
    """The newest lock."""
    line = (await said(relay, command, user)).splitlines()[-1].removeprefix(":lock: ")
    return re.sub(r"since \d\d:\d\d UTC", "since TIME", line)


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
    for command, user in (
        ("status acme/site", relay.ada),
        ("locks acme/site", relay.rob),
        ("locks", relay.rob),
    ):
        assert await listed(relay, command, user) == (
            "locked/one of acme/site, locked by octocat since TIME (until TIME): database"
            " migration; lets rollbacks through. To end it: /deploy unlock acme/site locked/one"
        )

    refused = await said(relay, "unlock acme/site locked/one", relay.bob)
    assert "locked by octocat since" in refused
    assert "To end it anyway, which notifies octocat: /deploy unlock! acme/site lock" in refused
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


async def test_another_owner_takes_over_only_explicitly_and_the_first_is_notified(
    relay: ActionWorld,
) -> None:
    await said(relay, "lock acme/site locked/two first reason", relay.ada)
    # Once more by the same person only renews it.
    renewed = await said(relay, "lock acme/site locked/two for 3h better reason", relay.ada)
    assert "is locked (until TIME): better reason" in renewed
    refused = await said(relay, "lock acme/site locked/two mine", relay.bob)
    assert "locked/two of acme/site, locked by octocat since" in refused
    assert "better reason. To take it over anyway, which notifies octocat: " in refused
    assert refused.endswith("/deploy lock! acme/site locked/two reason…")
    taken = await said(relay, "lock! acme/site locked/two mine", relay.bob)
    assert "mine. octocat is notified that you took it over." in taken
    assert "and hubot is notified" in await said(relay, "unlock! acme/site locked/two", relay.ada)
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
        ("lock acme/site locked/x for", "'' is not a duration; write 30m, 2h, 1h30m or 3d"),
        ("lock acme/site locked/x for the why", 'a reason with "for" in it goes in quotation'),
        ("lock acme/site locked/x --for 3 fortnights why", "'3 fortnights' is not a duration; wr"),
        ("lock acme/site locked/x \N{EM DASH}reason why", "is no option; write [for 2h] [lets own"),
        ("lock acme/site locked/x why for never", "is for the command line of the relay (--for n"),
        ("Unlock acme/site \N{ASTERISK OPERATOR}", "All of acme/site has no lock of its own"),
        (
            "freeze acme/site locked/x",
            "'freeze' is not a repository; write owner/repo; /deploy help",
        ),
        ("lock acme/site locked/x for never why", "is for the command line of the relay (--for n"),
        ("lock acme/site locked/x for 400d why", "'400d' is out of bounds; a lock lasts 1m to 365"),
        ("lock acme/site locked/x lets everybody why", "lets owner or rollbacks through, not 'eve"),
        ("lock acme/site native why", "native of acme/site cannot be locked: its tools start by"),
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


async def test_a_reminder_mentions_the_owner_and_its_button_unlocks(relay: ActionWorld) -> None:
    await said(relay, "lock acme/site locked/three for 10h forgotten", relay.ada)
    waiting = await held(relay, "locked/three")
    for hours, minutes in ((3, 180), (8, 480)):
        with relay.world.clock.moved(timedelta(minutes=minutes + 1)):
            relay.world.bring_forward("task = 'remind_of_lock'")
            text = f"locked/three of acme/site has been locked for {hours}h1m by octocat"
            reminder = await until(partial(announced, relay, text))
        assert f"<@{relay.ada.id}>" in reminder.text
    assert "this needs write permission" in await pressed(relay, reminder, relay.rob)
    reply = await pressed(relay, reminder, relay.bob)
    assert reply == (
        "locked/three of acme/site is unlocked, and octocat is notified; what waited for that goes"
        " on"
    )
    await relay.github.wait_for(waiting.id, "success")
    assert "has ended: unlocked by hubot" in await pressed(relay, reminder, relay.ada)


def announced(relay: ActionWorld, text: str) -> Any:
    return next((one for one in relay.world.messages() if text in one.text), None)


async def pressed(relay: ActionWorld, message: Any, user: Any) -> str:
    before = len(relay.replies_to(user))
    await relay.slack.press(message, "unlock_lock", user)
    return (await relay.until_replies(user, before))[0].text


async def test_stop_holds_everything_until_go(relay: ActionWorld) -> None:
    earlier = await relay.world.deployed("stage/earlier")
    assert relay.github.states(earlier.id)[-1] == "success"
    stopped = await said(relay, "stop for 1h payment outage", relay.ada)
    assert stopped == (
        "Everything is locked (until TIME): payment outage. What runs already goes on. To end the"
        " lock: /deploy go. This does not hold native, whose tools start by themselves"
    )
    waiting = [await held(relay, name) for name in ("stage/a", "locked/four")]
    for one in waiting:
        assert description(relay, one) == (
            "Everything is stopped by octocat: payment outage (until TIME). octocat, or /deploy go"
        )
    own = await said(relay, "unlock acme/site stage/a", relay.ada)
    assert "stage/a of acme/site has no lock of its own. It is held by everything, locked by" in own
    assert own.endswith("payment outage: /deploy go")
    assert "To take it over anyway" in await said(relay, "stop again", relay.bob)
    # An admin of the relay may, who may not write to any repository.
    assert "/deploy go!" in await said(relay, "go", relay.rob)
    assert "does not know who you are on GitHub" in await said(relay, "go!", relay.eve)
    assert "Everything is unlocked, and octocat is notified" in await said(relay, "go!", relay.rob)
    for one in waiting:
        await relay.github.wait_for(one.id, "success")


async def test_who_may_lock_one_repository_may_not_stop_all_unless_it_was_deployed_to(
    relay: ActionWorld,
) -> None:
    relay.world.execute("delete from deployments")
    refused = await said(relay, "stop all of it", relay.ada)
    assert refused == (
        "octocat may not stop everything, or let it go on; that is for somebody who may write to a"
        " repository that was deployed to lately, or whom GITPLOY_ADMIN_USERS names"
    )
    assert not relay.world.rows("select 1 from locks where repo_id = 0 and ended_at is null")


async def test_a_rollback_offers_to_lock_and_is_let_through(relay: ActionWorld) -> None:
    site = relay.github.repository("acme/site")
    for message in ("One", "Two"):
        site.push(message)
        bad = await relay.world.deploy("locked/five")
        await relay.world.phase(bad.id, "success")
    await relay.press("rollback", bad.id, relay.ada)
    [offer] = relay.replies_to(relay.ada)[-1:]
    back = relay.created("locked/five")[-1]
    await relay.github.wait_for(back.id, "success")
    before = len(relay.replies_to(relay.ada))
    await relay.slack.press(offer, "lock_after_rollback", relay.ada)
    locked = (await relay.until_replies(relay.ada, before))[0].text
    assert "is locked (until " in locked
    assert "rolled back by octocat. It lets rollbacks through" in locked
    site.push("Three")
    waiting = await held(relay, "locked/five")
    proven = await relay.world.deploy("locked/five", ref=bad.sha, task="deploy")
    await relay.github.wait_for(proven.id, "success")
    pretended = await held(relay, "locked/five", task="deploy:rollback")
    assert "rolled back by octocat" in description(relay, pretended)
    assert relay.github.states(waiting.id)[-1] in ("queued", "inactive")
    await said(relay, "unlock acme/site locked/five", relay.ada)
    await relay.github.wait_for(pretended.id, "success")


async def test_the_owner_alone_passes_a_lock_that_lets_the_owner(relay: ActionWorld) -> None:
    await said(relay, "lock acme/site locked/six lets owner only me", relay.ada)
    await held(relay, "locked/six")
    mine = await relay.typed("acme/site locked/six", relay.ada)
    assert mine.text.startswith("Deploying")
    await relay.github.wait_for(relay.created("locked/six")[-1].id, "success")
    assert (await relay.typed("acme/site locked/six", relay.bob)).text.startswith("Deploying")
    theirs = relay.created("locked/six")[-1]
    await until(lambda: len(relay.github.statuses(theirs.id)) > 1 or None)
    assert description(relay, theirs).startswith("Locked by octocat: only me")


async def test_of_two_at_once_one_wins_and_an_expired_lock_is_nobodys(relay: ActionWorld) -> None:
    texts = await asyncio.gather(
        said(relay, "lock acme/site locked/seven hers", relay.ada),
        said(relay, "lock acme/site LOCKED/seven his", relay.bob),
    )
    assert len([one for one in texts if "is locked (until TIME)" in one]) == 1
    [refused] = [one for one in texts if "To take it over anyway" in one]
    [row] = relay.world.rows("select id, owner from locks where environment = 'locked/seven'")
    assert f"locked by {row['owner']} since" in refused
    second = relay.bob if row["owner"] == "octocat" else relay.ada
    relay.world.execute("update locks set expires_at = now() where id = %s", row["id"])
    assert "has no lock of its own" in await said(relay, "unlock acme/site locked/seven", relay.ada)
    taken = await said(relay, "lock acme/site locked/seven mine now", second)
    assert "is locked (until TIME): mine now. What runs" in taken


async def test_who_has_left_slack_locks_nothing(relay: ActionWorld) -> None:
    relay.bob.deleted = True
    for text in ("lock acme/site locked/x why", "stop why", "go", "unlock! acme/site production"):
        reply = await relay.typed(text, relay.bob)
        assert reply.text == "Your account in Slack is deactivated, so nothing was done"
    relay.bob.deleted = False
