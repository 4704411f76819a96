"""What people type in Slack, or fill into the form, is deployed once they may and are sure."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from psycopg.types.json import Jsonb

from sandbox.faults import Fault
from sandbox.slack.model import User
from sandbox.slack.screen import render
from sandbox.slack.views import View
from tests.slack.actions.action_world import CREATE, ActionWorld, relay
from webhook.deployments.blockers import Blocker
from webhook.store import actions
from webhook.store.database import connect

__all__ = ["relay"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def opened(relay: ActionWorld, text: str, user: User) -> View:
    assert not (await relay.slack.command("/deploy", text, user)).error
    await relay.until_action(lambda row: row["reply"] is None)
    return relay.slack.views.newest(user.id)


async def submitted(relay: ActionWorld, view: View, user: User, **values: str) -> str:
    """The reply to that person; empty while the form has errors."""
    before = len(relay.replies_to(user))
    response = await relay.slack.submit(view, values, user)
    assert not response.error
    if view.open:
        return ""
    return (await relay.until_replies(user, before))[0].text


async def confirmed(relay: ActionWorld, asking: Any, user: User) -> dict[str, Any]:
    """The action created by pressing the button of a confirmation."""
    last = relay.action()["id"]
    await relay.slack.press(asking, "deploy", user)
    return await relay.until_action(lambda row: row["id"] > last and row["reply"] is None)


async def page_of(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


async def test_a_command_deploys_what_it_names(relay: ActionWorld) -> None:
    reply = await relay.typed("acme/site STAGE/typed v2", relay.ada)
    [new] = relay.created("STAGE/typed")
    assert reply.text.startswith("Deploying v2 of acme/site to STAGE/typed. <http")
    assert (new.ref, new.task, new.production) == ("v2", "deploy", False)
    assert "Requested in Slack by octocat" in (new.description or "")
    assert f"/deployments/acme/site/{new.id}?key=" in reply.text
    await relay.world.phase(new.id, "success")
    # The default branch, where none is typed; the spelling is deploy.yml's.
    relay.github.repository("acme/site").default_branch = "trunk"
    reply = await relay.typed("ACME/site Stage/typed", relay.bob)
    assert "Deploying trunk of ACME/site to Stage/typed" in reply.text
    [new] = relay.created("Stage/typed")
    assert new.ref == "trunk"


async def test_production_waits_until_the_same_person_is_sure(relay: ActionWorld) -> None:
    sha = relay.github.repository("acme/site").push("Three", ref="v3")
    question = await relay.typed("acme/site Production v3", relay.ada)
    assert question.text == f"Deploy *v3* @ {sha[:7]} of acme/site to *production*?"
    assert not relay.created("production")
    assert "confirm" not in relay.slack.button(question, "deploy")  # one confirmation is enough
    waiting = await relay.until_action(lambda row: row["reply"] is None)
    assert (waiting["outcome"], waiting["login"]) == ("waiting", "octocat")
    # A press by anybody else is rejected, even with the same button.
    forged = relay.button("deploy", waiting["id"])
    rejected = await confirmed(relay, forged, relay.bob)
    assert (rejected["outcome"], rejected["message"]) == (
        "refused",
        "Only the person who requested this may confirm it",
    )
    done = await confirmed(relay, question, relay.ada)
    [new] = relay.created("production")
    assert (done["outcome"], done["created_deployment_id"], done["login"]) == (
        "done",
        new.id,
        "octocat",
    )
    assert (done["repo"], done["environment"], done["ref"]) == ("acme/site", "production", sha)
    assert (new.ref, new.sha, new.production) == (sha, sha, True)
    # The question is replaced, so that it cannot be confirmed twice.
    assert question.text.startswith(f"Deploying v3 @ {sha[:7]} of acme/site to production")
    assert not question.blocks
    there = relay.button("deploy", waiting["id"])
    again = await confirmed(relay, there, relay.ada)
    assert again["outcome"] == "refused"
    assert "You have confirmed this already" in relay.replies_to(relay.ada)[-1].text
    assert there.blocks  # that message is not replaced
    assert len(relay.created("production")) == 1


async def test_a_branch_that_moves_is_deployed_as_it_was_confirmed(relay: ActionWorld) -> None:
    site = relay.github.repository("acme/site")
    sha = site.push("One", ref="moves")
    question = await relay.typed("acme/site production moves", relay.ada)
    site.push("Two", ref="moves")
    done = await confirmed(relay, question, relay.ada)
    new = relay.github.deployments[done["created_deployment_id"]]
    assert (new.ref, new.sha) == (sha, sha)
    await relay.github.wait_for(new.id, "success", within=20)
    await relay.world.idle()
    # People still read what they have typed, after a rollback too.
    later = await relay.world.deployed(ref="v9")
    assert "was requested" in await relay.press("rollback", later.id, relay.ada)
    back = relay.created("production")[-1]
    await relay.github.wait_for(back.id, "success", within=20)
    await relay.world.idle()
    for one in (new, back):
        [message] = [m for m in relay.world.messages() if f"/{one.id}?" in str(m.blocks)]
        assert re.search(rf"moves\S* @ \S*{sha[:7]}", render(message))
        assert (one.ref, one.sha) == (sha, sha)
    page = await page_of(relay.github.statuses(back.id)[0].log_url)
    assert ">moves</a>" in page
    assert f"moves @ {sha[:7]}" in (await relay.typed("status acme/site", relay.ada)).text


async def test_a_login_from_before_a_rename_is_explained(relay: ActionWorld) -> None:
    users = relay.github.world.users
    token = next(token for token, user in users.items() if user.account.login == "hubot")
    hubot = users.pop(token)
    relay.github.add_installation("acme", ["acme/fresh"])  # nothing is cached of it
    reply = await relay.typed("status acme/fresh", relay.bob)
    assert "deploy.yml says that you are hubot on GitHub, which has no such account" in reply.text
    assert "its new login in slack_users" in reply.text
    users[token] = hubot


async def test_spaces_that_nobody_sees_are_no_part_of_a_name(relay: ActionWorld) -> None:
    text = "\u200bacme/site\u00a0stage/unseen\ufeff\u202fv2\u2060 "
    reply = await relay.typed(text, relay.ada)
    assert reply.text.startswith("Deploying v2 of acme/site to stage/unseen.")
    view = await opened(relay, "", relay.ada)
    values = {
        "repository": "\u00a0acme/site\u200b",
        "other_environment": "stage/unseen\u200e",
        "ref": "\ufeffv3\u00a0",
    }
    reply_text = await submitted(relay, view, relay.ada, **values)
    assert reply_text.startswith("Deploying v3 of acme/site to stage/unseen.")


async def test_a_person_of_an_enterprise_grid_is_one_person(relay: ActionWorld) -> None:
    """A press names their own workspace, a command the one where it was typed."""
    relay.github.repository("acme/site").push("One", ref="grid")
    for home in ("", "T0HOME"):
        relay.ada.home = home
        question = await relay.typed("acme/site production grid", relay.ada)
        done = await confirmed(relay, question, relay.ada)
        assert (done["outcome"], done["login"]) == ("done", "octocat")
        assert done["slack_user"] == relay.ada.id
    failed = relay.past_deployment("broken/grid")
    assert "was requested" in await relay.press("retry", failed, relay.ada)
    assert "You have requested that already" in await relay.press("retry", failed, relay.ada)
    relay.ada.home = ""


async def test_a_confirmation_without_a_commit_says_so(relay: ActionWorld) -> None:
    reply = await relay.typed("acme/site production nowhere", relay.ada)
    assert reply.text.startswith("GitHub knows no branch, tag or commit 'nowhere' of acme/site")
    [repository] = relay.github.add_installation(
        "acme", ["acme/narrow"], permissions={"deployments": "write", "metadata": "read"}
    ).repositories
    relay.github.add_collaborator("acme/narrow", "octocat", "write")
    repository.push("One")
    question = await relay.typed("acme/narrow production", relay.ada)
    assert question.text.startswith("Deploy *main* of acme/narrow to *production*? It will be the")
    assert "contents: read" in question.text
    done = await confirmed(relay, question, relay.ada)
    assert relay.github.deployments[done["created_deployment_id"]].ref == "main"


async def test_a_confirmation_expires(relay: ActionWorld) -> None:
    retries = (timedelta(seconds=0.1), timedelta(seconds=0.2))
    async with relay.world.timed(reply_retries_after=retries):
        relay.slack.faults.add("POST /response/*", Fault.status(500))  # the call is repeated
        relay.github.repository("acme/site").push("Four", ref="v4")
        question = await relay.typed("acme/site production v4", relay.ada)
        late = "update actions set at = at - interval '61 minutes' where id = %s returning 1"
        await asyncio.to_thread(relay.world.rows, late, relay.action()["id"])
        assert (await confirmed(relay, question, relay.ada))["outcome"] == "refused"
        assert "try again" in question.text


@pytest.mark.slow
async def test_a_deployment_that_github_creates_late_is_found_and_not_requested_again(
    relay: ActionWorld,
) -> None:
    lookups = tuple(timedelta(seconds=seconds) for seconds in (0.1, 2.0, 2.1))
    soon = timedelta(seconds=1)
    async with relay.world.timed(deployment_lookups_after=lookups, wait_announced_after=soon):
        relay.github.faults.add(CREATE, Fault.drop_before())
        calls = len(relay.github.called("POST", "/deployments"))
        before = len(relay.replies_to(relay.ada))
        await relay.slack.command("/deploy", "acme/site stage/slow v6", relay.ada)
        row = await relay.until_action(lambda row: (row["lookups"] or 0) > 0)
        mark = f"(relay action {row['id']}-{row['key'][:8]})"
        late = await relay.github.create_deployment(
            "acme/site", "v6", environment="stage/slow", description=mark
        )
        late.by_app = True
        waits, done = await relay.until_replies(relay.ada, before, 2)
        assert "keeps checking" in waits.text
        assert f"/{late.id}?" in done.text
        assert relay.created("stage/slow") == [late]
        assert len(relay.github.called("POST", "/deployments")) == calls + 1


@pytest.mark.slow
async def test_a_wait_for_github_is_announced_once(relay: ActionWorld) -> None:
    async with relay.world.timed(wait_announced_after=timedelta(0)):
        relay.github.faults.add(CREATE, Fault.rate_limited(1), times=2)
        before = len(relay.replies_to(relay.bob))
        await relay.slack.command("/deploy", "acme/site stage/wait", relay.bob)
        waits, done = await relay.until_replies(relay.bob, before, 2)
        assert re.match(
            r"GitHub asks to wait until \d\d:\d\d UTC; it will be done then", waits.text
        )
        assert done.text.startswith("Deploying")


@pytest.mark.slow
async def test_a_wait_for_slack_is_announced_as_such(relay: ActionWorld) -> None:
    """Slack is called for the e-mail address of a person who is not in deploy.yml."""
    ben = relay.slack.add_user("ben", "ben@acme.test")
    async with relay.world.timed(wait_announced_after=timedelta(0)):
        relay.slack.faults.add("GET /users.info", Fault.rate_limited(1))
        before = len(relay.replies_to(ben))
        await relay.slack.command("/deploy", "acme/site stage/wait", ben)
        waits, declined = await relay.until_replies(ben, before, 2)
        assert re.match(r"Slack asks to wait until \d\d:\d\d UTC; it will be done", waits.text)
        assert "GitHub profile" in declined.text


async def test_a_permission_is_cached_for_its_repository_and_a_minute(
    relay: ActionWorld,
) -> None:
    lisa = relay.slack.add_user("lisa", "lisa@acme.test")
    relay.github.add_user("lisa-gh", email="lisa@acme.test")
    relay.github.add_collaborator("acme/site", "lisa-gh", "read")
    relay.github.add_installation("acme", ["acme/hers"])
    relay.github.add_collaborator("acme/hers", "lisa-gh", "write")
    assert "may only read" in (await relay.typed("status acme/site", lisa)).text
    assert "seen no deployment" in (await relay.typed("status acme/hers", lisa)).text
    relay.github.add_collaborator("acme/site", "lisa-gh", "write")
    assert "may only read" in (await relay.typed("status acme/site", lisa)).text
    later = relay.world.timing.permission_cached + timedelta(seconds=1)
    with relay.world.clock.moved(later):
        assert "may only read" not in (await relay.typed("status acme/site", lisa)).text
        relay.github.add_collaborator("acme/site", "lisa-gh", "read")
    with relay.world.clock.moved(2 * later):
        assert "may only read" in (await relay.typed("status acme/site", lisa)).text


@pytest.mark.slow
async def test_the_button_to_roll_back_stays_where_a_commit_was_deployed_again(
    relay: ActionWorld,
) -> None:
    for ref in ("v1", "v2", "v2"):
        newest = await relay.world.deployed("stage/back", ref=ref)
    [message] = [m for m in relay.world.messages() if str(newest.id) in str(m.blocks)]
    button = relay.slack.button(message, "rollback")
    sha = relay.github.repository("acme/site").sha("v1")
    assert f"to v1 @ {sha[:7]}?" in button["confirm"]["text"]["text"]


async def test_a_command_from_a_workspace_without_a_token_is_rejected(relay: ActionWorld) -> None:
    there = relay.slack.add_workspace("Elsewhere").add_user("spy")
    relay.slack.workspace_of(there.team_id).add_channel("general")
    reply = await relay.typed("status acme/site", there)
    assert "no valid token for this Slack workspace" in reply.text


async def test_a_person_without_permission_sees_no_confirmation(relay: ActionWorld) -> None:
    before = len(relay.github.deployments)
    reply = await relay.typed("acme/site production", relay.rob)
    assert "reader may only read" in reply.text
    reply = await relay.typed("acme/site stage/x", relay.eve)
    assert "slack_users" in reply.text
    reply = await relay.typed("acme/other stage/x", relay.ada)
    assert "Either the App is not installed in acme/other" in reply.text
    assert relay.action()["login"] == "octocat"
    reply = await relay.typed("status acme/site", relay.rob)
    assert "reader may only read" in reply.text
    assert len(relay.github.deployments) == before
    # The permission is cached for a minute.
    assert len(relay.github.called("GET", "/collaborators/reader/permission")) == 1


@pytest.mark.slow
async def test_the_reply_has_githubs_reason_and_the_remedy(relay: ActionWorld) -> None:
    for status, message, expected in (
        (422, "No ref found for: <!channel>.", "422: No ref found for: &lt;!channel&gt;"),
        (403, "Resource not accessible by integration", "give the App Deployments: read and write"),
        (404, "Not Found", "Either the App is not installed in acme/site"),
        (410, "Gone", "takes no deployments any more"),
    ):
        relay.github.faults.add(CREATE, Fault.status(status, {"message": message}), times=99)
        reply = await relay.typed("acme/site stage/x v9", relay.ada)
        relay.github.faults.clear()
        assert reply.text.startswith("Nothing was deployed. ")
        assert expected in reply.text
        assert ".." not in reply.text


async def test_the_form_shows_errors_and_then_deploys(relay: ActionWorld) -> None:
    view = await opened(relay, "acme/site", relay.ada)
    fields = {block["block_id"]: block for block in view.blocks}
    assert fields["repository"]["element"]["initial_value"] == "acme/site"
    options = fields["environment"]["element"]["options"]
    assert [option["value"] for option in options] == ["production"]
    assert "other_environment" in fields  # deploy.yml has patterns too
    reply = await submitted(relay, view, relay.ada, other_environment="nowhere", ref="a b")
    assert not reply
    assert "known: production" in view.errors["other_environment"]
    assert "not a branch" in view.errors["ref"]
    values = {"other_environment": "stage/form", "ref": "v5"}
    reply = await submitted(relay, view, relay.ada, **values)
    [new] = relay.created("stage/form")
    assert "Deploying v5 of acme/site to stage/form" in reply
    assert new.ref == "v5"


async def test_production_in_the_form_needs_a_confirmation(relay: ActionWorld) -> None:
    view = await opened(relay, "", relay.bob)
    relay.github.repository("acme/site").default_branch = "trunk"
    sha = relay.github.repository("acme/site").push("Newest", ref="trunk")
    values = {"repository": "acme/site", "environment": "production"}
    reply = await submitted(relay, view, relay.bob, **values)
    assert reply == f"Deploy *trunk* @ {sha[:7]} of acme/site to *production*?"


async def test_without_a_form_the_reply_has_the_command(
    relay: ActionWorld,
) -> None:
    relay.slack.faults.add("POST /views.open", Fault.slack("expired_trigger_id"))
    reply = await relay.typed("", relay.ada)
    assert "/deploy owner/repo environment [ref]" in reply.text
    opened = len(relay.slack.views.opened)
    async with relay.world.timed(form_within=timedelta(0)):
        assert "in time" in (await relay.typed("", relay.ada)).text
    assert len(relay.slack.views.opened) == opened


async def test_status_shows_each_environment(relay: ActionWorld) -> None:
    relay.github.add_installation("acme", ["acme/quiet"])
    relay.github.add_collaborator("acme/quiet", "octocat", "write")
    reply = await relay.typed("status acme/quiet", relay.ada)
    assert "seen no deployment of acme/quiet" in reply.text
    quiet, sha = relay.github.repository("acme/quiet"), relay.sha()
    relay.world.execute(
        "insert into automatic_deployments (at, cause, repo, repo_id, installation_id, environment,"
        " sha, ref, login, login_id, from_deployment_id, deadline, skips_checks, state, reason)"
        " values (now(), 'push', 'acme/quiet', %s, 1, 'one', %s, 'refs/heads/main', 'octocat', 1,"
        " 0, now(), '', 'waiting', 'build <has> not ended')",
        quiet.id,
        sha,
    )
    awaited = (
        f"*one*: main @ {sha[:7]} is to be deployed automatically; build &lt;has&gt; not ended"
    )
    reply = await relay.typed("status acme/quiet", relay.ada)
    assert reply.text.splitlines()[1] == f"⏳ {awaited}"
    for environment, phase in (("one", "success"), ("two", "failure"), ("ONE", "in_progress")):
        relay.past_deployment(environment, phase, repo="acme/quiet", sha=sha, ref="v1")
    relay.past_deployment("three", "error", repo="acme/quiet", run='{"id": "7", "state": "error"}')
    reply = await relay.typed("status ACME/quiet", relay.ada)
    first, stopped, newest, other, automatic = reply.text.splitlines()
    assert first == "ACME/quiet:"
    assert awaited in automatic
    relay.world.execute("delete from automatic_deployments where repo_id = %s", quiet.id)
    assert stopped.startswith("🛑 *three*: stopped, ")
    assert newest.startswith(f"🔄 *ONE*: in progress, v1 @ {sha[:7]}, just now (<http")
    assert other.startswith(f"❌ *two*: failed, v1 @ {sha[:7]}, just now (<http")
    for number in range(25):
        relay.past_deployment(f"preview/{number}", "success", repo="acme/quiet")
    reply = await relay.typed("status acme/quiet", relay.ada)
    assert len(reply.text.splitlines()) == 22
    assert reply.text.endswith("and others, which were deployed to before these")


async def test_status_says_what_holds_an_environment_back_and_who_comes_next(
    relay: ActionWorld,
) -> None:
    relay.github.add_installation("acme", ["acme/busy"])
    relay.github.add_collaborator("acme/busy", "octocat", "write")
    await relay.world.idle()  # which asks what is open in the account again
    until = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)
    lock = Blocker(gate="lock", reason="Locked by bob", until=until, way_out="bob unlocks it")
    busy: dict[str, Any] = {"repo": "acme/busy", "ref": "v1"}
    running = relay.past_deployment(
        "live", "in_progress", started_at=datetime.now(UTC), run="{}", **busy
    )
    older = relay.past_deployment("Live", "queued", **busy)
    turn = Blocker(gate="serialization", reason=f"Waits for deployment {running} (v1) to end")
    blockers = Jsonb([lock.to_json(), turn.to_json()])
    for _ in range(4):
        relay.past_deployment("elsewhere", "queued", **busy)
    newest = relay.past_deployment("live", "queued", blockers=blockers, **busy)
    reply = await relay.typed("status acme/busy", relay.ada)
    _, state, first, second, queue, _, elsewhere = reply.text.splitlines()
    assert state.startswith("⏸️ *live*: on hold, v1 @ ")
    date = f"<!date^{int(until.timestamp())}^{{date_short_pretty}} at {{time}}|"
    assert first.startswith(f"• Locked by bob  ·  until {date}Sat 28 Nov 2026, 05:00 UTC>")
    assert first.endswith("·  bob unlocks it")
    assert second == f"• Waits for deployment {running} (v1) to end  ·  no known end"
    plain = re.sub(r"<[^|]*\|(\d+)>", r"\1", queue)
    assert elsewhere.startswith("Queue: 1st of 4 v1")
    assert elsewhere.endswith("), and 1 more")
    assert plain == f"Queue: running v1 ({running}), 1st of 2 v1 ({newest}), 2nd of 2 v1 ({older})"


async def test_anybody_gets_help(relay: ActionWorld) -> None:
    reply = await relay.typed("help", relay.eve)
    assert "/deploy owner/repo environment [ref]" in reply.text


async def test_the_audit_names_person_action_and_result(
    relay: ActionWorld,
) -> None:
    failed = relay.past_deployment("broken/audit")
    await relay.press("retry", failed, relay.bob)
    await relay.press("retry", failed, relay.eve)
    with connect(relay.world.store_url) as connection:
        rejected, done = actions.newest(connection, 2)
    [new] = relay.created("broken/audit")
    assert (done.login, done.slack_name, done.slack_user) == ("hubot", "bob", relay.bob.id)
    assert (done.kind, done.deployment_id, done.created_deployment_id) == ("retry", failed, new.id)
    assert (done.outcome, done.message) == ("done", "Retry, requested in Slack")
    assert (rejected.login, rejected.slack_name, rejected.outcome) == ("", "eve", "refused")
    assert (rejected.repo, rejected.environment) == ("acme/site", "broken/audit")
