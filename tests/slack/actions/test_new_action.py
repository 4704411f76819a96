"""docs/how-to/add-a-slack-action.md: a class and a line are all that a new action needs."""

import ast
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.slack.screen import render
from tests.slack.actions import acknowledge
from tests.slack.actions.acknowledge import Acknowledge
from tests.slack.actions.action_world import ActionWorld, action_world
from webhook.slack.actions import ACTIONS, Action, registry
from webhook.slack.actions.contract import StoreAction

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/add-a-slack-action.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    actions = registry(*ACTIONS.values(), Acknowledge())
    folder = tmp_path_factory.mktemp("actions")
    async with action_world(postgres, folder, actions) as world:
        yield world


@pytest.mark.asyncio(loop_scope="module")
async def test_a_new_action_works_from_its_button_to_the_timeline(relay: ActionWorld) -> None:
    failed = await relay.world.deployed("broken/new")
    [message] = [m for m in relay.world.messages() if str(failed.id) in json.dumps(m.blocks)]
    button = relay.slack.button(message, "acknowledge")
    assert button["text"]["text"] == "Acknowledge"
    assert button["confirm"]["text"]["text"] == (
        "Everybody sees that you look into acme/site to broken/new."
    )
    responses = [
        await relay.slack.press(message, "acknowledge", user, times=2)
        for user in (relay.eve, relay.rob, relay.ada)
    ]
    assert {response.status for response in responses} == {200}
    await relay.until_none_waits(failed.id)
    rows = relay.world.rows(
        "select slack_name, login, outcome, message from actions where deployment_id = %s",
        failed.id,
    )
    by_name = {
        name: sorted(row["outcome"] for row in rows if row["slack_name"] == name)
        for name in ("eve", "rob", "ada")
    }
    # People with read access may acknowledge, once; eve is unknown.
    assert by_name["eve"] == ["refused"] * 2
    assert sorted(by_name["rob"] + by_name["ada"]) == ["done"] + ["refused"] * 3
    [done] = [row for row in rows if row["outcome"] == "done"]
    assert done["message"] == f"{done['login']} looks into it"
    replies = [one.text for one in relay.slack.ephemeral_messages]
    [first] = [text for text in replies if text.startswith("Everybody sees that you look into it")]
    assert f"/deployments/acme/site/{failed.id}?key=" in first
    assert len([text for text in replies if "requested that already" in text]) == 3
    await relay.world.idle()
    thread = [m for m in relay.world.replies() if m.thread_ts == message.ts]
    assert f"{done['login']} looks into it" in "\n".join(render(reply) for reply in thread)
    entries = "select actor, description from timeline where deployment_id = %s and not counted"
    assert {"actor": done["login"], "description": done["message"]} in relay.world.rows(
        entries, failed.id
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_what_it_declines_has_an_explanation(relay: ActionWorld) -> None:
    fine = relay.past_deployment("stage/new", "success")
    reply = await relay.press("acknowledge", fine, relay.bob)
    assert f"Deployment {fine} has not failed" in reply
    assert relay.action(fine)["code"] == "not_possible"


def test_every_button_is_in_the_table_for_users() -> None:
    page = (ROOT / "docs/how-to/slack-actions.md").read_text()
    labels = [action.label for action in ACTIONS.values() if action.label]
    assert [label for label in labels if f"| **{label}** |" not in page] == []


def test_the_page_shows_the_whole_class() -> None:
    code = Path(acknowledge.__file__).read_text()
    shown = "\n".join(BLOCKS)
    tree = ast.parse(code)
    [cls] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    lines = [line.strip() for line in code.splitlines()[cls.lineno - 1 :] if line.strip()]
    assert [line for line in lines if line not in shown] == []


def test_the_page_explains_every_part_of_an_action() -> None:
    parts = {**vars(StoreAction), **vars(Action), **Action.__annotations__}
    assert [name for name in parts if name[0] != "_" and f"`{name}" not in PAGE] == []
