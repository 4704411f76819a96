"""Approvals, from the question in Slack to the start: who may answer, what counts, what is seen."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.faults import Fault
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from sandbox.slack.model import Message, User
from sandbox.slack.screen import render
from tests.slack.actions.action_world import ActionWorld, action_world
from tests.world import until
from webhook import startup
from webhook.config.routing import route
from webhook.gates.approval import review_of

ENVIRONMENTS = """
  - name: gated
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [Octocat, hubot]}
  - name: two/changed
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat, hubot, reader, cleo], count: 2}
  - name: "two/*"
    creators: ["*"]
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat, hubot, cleo, reader], count: 2}
  - name: team
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [hubot], teams: [platform]}
  - name: again
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat, hubot], same_commit: reuse}
  - name: again/by-two
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat, hubot], same_commit: reuse, count: 2}
  - name: brief
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat], expires: 1h}
  - name: alone
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [Octocat]}
  - name: own
    handler: command
    with: {run: ["true"]}
    repository_file: tighten
    review: {enabled: true, reviewers: [octocat, hubot, reader], count: 2}
  - name: glass
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [Octocat]}
    break_glass: [octocat]
"""
# What Slack would read as a marker of bold text.
STAR = "\N{ASTERISK OPERATOR}"
LINK = "<!channel> *now* <https://evil.test|here>"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ActionWorld]:
    folder: Path = tmp_path_factory.mktemp("approvals")
    async with action_world(postgres, folder, environments=ENVIRONMENTS) as world:
        world.github.add_user("cleo", email="cleo@acme.test")
        world.github.add_collaborator(REPOSITORY, "cleo", "write")
        yield world


async def asked(relay: ActionWorld, environment: str, by: str = "hubot") -> Deployment:
    """A deployment of a new commit, which waits for approval."""
    deployment = await relay.world.deploy(
        environment, ref=relay.sha(), by=relay.github.world.user(by)
    )
    await until(lambda: offers(relay, deployment, "approve") or None)
    return deployment


def message_of(relay: ActionWorld, deployment: Deployment) -> Message:
    page = f"/{REPOSITORY}/{deployment.id}?"
    found = (m for m in relay.world.messages() if page in json.dumps(m.blocks))
    return next(found, Message("0", "", "", []))


def offers(relay: ActionWorld, deployment: Deployment, action: str) -> bool:
    return f'"action_id": "{action}"' in json.dumps(message_of(relay, deployment).blocks)


def shown(relay: ActionWorld, deployment: Deployment) -> str:
    return render(message_of(relay, deployment))


def thread(relay: ActionWorld, deployment: Deployment) -> list[Message]:
    main = message_of(relay, deployment)
    return [m for m in relay.world.replies() if m.thread_ts == main.ts]


def requests(relay: ActionWorld, deployment: Deployment) -> list[str]:
    """The replies that the channel sees too, while it waits."""
    shown = [json.dumps(one.blocks) for one in thread(relay, deployment) if one.broadcast]
    return [one for one in shown if "waits for a person" in one]


async def reject(relay: ActionWorld, deployment: Deployment, user: User, comment: str) -> str:
    """The reply to that user, who fills in the form of the button."""
    before, opened = len(relay.replies_to(user)), len(relay.slack.views.opened)
    await relay.slack.press(message_of(relay, deployment), "reject", user)
    await until(lambda: len(relay.slack.views.opened) > opened or None)
    response = await relay.slack.submit(
        relay.slack.views.newest(user.id), {"comment": comment}, user
    )
    assert not response.error
    return (await relay.until_replies(user, before))[0].text


def audit(relay: ActionWorld, deployment: Deployment) -> list[tuple[Any, ...]]:
    rows = relay.world.rows(
        "select actor, action, outcome, reason from audit where deployment_id = %s order by id",
        deployment.id,
    )
    return [tuple(row.values()) for row in rows]


async def test_one_yes_starts_it_and_what_it_brings_is_in_sight(relay: ActionWorld) -> None:
    site = relay.github.repository(REPOSITORY)
    site.push("Before")
    mona = relay.github.world.user("hubot")
    first = await relay.world.deploy("gated", by=mona)
    await until(lambda: offers(relay, first, "approve") or None)
    assert "You have approved it" in await relay.press("approve", first.id, relay.ada)
    await relay.github.wait_for(first.id, "success")
    site.push("Show *prices* with tax")
    second = await relay.world.deploy("gated", by=mona)
    await until(lambda: offers(relay, second, "approve") or None)
    await relay.world.idle()
    [status] = [s for s in relay.github.statuses(second.id) if "approval" in s.description]
    expected = "Waits for approval: 0 of 1 (no known end). Reviewers: Octocat"
    assert (status.state, status.description) == ("queued", expected)
    assert f"Show {STAR}prices{STAR} with tax" in shown(relay, second)
    button = relay.slack.button(message_of(relay, second), "approve")
    question = button["confirm"]["text"]["text"]
    assert f"of {REPOSITORY} to gated start? Deploys 1 commit." in question
    [request] = [m for m in thread(relay, second) if m.broadcast]
    assert f"<@{relay.ada.id}>" in json.dumps(request.blocks)
    assert relay.bob.id not in json.dumps(request.blocks)  # who asked for it
    assert relay.github.states(second.id)[-1] == "queued"
    typed = await relay.typed(f"approve {REPOSITORY} Gated all fine {LINK}", relay.ada)
    assert f"You have approved it, deployment {second.id} to gated" in typed.text
    await relay.github.wait_for(second.id, "success")
    await relay.world.idle()
    assert not offers(relay, second, "approve")
    assert not offers(relay, second, "reject")
    blocks = json.dumps(message_of(relay, second).blocks, ensure_ascii=False)
    assert "👍 octocat approved it, <!date" in blocks
    assert f"all fine &lt;!channel&gt; {STAR}now{STAR} &lt;https://evil.test|here&gt;" in blocks
    assert "Approved: all fine" in "\n".join(render(one) for one in thread(relay, second))
    assert audit(relay, second) == [("octocat", "approve", "done", f"all fine {LINK}")]


async def test_one_no_ends_it_with_its_comment(relay: ActionWorld) -> None:
    deployment = await asked(relay, "two/no", by="cleo")
    await relay.press("approve", deployment.id, relay.bob)
    await until(lambda: "1 of 2 (hubot approved)" in shown(relay, deployment) or None)
    assert offers(relay, deployment, "approve")
    await relay.typed(f"lock {REPOSITORY} two/no migration", relay.bob)
    await until(lambda: "Locked by hubot" in shown(relay, deployment) or None)
    await relay.world.idle()
    [request] = requests(relay, deployment)  # everybody is asked once, whatever else changes
    assert f"<@{relay.ada.id}> <@{relay.bob.id}>" in request
    reply = await reject(relay, deployment, relay.ada, "the *migration* is missing")
    assert "You have rejected it" in reply
    status = await relay.github.wait_for(deployment.id, "error")
    assert status.description == "Rejected by octocat: the *migration* is missing"
    await relay.world.idle()
    text = shown(relay, deployment)
    assert "👍 hubot approved it" in text
    assert "👎 octocat rejected it" in text
    assert f"the {STAR}migration{STAR} is missing" in text
    assert not offers(relay, deployment, "approve")
    for action in ("approve", "reject"):
        late = await relay.press(action, deployment.id, relay.bob)
        assert f"Too late: deployment {deployment.id} has ended, it is 'error'" in late
    assert "in_progress" not in relay.github.states(deployment.id)


async def test_only_whoever_may_not_answer_sees_why(relay: ActionWorld) -> None:
    cleo = relay.slack.add_user("cleo", "cleo@acme.test")
    deployment = await asked(relay, "two/refused", by="octocat")
    own = await relay.press("approve", deployment.id, relay.ada)
    assert "You asked for this deployment yourself; somebody else has to approve it" in own
    reading = await relay.press("approve", deployment.id, relay.rob)
    assert f"reader may only read {REPOSITORY}" in reading
    assert "The relay does not know who you are" in await relay.press(
        "approve", deployment.id, relay.eve
    )
    relay.bob.deleted = True
    assert "deactivated" in await relay.press("approve", deployment.id, relay.bob)
    relay.bob.deleted = False
    assert "You have approved it" in await relay.press("approve", deployment.id, relay.bob)
    twice = await relay.press("approve", deployment.id, relay.bob)
    assert "You have approved this already" in twice
    other = await asked(relay, "gated", by="octocat")
    stranger = await relay.press("approve", other.id, cleo)
    assert "cleo is not among those who may answer: Octocat, hubot" in stranger
    # Others' words on GitHub end no wait.
    await relay.github.create_status(deployment.id, "success", by=relay.github.world.user("cleo"))
    await relay.world.idle()
    assert offers(relay, deployment, "approve")
    assert relay.github.states(deployment.id)[-1] == "queued"
    heading, _, _ = (await relay.world.page(deployment.id)).partition("Why it waits")
    assert "Waits for a person" in heading
    assert "deactivated" not in shown(relay, deployment)
    refused = [row for row in audit(relay, deployment) if row[2] == "refused"]
    assert [row[0] for row in refused] == ["octocat", "reader", "eve", "hubot", "hubot"]
    assert "You have approved it" in await relay.press("approve", deployment.id, cleo)
    await relay.github.wait_for(deployment.id, "success")


async def test_a_form_that_fails_is_late_or_is_forged_answers_nothing(relay: ActionWorld) -> None:
    deployment = await asked(relay, "gated", by="cleo")
    relay.slack.faults.add("POST /views.open", Fault.slack("expired_trigger_id"))
    failed = await relay.press("reject", deployment.id, relay.bob)
    assert f"type it instead: /deploy reject {REPOSITORY} gated and why" in failed
    opened = len(relay.slack.views.opened)
    await relay.slack.press(message_of(relay, deployment), "reject", relay.bob)
    await until(lambda: len(relay.slack.views.opened) > opened or None)
    view = relay.slack.views.newest(relay.bob.id)
    metadata = json.loads(view.document["private_metadata"])
    for forged in ({"at": 0}, {"deployment": 10**30}, {"deployment": "all"}):
        view.document["private_metadata"] = json.dumps(metadata | forged)
        response = await relay.slack.submit(view, {"comment": "no"}, relay.bob)
        assert "open for too long; press Reject again" in response.document["errors"]["comment"]
    await relay.press("approve", deployment.id, relay.ada)
    await relay.github.wait_for(deployment.id, "success")
    view.document["private_metadata"] = json.dumps(metadata)
    before = len(relay.replies_to(relay.bob))
    await relay.slack.submit(view, {"comment": "no"}, relay.bob)
    [late] = await relay.until_replies(relay.bob, before)
    assert f"Too late: deployment {deployment.id} has ended, it is 'success'" in late.text


async def test_nobody_is_asked_where_nobody_could_agree(relay: ActionWorld) -> None:
    alone = await relay.world.deploy("alone", by=relay.github.world.user("octocat"))
    status = await relay.github.wait_for(alone.id, "error")
    assert status.description == (
        "Needs 1 approval, and nobody may give one: octocat asked for it."
        " Name more reviewers in deploy.yml"
    )
    # Somebody may break the glass, which a refusal would keep from them.
    glass = await asked(relay, "glass", by="octocat")
    assert (
        "nobody may give one: octocat asked for it  ·  no known end  ·  /deploy override, or name"
        " more reviewers in deploy.yml" in shown(relay, glass)
    )
    await relay.typed(f"override {REPOSITORY} glass it is down", relay.ada)
    await relay.github.wait_for(glass.id, "success")
    await relay.world.idle()
    assert len(requests(relay, glass)) == 1


async def test_one_more_has_to_approve_what_a_bot_created(relay: ActionWorld) -> None:
    bot = relay.github.add_user("deployer[bot]")
    deployment = await relay.world.deploy("two/bot", by=bot)
    await until(lambda: offers(relay, deployment, "approve") or None)
    for user in (relay.ada, relay.bob):
        assert "You have approved it" in await relay.press("approve", deployment.id, user)
    wanted = "2 of 3 (octocat, hubot approved; one more, as nobody knows who asked)"
    await until(lambda: wanted in shown(relay, deployment) or None)
    assert "in_progress" not in relay.github.states(deployment.id)


async def test_whoever_asked_in_slack_is_known(relay: ActionWorld) -> None:
    await relay.typed(f"{REPOSITORY} gated", relay.ada)
    await until(lambda: relay.created("gated") or None)
    [deployment] = relay.created("gated")
    await until(lambda: offers(relay, deployment, "approve") or None)
    own = await relay.typed(f"approve {REPOSITORY} gated", relay.ada)
    assert "You asked for this deployment yourself" in own.text
    await relay.press("approve", deployment.id, relay.bob)
    await relay.github.wait_for(deployment.id, "success")


async def test_a_member_of_a_team_may_answer(relay: ActionWorld) -> None:
    deployment = await asked(relay, "team")
    refused = await relay.press("approve", deployment.id, relay.ada)
    assert "give the App the organization permission Members: read" in refused
    relay.world.sandbox.installation.permissions["members"] = "read"
    assert "octocat is not among those who may answer: hubot, team platform" in (
        await relay.press("approve", deployment.id, relay.ada)
    )
    relay.github.add_team("acme/platform", "octocat")
    assert "You have approved it" in await relay.press("approve", deployment.id, relay.ada)
    await relay.github.wait_for(deployment.id, "success")


async def test_the_same_commit_keeps_its_approval_where_deploy_yml_says_so(
    relay: ActionWorld,
) -> None:
    first = await asked(relay, "again", by="cleo")
    await relay.press("approve", first.id, relay.ada)
    await relay.github.wait_for(first.id, "success")
    second = await relay.world.deploy("again", ref=first.sha, by=relay.github.world.user("cleo"))
    await relay.github.wait_for(second.id, "success")
    await relay.world.idle()
    assert "👍 octocat approved it" in shown(relay, second)
    # Whose yes it was does not approve what they asked for themselves.
    own = await relay.world.deploy("again", ref=first.sha, by=relay.github.world.user("octocat"))
    await until(lambda: offers(relay, own, "approve") or None)


async def test_a_changed_file_of_the_repository_voids_it_too(relay: ActionWorld) -> None:
    site = relay.github.repository(REPOSITORY)
    reviewed = "envs: [{{name: own, review: {{enabled: true, reviewers: [{}]}}}}]"
    site.push("Own", files={"deploy.yml": reviewed.format("hubot, octocat, mona")})
    deployment = await asked(relay, "own", by="cleo")
    assert "Reviewers: hubot, octocat" in shown(relay, deployment)
    await relay.press("approve", deployment.id, relay.bob)
    await until(lambda: "1 of 2 (hubot approved)" in shown(relay, deployment) or None)
    site.push("Other people", files={"deploy.yml": reviewed.format("hubot, octocat, reader")})
    relay.world.execute("update repository_files set read_at = 'epoch'")
    relay.world.bring_forward("task = 'advance'")
    await until(lambda: "0 of 2 (1 void by now)" in shown(relay, deployment) or None)
    for user in (relay.ada, relay.bob):
        await relay.press("approve", deployment.id, user)
    await relay.github.wait_for(deployment.id, "success")


async def test_a_changed_policy_voids_what_was_approved_before(relay: ActionWorld) -> None:
    deployment = await asked(relay, "two/changed", by="reader")
    await relay.press("approve", deployment.id, relay.ada)
    await until(lambda: "1 of 2 (octocat approved)" in shown(relay, deployment) or None)
    await _restart(relay, "hubot, reader, cleo]", "hubot]")
    await until(lambda: "0 of 2 (1 void by now)" in shown(relay, deployment) or None)
    await until(lambda: len(requests(relay, deployment)) == 2 or None)
    assert f"<@{relay.ada.id}>" in requests(relay, deployment)[1]  # once more
    await relay.press("approve", deployment.id, relay.bob)
    await until(lambda: "1 of 2 (hubot approved; 1 void" in shown(relay, deployment) or None)
    assert "in_progress" not in relay.github.states(deployment.id)
    await relay.press("approve", deployment.id, relay.ada)
    await relay.github.wait_for(deployment.id, "success")


async def _restart(relay: ActionWorld, old: str, new: str) -> None:
    world = relay.world
    file = Path(world.setup.environ["GITPLOY_CONFIG"])
    file.write_text(file.read_text().replace(old, new))
    await world.stop_workers()
    world.setup = replace(world.setup, config=startup.read_config(world.setup.environ))
    world.start_worker()


async def test_an_approval_that_has_expired_can_be_given_again(relay: ActionWorld) -> None:
    deployment = await asked(relay, "brief")
    environment = route(relay.world.setup.config, REPOSITORY, "brief")
    assert environment is not None
    relay.world.execute(
        "insert into approvals (deployment_id, repo_id, environment, sha, policy, user_id, login,"
        " approved, source, at) select id, repo_id, environment, sha, %s, %s, 'octocat', true,"
        " 'slack', now() - interval '2 hours' from deployments where id = %s",
        *(review_of(environment).digest, relay.github.world.user("octocat").account.id),
        deployment.id,
    )
    assert "You have approved it" in await relay.press("approve", deployment.id, relay.ada)
    await relay.github.wait_for(deployment.id, "success")


async def test_a_superseded_deployment_takes_its_approvals_with_it(relay: ActionWorld) -> None:
    older = await asked(relay, "again/by-two", by="cleo")
    await relay.press("approve", older.id, relay.ada)
    await until(lambda: "1 of 2 (octocat approved)" in shown(relay, older) or None)
    newer = await asked(relay, "again/by-two", by="cleo")
    for user in (relay.ada, relay.bob):
        await relay.press("approve", newer.id, user)
    await relay.github.wait_for(newer.id, "success")
    await relay.world.phase(older.id, "superseded")
    late = await relay.press("approve", older.id, relay.bob)
    assert "has ended, it is 'superseded'" in late
    await relay.world.idle()
    assert not offers(relay, older, "approve")
    same = await relay.world.deploy(
        "again/by-two", ref=older.sha, by=relay.github.world.user("cleo")
    )
    await until(lambda: "approval: 0 of 2" in shown(relay, same) or None)


async def test_a_newer_deployment_of_the_commit_keeps_what_it_reuses(relay: ActionWorld) -> None:
    world = relay.world
    lock = "insert into locks (environment, owner, reason, source) values (%s, 'a', 'b', 'c')"
    world.execute(lock, "again/by-two")
    older = await world.deploy("again/by-two", ref=relay.sha(), by=relay.github.world.user("cleo"))
    await until(lambda: offers(relay, older, "approve") or None)
    for user in (relay.ada, relay.bob):
        await relay.press("approve", older.id, user)
    newer = await world.deploy("again/by-two", ref=older.sha, by=relay.github.world.user("cleo"))
    locked = "select id from deployments where waiting and jsonb_array_length(blockers) = 1"
    both = [{"id": older.id}, {"id": newer.id}]
    await until(
        lambda: world.rows(f"{locked} and environment = 'again/by-two' order by id") == both or None
    )
    world.execute(
        "update deployments set phase = 'superseded', ended_at = now(), superseded_by = %s,"
        " version = version + 1 where id = %s",
        *(newer.id, older.id),
    )
    world.execute("update locks set ended_at = now(), ended_how = 'unlocked' where owner = 'a'")
    world.bring_forward("task = 'advance'")
    await relay.github.wait_for(newer.id, "success")


async def test_what_is_mistyped_is_explained(relay: ActionWorld) -> None:
    for text, error in {
        f"approve {REPOSITORY}": "Write it as `/deploy approve owner/repo environment [comment]`",
        f"reject {REPOSITORY} gated": "Say why: `/deploy reject owner/repo environment comment`",
        f"approve {REPOSITORY} nowhere": "'nowhere' is not in deploy.yml",
        f"reject {REPOSITORY} gated {'x' * 1001}": "A comment has at most 1000 characters",
    }.items():
        assert error in (await relay.slack.command("/deploy", text, relay.ada)).document["text"]
    none = await relay.typed(f"approve {REPOSITORY} stage/none", relay.ada)
    assert f"No deployment to stage/none of {REPOSITORY} waits for approval" in none.text
