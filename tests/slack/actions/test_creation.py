"""What deploy.yml says of creation is what `/deploy` and its form create."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.slack.actions import action_world
from tests.slack.actions.action_world import ActionWorld
from tests.slack.actions.test_commands import confirmed, opened, submitted

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHAPED = """
  - name: shaped
    handler: command
    with: {run: ["true"]}
    task: deploy:kubernetes
    payload: {region: eu}
    auto_merge: true
    required_contexts: [ci/build]
  - name: "asks*"
    handler: command
    with: {run: ["false"]}
    dynamic_payload:
      enabled: true
      inputs:
        size: {type: number, required: true}
        color: {type: select, options: [blue, green], default: green}
  - {name: gate, repos: [acme/plain], handler: command, with: {run: ["true"]}}
  - {name: gate, handler: command, with: {run: ["true"]}, production_environment: true}
  - name: own
    handler: command
    with: {run: ["true"]}
    repository_file: tighten
  - name: live
    handler: command
    with: {run: ["true"]}
    production_environment: true
    dynamic_payload: {enabled: true, inputs: {note: {type: string}}}
"""


OWN = """
envs:
  - name: own
    task: "${GITPLOY_DEPLOY_TASK:=rollback}:kubernetes"
    description: The shop
    production_environment: true
    dynamic_payload:
      enabled: true
      inputs:
        size: {type: number, required: true}
        color: {type: select, options: [blue, green], default: green}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    folder = tmp_path_factory.mktemp("creation")
    async with action_world.action_world(postgres, folder, environments=SHAPED) as world:
        yield world


async def test_a_deployment_is_created_as_deploy_yml_says(relay: ActionWorld) -> None:
    site = relay.github.repository("acme/site")
    sha = site.push("One", ref="topic")
    site.set_check("topic", "ci/build", "pending")
    reply = await relay.typed("acme/site shaped topic", relay.ada)
    assert "Commit status checks failed for topic" in reply.text
    site.set_check("topic", "ci/build", "success")
    site.behind.add("topic")
    reply = await relay.typed("acme/site shaped topic", relay.ada)
    assert re.search("merged a branch instead of deploying: Auto-merged .*once more", reply.text)
    reply = await relay.typed("acme/site shaped topic", relay.ada)
    [new] = relay.created("shaped")
    assert (new.ref, new.sha, new.task) == ("topic", sha, "deploy:kubernetes")
    assert new.payload == {"region": "eu"}
    # A rollback is of one commit as it was, and none of these can prevent it.
    await relay.world.phase(new.id, "success")
    site.set_check("topic", "ci/build", "failure")
    again = relay.past_deployment("shaped", "success")
    assert "was requested" in await relay.press("rollback", again, relay.ada)
    back = relay.created("shaped")[-1]
    assert (back.sha, back.task, back.payload) == (sha, "deploy:kubernetes", {"region": "eu"})


async def test_a_command_and_the_form_take_inputs(relay: ActionWorld) -> None:
    response = await relay.slack.command("/deploy", "acme/site asks/1 main", relay.ada)
    assert "size is missing; write size=1" in response.document["text"]
    reply = await relay.typed("acme/site asks/1 size=3 color=blue", relay.ada)
    [new] = relay.created("asks/1")
    assert (new.ref, new.payload) == ("main", {"size": 3, "color": "blue"})
    assert "Deploying main of acme/site to asks/1" in reply.text
    view = await opened(relay, "acme/site", relay.ada)
    values = {"environment": "", "other_environment": "asks/2", "inputs": "size=x"}
    assert not await submitted(relay, view, relay.ada, **values)
    assert view.errors == {"inputs": "size must be a number"}
    values["inputs"] = "size = 0.5\n"
    await submitted(relay, view, relay.ada, **values)
    [new] = relay.created("asks/2")
    assert new.payload == {"size": 0.5, "color": "green"}


async def test_the_earlier_name_of_a_repository_is_no_way_around_a_confirmation(
    relay: ActionWorld,
) -> None:
    relay.github.add_installation("acme", ["acme/plain"])
    relay.github.add_collaborator("acme/plain", "octocat", "write")
    relay.github.rename_repository("acme/plain", "acme/grown")
    reply = await relay.typed("acme/plain gate", relay.ada)
    assert "acme/plain is now acme/grown, where this is production" in reply.text
    assert not relay.created("gate")


async def test_what_is_confirmed_has_its_inputs(relay: ActionWorld) -> None:
    sha = relay.github.repository("acme/site").push("Live")
    question = await relay.typed('acme/site live "note=two words"', relay.ada)
    expected = f"Deploy *main* @ {sha[:7]} of acme/site to *live* with note=two words?"
    assert question.text == expected
    await confirmed(relay, question, relay.ada)
    [new] = relay.created("live")
    assert (new.sha, new.payload) == (sha, {"note": "two words"})


async def test_the_repositorys_own_file_says_how_it_is_created(relay: ActionWorld) -> None:
    site = relay.github.repository("acme/site")
    sha = site.push("Own", files={"deploy.yml": OWN})
    reply = await relay.typed("acme/site own", relay.ada)
    assert reply.text.startswith("size is missing; write size=1")
    question = await relay.typed("acme/site own size=3", relay.ada)
    assert question.text == f"Deploy *main* @ {sha[:7]} of acme/site to *own* with size=3?"
    await confirmed(relay, question, relay.ada)
    [new] = relay.created("own")
    assert (new.task, new.production) == ("deploy:kubernetes", True)
    assert new.payload == {"size": 3, "color": "green"}
    assert new.description is not None
    assert new.description.startswith("The shop (requested in Slack by octocat) (relay action ")
    view = await opened(relay, "acme/site", relay.ada)
    blocks = {block["block_id"]: block for block in view.blocks}
    described = "own: size (a number, needed); color (one of blue, green)"
    assert described in blocks["inputs"]["hint"]["text"]
    await relay.world.phase(new.id, "success")
    later = relay.past_deployment("own", "success", id=new.id + 1)
    assert "was requested" in await relay.press("rollback", later, relay.ada)
    assert relay.created("own")[-1].task == "rollback:kubernetes"
    site.push("Wrong", files={"deploy.yml": "envs:\n  - name: own\n    review: 7\n"})
    reply = await relay.typed("acme/site own size=3", relay.ada)
    assert "The repository's deploy.yml is invalid, line 3, column 13" in reply.text
