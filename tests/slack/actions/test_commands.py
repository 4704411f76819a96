"""What people type in Slack, or fill into the form, is deployed once they may and are sure."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.slack.model import User
from sandbox.slack.views import View
from tests.slack.actions.acting import CREATE, Answering, answering
from webhook.store import actions
from webhook.store.database import connect

__all__ = ["answering"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def opened(answering: Answering, text: str, user: User) -> View:
    assert not (await answering.slack.command("/deploy", text, user)).error
    await answering.until_action(lambda row: row["reply"] is None)
    return answering.slack.views.newest(user.id)


async def submitted(answering: Answering, view: View, user: User, **values: str) -> str:
    """What that person is told; nothing while the form has faults."""
    before = len(answering.whispers(user))
    answer = await answering.slack.submit(view, values, user)
    assert not answer.error
    if view.open:
        return ""
    return (await answering.whispered(user, before))[0].text


async def confirmed(answering: Answering, place: Any, user: User) -> dict[str, Any]:
    """The action that came of pressing the button of a question."""
    last = answering.action()["id"]
    await answering.slack.press(place, "deploy", user)
    return await answering.until_action(lambda row: row["id"] > last and row["reply"] is None)


async def test_a_command_deploys_what_it_says(answering: Answering) -> None:
    told = await answering.typed("acme/site STAGE/typed v2", answering.ada)
    [made] = answering.made("STAGE/typed")
    assert told.text.startswith("Deploying v2 of acme/site to STAGE/typed. <http")
    assert (made.ref, made.task, made.production) == ("v2", "deploy", False)
    assert "Requested in Slack by octocat" in (made.description or "")
    assert f"/deployments/acme/site/{made.id}?key=" in told.text
    await answering.world.phase(made.id, "success")
    # The default branch, where nothing is said of one; the spelling is deploy.yml's.
    answering.github.repository("acme/site").default_branch = "trunk"
    told = await answering.typed("ACME/site Stage/typed", answering.bob)
    assert "Deploying trunk of ACME/site to Stage/typed" in told.text
    [made] = answering.made("Stage/typed")
    assert made.ref == "trunk"


async def test_production_waits_until_the_same_person_is_sure(answering: Answering) -> None:
    question = await answering.typed("acme/site Production v3", answering.ada)
    assert question.text == "Deploy *v3* of acme/site to *production*?"
    assert not answering.made("production")
    assert "confirm" not in answering.slack.button(question, "deploy")  # it is asked for once
    waiting = await answering.until_action(lambda row: row["reply"] is None)
    assert (waiting["outcome"], waiting["login"]) == ("waiting", "octocat")
    # Nobody else's press counts, wherever they have the button from.
    forged = answering.button("deploy", waiting["id"])
    refused = await confirmed(answering, forged, answering.bob)
    assert (refused["outcome"], refused["message"]) == (
        "refused",
        "Only the person who requested this may confirm it",
    )
    done = await confirmed(answering, question, answering.ada)
    [made] = answering.made("production")
    assert (done["outcome"], done["created_deployment_id"], done["login"]) == (
        "done",
        made.id,
        "octocat",
    )
    assert (done["repo"], done["environment"], done["ref"]) == ("acme/site", "production", "v3")
    assert (made.ref, made.production) == ("v3", True)
    # What was asked stands there no more, so that it cannot be confirmed twice.
    assert question.text.startswith("Deploying v3 of acme/site to production")
    assert not question.blocks
    there = answering.button("deploy", waiting["id"])
    again = await confirmed(answering, there, answering.ada)
    assert again["outcome"] == "refused"
    assert "You have confirmed this already" in answering.whispers(answering.ada)[-1].text
    assert there.blocks  # what stands there is not replaced
    assert len(answering.made("production")) == 1


async def test_a_question_is_not_answered_for_ever(answering: Answering) -> None:
    retries = (timedelta(seconds=0.1), timedelta(seconds=0.2))
    async with answering.world.timed(reply_retries_after=retries):
        answering.slack.faults.add("POST /response/*", Fault.status(500))  # it is asked once more
        question = await answering.typed("acme/site production v4", answering.ada)
        late = "update actions set at = at - interval '61 minutes' where id = %s returning 1"
        await asyncio.to_thread(answering.world.rows, late, answering.action()["id"])
        assert (await confirmed(answering, question, answering.ada))["outcome"] == "refused"
        assert "try again" in question.text


async def test_what_github_ends_late_is_found_and_not_asked_for_again(
    answering: Answering,
) -> None:
    lookups = tuple(timedelta(seconds=seconds) for seconds in (0.1, 2.0, 2.1))
    soon = timedelta(seconds=1)
    async with answering.world.timed(deployment_lookups_after=lookups, wait_announced_after=soon):
        answering.github.faults.add(CREATE, Fault.drop_before())
        asked = len(answering.github.called("POST", "/deployments"))
        before = len(answering.whispers(answering.ada))
        await answering.slack.command("/deploy", "acme/site stage/slow v6", answering.ada)
        row = await answering.until_action(lambda row: (row["lookups"] or 0) > 0)
        mark = f"(relay action {row['id']}-{row['key'][:8]})"
        late = await answering.github.create_deployment(
            "acme/site", "v6", environment="stage/slow", description=mark
        )
        late.by_app = True
        waits, done = await answering.whispered(answering.ada, before, 2)
        assert "keeps checking" in waits.text
        assert f"/{late.id}?" in done.text
        assert answering.made("stage/slow") == [late]
        assert len(answering.github.called("POST", "/deployments")) == asked + 1


async def test_that_github_asks_to_wait_is_said_once(answering: Answering) -> None:
    async with answering.world.timed(wait_announced_after=timedelta(0)):
        answering.github.faults.add(CREATE, Fault.rate_limited(1), times=2)
        before = len(answering.whispers(answering.bob))
        await answering.slack.command("/deploy", "acme/site stage/wait", answering.bob)
        waits, done = await answering.whispered(answering.bob, before, 2)
        assert re.match(
            r"GitHub asks to wait until \d\d:\d\d UTC; it will be done then", waits.text
        )
        assert done.text.startswith("Deploying")


async def test_what_github_said_of_somebody_holds_there_and_for_a_minute(
    answering: Answering,
) -> None:
    lisa = answering.slack.add_user("lisa", "lisa@acme.test")
    answering.github.add_user("lisa-gh", email="lisa@acme.test")
    answering.github.add_collaborator("acme/site", "lisa-gh", "read")
    answering.github.add_installation("acme", ["acme/hers"])
    answering.github.add_collaborator("acme/hers", "lisa-gh", "write")
    assert "may only read" in (await answering.typed("status acme/site", lisa)).text
    assert "seen no deployment" in (await answering.typed("status acme/hers", lisa)).text
    answering.github.add_collaborator("acme/site", "lisa-gh", "write")
    assert "may only read" in (await answering.typed("status acme/site", lisa)).text
    later = answering.world.timing.permission_cached + timedelta(seconds=1)
    with answering.world.clock.moved(later):
        assert "may only read" not in (await answering.typed("status acme/site", lisa)).text
        answering.github.add_collaborator("acme/site", "lisa-gh", "read")
    with answering.world.clock.moved(2 * later):
        assert "may only read" in (await answering.typed("status acme/site", lisa)).text


async def test_the_button_to_roll_back_stays_where_a_commit_was_deployed_again(
    answering: Answering,
) -> None:
    for ref in ("v1", "v2", "v2"):
        newest = await answering.world.deployed("stage/back", ref=ref)
    [message] = [m for m in answering.world.messages() if str(newest.id) in str(m.blocks)]
    button = answering.slack.button(message, "rollback")
    sha = answering.github.repository("acme/site").sha("v1")
    assert f"to v1 @ {sha[:7]}?" in button["confirm"]["text"]["text"]


async def test_a_workspace_without_a_token_may_ask_for_nothing(answering: Answering) -> None:
    there = answering.slack.add_workspace("Elsewhere").add_user("spy")
    answering.slack.workspace_of(there.team_id).add_channel("general")
    told = await answering.typed("status acme/site", there)
    assert "no valid token for this Slack workspace" in told.text


async def test_who_may_not_deploy_is_not_even_asked(answering: Answering) -> None:
    made = len(answering.github.deployments)
    told = await answering.typed("acme/site production", answering.rob)
    assert "reader may only read" in told.text
    told = await answering.typed("acme/site stage/x", answering.eve)
    assert "slack_users" in told.text
    told = await answering.typed("acme/other stage/x", answering.ada)
    assert "Either the App is not installed in acme/other" in told.text
    assert answering.action()["login"] == "octocat"
    told = await answering.typed("status acme/site", answering.rob)
    assert "reader may only read" in told.text
    assert len(answering.github.deployments) == made
    # What GitHub said counts for a minute.
    assert len(answering.github.called("GET", "/collaborators/reader/permission")) == 1


async def test_githubs_no_to_a_command_is_told(answering: Answering) -> None:
    for status, message, words in (
        (422, "No ref found for: <!channel>.", "422: No ref found for: &lt;!channel&gt;"),
        (403, "Resource not accessible by integration", "give the App Deployments: read and write"),
        (404, "Not Found", "Either the App is not installed in acme/site"),
        (410, "Gone", "takes no deployments any more"),
    ):
        answering.github.faults.add(CREATE, Fault.status(status, {"message": message}))
        told = await answering.typed("acme/site stage/x v9", answering.ada)
        assert told.text.startswith("Nothing was deployed. ")
        assert words in told.text
        assert ".." not in told.text


async def test_the_form_says_what_is_wrong_and_then_deploys(answering: Answering) -> None:
    view = await opened(answering, "acme/site", answering.ada)
    fields = {block["block_id"]: block for block in view.blocks}
    assert fields["repository"]["element"]["initial_value"] == "acme/site"
    options = fields["environment"]["element"]["options"]
    assert [option["value"] for option in options] == ["production"]
    assert "other_environment" in fields  # deploy.yml has patterns too
    said = await submitted(answering, view, answering.ada, other_environment="nowhere", ref="a b")
    assert not said
    assert "known: production" in view.errors["other_environment"]
    assert "not a branch" in view.errors["ref"]
    values = {"other_environment": "stage/form", "ref": "v5"}
    told = await submitted(answering, view, answering.ada, **values)
    [made] = answering.made("stage/form")
    assert "Deploying v5 of acme/site to stage/form" in told
    assert made.ref == "v5"


async def test_production_in_the_form_is_asked_for_once_more(answering: Answering) -> None:
    view = await opened(answering, "", answering.bob)
    answering.github.repository("acme/site").default_branch = "trunk"
    values = {"repository": "acme/site", "environment": "production"}
    asked = await submitted(answering, view, answering.bob, **values)
    assert asked == "Deploy *trunk* of acme/site to *production*?"


async def test_where_no_form_can_be_opened_it_is_said_how_to_do_without(
    answering: Answering,
) -> None:
    answering.slack.faults.add("POST /views.open", Fault.slack("expired_trigger_id"))
    told = await answering.typed("", answering.ada)
    assert "/deploy owner/repo environment [ref]" in told.text
    opened = len(answering.slack.views.opened)
    async with answering.world.timed(form_within=timedelta(0)):
        assert "in time" in (await answering.typed("", answering.ada)).text
    assert len(answering.slack.views.opened) == opened


async def test_status_says_where_each_environment_stands(answering: Answering) -> None:
    answering.github.add_installation("acme", ["acme/quiet"])
    answering.github.add_collaborator("acme/quiet", "octocat", "write")
    told = await answering.typed("status acme/quiet", answering.ada)
    assert "seen no deployment of acme/quiet" in told.text
    sha = answering.sha()
    for environment, phase in (("one", "success"), ("two", "failure"), ("ONE", "in_progress")):
        answering.had(environment, phase, repo="acme/quiet", sha=sha, ref="v1")
    answering.had("three", "error", repo="acme/quiet", run='{"id": "7", "state": "error"}')
    told = await answering.typed("status ACME/quiet", answering.ada)
    first, stopped, newest, other = told.text.splitlines()
    assert first == "ACME/quiet:"
    assert stopped.startswith("🛑 *three*: stopped, ")
    assert newest.startswith(f"🔄 *ONE*: in progress, v1 @ {sha[:7]}, just now (<http")
    assert other.startswith(f"❌ *two*: failed, v1 @ {sha[:7]}, just now (<http")
    for number in range(25):
        answering.had(f"preview/{number}", "success", repo="acme/quiet")
    told = await answering.typed("status acme/quiet", answering.ada)
    assert len(told.text.splitlines()) == 22
    assert told.text.endswith("and others, which were deployed to before these")


async def test_help_is_said_to_whoever_asks(answering: Answering) -> None:
    told = await answering.typed("help", answering.eve)
    assert "/deploy owner/repo environment [ref]" in told.text


async def test_the_audit_names_who_asked_for_what_and_what_came_of_it(
    answering: Answering,
) -> None:
    failed = answering.had("broken/audit")
    await answering.press("retry", failed, answering.bob)
    await answering.press("retry", failed, answering.eve)
    with connect(answering.world.store_url) as connection:
        refused, done = actions.newest(connection, 2)
    [made] = answering.made("broken/audit")
    assert (done.login, done.slack_name, done.slack_user) == ("hubot", "bob", answering.bob.id)
    assert (done.kind, done.deployment_id, done.created_deployment_id) == ("retry", failed, made.id)
    assert (done.outcome, done.message) == ("done", "Retry, requested in Slack")
    assert (refused.login, refused.slack_name, refused.outcome) == ("", "eve", "refused")
    assert (refused.repo, refused.environment) == ("acme/site", "broken/audit")
