"""What one environment has is promoted to the next: by the button of its success, or by name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandbox.github.model import Deployment
from sandbox.slack.model import Message, User
from sandbox.slack.screen import render
from tests.slack.actions.action_world import ActionWorld, action_world
from tests.slack.actions.test_commands import page_of
from tests.world import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = 'handler: command, with: {run: ["true"]}'
ENVIRONMENTS = f"""
  - {{name: qa, {RUN}}}
  - {{name: shop, after: qa, production_environment: true, task: deploy:eu, {RUN}}}
  - {{name: mirror, after: qa, {RUN}}}
  - {{name: pre, {RUN}}}
  - {{name: next, after: pre, promote: auto, required_contexts: [unit], {RUN}}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    folder = tmp_path_factory.mktemp("promotions")
    async with action_world(postgres, folder, environments=ENVIRONMENTS) as world:
        yield world


async def deployed(relay: ActionWorld, environment: str, ref: str) -> Deployment:
    deployment = await relay.world.deploy(environment, ref=ref)
    await relay.world.phase(deployment.id, "success")
    return deployment


async def message_of(relay: ActionWorld, deployment: Deployment, offered: str = "") -> Message:
    """Its message in the channel, once it has that button for a promotion, or none."""

    def found() -> Message | None:
        page = f"/{deployment.id}?key"
        for message in relay.world.messages():
            if page in str(message.blocks):
                labels = [one for one in _labels(message) if one.startswith("Promote")]
                return message if labels == ([offered] if offered else []) else None
        return None

    message: Message = await until(found)
    return message


def _labels(message: Message) -> list[str]:
    elements = [one for block in message.blocks for one in block.get("elements", ())]
    return [one["text"]["text"] for one in elements if one["type"] == "button"]


async def press(relay: ActionWorld, message: Message, user: User) -> str:
    before = len(relay.replies_to(user))
    await relay.slack.press(message, "promote", user)
    return (await relay.until_replies(user, before))[-1].text


async def confirmed(relay: ActionWorld, question: Any, user: User) -> dict[str, Any]:
    last = relay.action()["id"]
    await relay.slack.press(question, "promote_to", user)
    return await relay.until_action(lambda row: row["id"] > last and row["reply"] is None)


async def test_a_success_is_promoted_once_to_each_environment_that_comes_after(
    relay: ActionWorld,
) -> None:
    site = relay.github.repository("acme/site")
    old, sha = site.push("Old", ref="p1"), site.push("New", ref="p1")
    await deployed(relay, "qa", old)
    there = await deployed(relay, "shop", old)
    source = await deployed(relay, "qa", "p1")
    message = await message_of(relay, source, "Promote to shop")
    button = relay.slack.button(message, "promote")
    assert button["confirm"]["text"]["text"] == (
        f"Deploy p1 @ {sha[:7]} of acme/site to shop (production)? It has {old[:7]}."
        " Deploys 1 commit."
    )

    assert "this needs write permission" in await press(relay, message, relay.rob)
    replies = await asyncio.gather(*(press(relay, message, one) for one in (relay.ada, relay.bob)))
    [new] = relay.created("shop")
    assert (new.sha, new.task, new.production) == (sha, "deploy:eu", True)
    assert [text for text in replies if f"Promoting p1 @ {sha[:7]} of acme/site to shop" in text]
    assert [text for text in replies if "requested that already" in text]
    # The next one is offered now; what an old message asks is not done any more.
    await message_of(relay, source, "Promote to mirror")
    late = await relay.press("promote", f"{source.id}.{there.id}.Shop", relay.bob)
    assert "requested that already" in late or "was requested since" in late
    stale = await relay.press("promote", f"{source.id}.1.shop", relay.bob)
    assert f"Another deployment to shop was requested since you were asked: {new.id}" in stale

    await relay.world.phase(new.id, "success")
    await relay.world.idle()
    shown = await message_of(relay, new)
    assert "promoted from qa" in render(shown)
    assert "p1" in render(shown)
    [entry] = relay.world.rows(
        "select actor, description from timeline where deployment_id = %s and state = 'requested'",
        source.id,
    )
    assert entry["description"] == "Promotion to shop, requested in Slack"
    assert entry["actor"] in ("octocat", "hubot")
    page = await page_of(relay.github.statuses(new.id)[0].log_url)
    assert "promoted from qa" in page
    # A newer deployment here is what can be promoted.
    await deployed(relay, "qa", "p2")
    await message_of(relay, source)
    old = await relay.press("promote", f"{source.id}.0.mirror", relay.bob)
    assert f"Deployment {source.id} is not the newest success of qa any more" in old


async def test_what_the_relay_promotes_by_itself_is_offered_once_it_does_not(
    relay: ActionWorld,
) -> None:
    relay.world.sandbox.installation.permissions |= {"checks": "read", "statuses": "read"}
    site = relay.github.repository("acme/site")
    sha = site.push("Seven", ref="p7")
    source = await deployed(relay, "pre", "p7")
    waits = "select reason from automatic_deployments where state = 'waiting' and reason <> ''"
    await until(lambda: relay.world.rows(waits) or None)
    await message_of(relay, source)
    site.set_check(sha, "unit", "failure")
    relay.world.bring_forward("task = 'deploy_automatically'")
    await message_of(relay, source, "Promote to next")


async def test_what_an_environment_has_is_promoted_by_name(relay: ActionWorld) -> None:
    sha = relay.github.repository("acme/site").push("Three", ref="p3")
    source = await deployed(relay, "qa", "p3")
    reply = await relay.typed("promote acme/site QA mirror", relay.ada)
    assert f"Promoting p3 @ {sha[:7]} of acme/site to mirror" in reply.text
    [new] = relay.created("mirror")
    assert (new.sha, (new.description or "")[:27]) == (sha, "Promoted from qa by octocat")
    await relay.world.phase(new.id, "success")
    reply = await relay.typed("promote acme/site qa mirror", relay.ada)
    assert f"mirror has {sha[:7]} already, as qa does" in reply.text

    # Production is confirmed, also where deploy.yml names no chain; and only what is there still.
    question = await relay.typed("promote acme/site qa production", relay.bob)
    assert question.text == (
        f"Deploy *p3* @ {sha[:7]} of acme/site, which qa has, to *production*?"
    )
    assert not relay.created("production")
    done = await confirmed(relay, question, relay.bob)
    [new] = relay.created("production")
    assert (done["created_deployment_id"], done["deployment_id"]) == (new.id, source.id)
    assert (new.sha, new.production) == (sha, True)
    await relay.world.phase(new.id, "success")
    before = len(relay.created("shop"))
    again = await relay.typed("promote acme/site qa shop", relay.bob)
    newer = await deployed(relay, "qa", "p4")
    refused = await confirmed(relay, again, relay.bob)
    assert (refused["outcome"], len(relay.created("shop"))) == ("refused", before)
    assert refused["message"].startswith(f"qa has {newer.sha[:7]} now, and nothing was done")


@pytest.mark.parametrize(
    ("typed", "phase", "answer"),
    [
        ("acme/site stage/none mirror", "", "Nothing has been deployed to stage/none of acme/site"),
        ("acme/site stage/failed mirror", "failure", "stage/failed has no success to promote: "),
        ("acme/site stage/runs mirror", "in_progress", "runs there (deployment "),
        ("acme/site stage/off mirror", "inactive", "is inactive there (deployment "),
        ("acme/site qa QA", "", "'QA' is where it is already; name the next one"),
        ("acme/site qa", "", "Name a repository and two environments: `/deploy promote owner/repo"),
        ("acme/site qa shp", "", "'shp' is not in deploy.yml; known: "),
        ("acme qa shop", "", "'acme' is not a repository"),
    ],
)
async def test_what_cannot_be_promoted_is_explained(
    relay: ActionWorld, typed: str, phase: str, answer: str
) -> None:
    environment = typed.split()[1]
    if phase:
        relay.past_deployment(environment, "success")
        relay.past_deployment(environment, phase)
        relay.past_deployment(environment, "error")  # it never ran
    assert answer in (await relay.typed(f"promote {typed}", relay.ada)).text
