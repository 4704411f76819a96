"""What Discord shows of a deployment, and what becomes of calls that go wrong."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sandbox.discord import Discord as Server
from sandbox.discord import Message as Shown
from sandbox.faults import Fault
from tests.notifiers.written import TIMEOUT, destinations, message, rejection
from tests.slack.blocks.test_limits import tellings
from tests.slack.blocks.test_message import HELD_BACK
from tests.slack.notices import APPROVALS, BEGIN, GITHUB, OVERRIDE, PAGE, RUNNING, SHA, a_changelog
from webhook.deployments.phases import Phase
from webhook.errors import Gone, Rejected, RetryAt, UnknownOutcome
from webhook.notifiers import http
from webhook.notifiers.contract import NotifierContext, Ref
from webhook.notifiers.discord import Discord, DiscordDestination

FAILED = replace(RUNNING, phase=Phase.FAILURE, seconds=192, description="exit code 1")
SUCCEEDED = replace(
    RUNNING, phase=Phase.SUCCESS, seconds=192, changelog=a_changelog(3, "Fix a race")
)
POST, PATCH = "POST /webhooks/*", "PATCH /webhooks/*"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as started:
        yield started


@pytest.fixture
def url(server: Server) -> str:
    return server.add_webhook("deploys")


@pytest.fixture
def discord(url: str, context: NotifierContext) -> Discord:
    return Discord(DiscordDestination(url=url), context)


def embed(shown: Shown) -> dict[str, Any]:
    [one] = shown.embeds
    return one


async def test_a_message_shows_ref_environment_creator_and_state(
    server: Server, discord: Discord
) -> None:
    await discord.send(message(SUCCEEDED), "7:main")
    [shown] = server.posted("deploys")
    assert embed(shown)["title"] == "✅ acme/site to production succeeded in 3m12s"
    assert embed(shown)["url"] == PAGE
    assert datetime.fromisoformat(embed(shown)["timestamp"]) == BEGIN
    assert {one["name"]: one["value"] for one in embed(shown)["fields"]} == {
        "Version": f"[v1.3]({GITHUB}/tree/v1.3) @ [4f2c9d1]({GITHUB}/commit/{SHA})",
        "Requested by": "octocat",
        "Tool": "[Drone CI](https://drone.acme.io/acme/site/41)",
        "Changes": f"[Deploys 3 commits]({SUCCEEDED.compare_url})\n"
        f"• [1bc1234]({GITHUB}/commit/1bc1234) Fix a race",
    }
    assert shown.username == "Deployments"


async def test_it_is_edited_while_the_deployment_is_in_progress(
    server: Server, discord: Discord
) -> None:
    ref = await discord.send(message(RUNNING), "7:main")
    assert Ref.from_json(ref.to_json()) == ref
    before = embed(server.posted("deploys")[0])["color"]
    await discord.edit(ref, message(FAILED), "7:main")
    [shown] = server.posted("deploys")
    assert shown.edits == 1
    assert embed(shown)["title"] == "❌ acme/site to production failed after 3m12s"
    assert embed(shown)["description"] == "exit code 1"
    assert embed(shown)["color"] != before


async def test_plain_text_becomes_an_embed_again(server: Server, discord: Discord) -> None:
    text = "@everyone **b** " + "🚀" * 3000
    plain = message(replace(FAILED, description=text), plain=True)
    ref = await discord.send(plain, "7:main")
    [shown] = server.posted("deploys")
    assert (shown.embeds, shown.pings) == ([], [])
    assert shown.content.startswith(
        "❌ acme/site to production failed after 3m12s\n\\@everyone \\*"
    )
    assert shown.content.endswith(PAGE)
    await discord.edit(ref, message(FAILED), "7:main")
    assert shown.content == ""
    assert embed(shown)["description"] == "exit code 1"


async def test_a_failure_goes_to_the_webhook_for_failures(
    server: Server, url: str, context: NotifierContext
) -> None:
    failures = server.add_webhook("oncall")
    discord = Discord(DiscordDestination(url=url, failures=failures), context)
    await discord.send(message(FAILED, "alert"), "7:alert")
    assert [len(server.posted(one)) for one in ("deploys", "oncall")] == [0, 1]


async def test_it_may_be_in_a_thread_and_from_somebody(
    server: Server, url: str, context: NotifierContext
) -> None:
    thread = server.add_thread("deploys")
    kept = DiscordDestination(url=url, thread_id=thread, username="Relay")
    discord = Discord(kept, context)
    ref = await discord.send(message(RUNNING), "7:main")
    await Discord(DiscordDestination(url=url), context).edit(ref, message(FAILED), "7:main")
    [shown] = server.posted("deploys")
    assert (shown.thread, shown.username, shown.edits) == (thread, "Relay", 1)


async def test_text_from_outside_notifies_nobody_formats_nothing_and_links_nowhere(
    server: Server, discord: Discord
) -> None:
    text = "@everyone <@1> **b** _i_ `c` [x](https://evil.test) ||s|| \\ # <#1> <:a:1>"
    notice = replace(RUNNING, description=text, ref=text, repo_url="javascript:alert(1)")
    await discord.send(message(notice), "7:main")
    [shown] = server.posted("deploys")
    assert shown.pings == []
    assert embed(shown)["description"] == (
        r"\@everyone \<\@1> \*\*b\*\* \_i\_ \`c\` \[x\](https\://evil.test) \|\|s\|\| \\ # \<#1>"
        r" \<\:a\:1>"
    )
    assert "](javascript" not in shown.text
    start = replace(RUNNING, description="# no heading")
    await discord.send(message(start), "8:main")
    assert embed(server.posted("deploys")[1])["description"] == r"\# no heading"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notice=tellings)
async def test_discord_accepts_any_name_of_a_deployment(
    discord: Discord, server: Server, notice: Any
) -> None:
    ref = await discord.send(message(notice), "7:main")
    await discord.edit(ref, message(notice), "7:main")
    assert server.messages[ref["message_id"]].pings == []


async def test_very_long_texts_are_cut(discord: Discord, server: Server) -> None:
    long = "🚀_" * 5000
    notice = replace(
        SUCCEEDED,
        repo=long,
        ref=long,
        description=long,
        tool=long,
        requested_by=long,
        task=long,
        environment=long,
        changelog=a_changelog(300, *[long] * 300),
    )
    await discord.send(message(notice), "7:main")
    [shown] = server.posted("deploys")
    assert "…" in embed(shown)["title"]
    assert not any(one["value"].endswith("\\") for one in embed(shown)["fields"])


def test_messages_that_read_the_same_have_the_same_digest(discord: Discord) -> None:
    assert discord.digest(message(RUNNING)) == discord.digest(message(replace(RUNNING)))
    assert discord.digest(message(RUNNING)) != discord.digest(message(FAILED))


async def test_a_lost_message_is_not_to_be_found(discord: Discord) -> None:
    ref = await discord.send(message(RUNNING), "7:main")
    assert ref
    assert await discord.find(message(RUNNING), "7:main", BEGIN) is None


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "of another webhook"])
async def test_a_message_that_is_not_there_any_more_is_gone(
    server: Server, discord: Discord, context: NotifierContext, deleted: bool
) -> None:
    ref = await discord.send(message(RUNNING), "7:main")
    if deleted:
        server.messages.clear()
    else:
        discord = Discord(DiscordDestination(url=server.add_webhook("other")), context)
    with pytest.raises(Gone):
        await discord.edit(ref, message(FAILED), "7:main")


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Server.rate_limit(1.5), 1.5),
        (Server.rate_limit(0.001), http.SHORTEST_WAIT),
        (Server.rate_limit(1e9), http.LONGEST_WAIT),
        (Fault(status_code=429, headers={"Retry-After": "7"}, body="<html>"), 7),
        (Fault(status_code=429, headers={"Retry-After": "soon"}, body=[]), http.USUAL_WAIT),
        (Fault(status_code=429), http.USUAL_WAIT),
    ],
)
@pytest.mark.parametrize("method", ["send", "edit"])
async def test_a_rate_limit_includes_when_to_retry(
    server: Server, discord: Discord, fault: Fault, seconds: float, method: str
) -> None:
    ref = await discord.send(message(RUNNING), "7:main")
    server.faults.add(POST if method == "send" else PATCH, fault)
    with pytest.raises(RetryAt) as caught:
        await act(discord, method, ref)
    wait = (caught.value.at - datetime.now(UTC)).total_seconds()
    assert seconds - 5 < wait <= seconds


async def act(discord: Discord, method: str, ref: Ref) -> None:
    if method == "send":
        await discord.send(message(RUNNING), "8:main")
    else:
        await discord.edit(ref, message(FAILED), "7:main")


async def test_discords_own_limit_is_heeded(url: str, context: NotifierContext) -> None:
    async with Server(limited=True) as strict:
        discord = Discord(DiscordDestination(url=strict.add_webhook("deploys")), context)
        for number in range(5):
            await discord.send(message(RUNNING), f"{number}:main")
        with pytest.raises(RetryAt) as caught:
            await discord.send(message(RUNNING), "5:main")
        assert caught.value.at < datetime.now(UTC) + timedelta(seconds=2)
        assert len(strict.messages) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(500, acts=True),
        Fault.status(503),
        Fault.drop_after(),
        Fault.drop_before(),
        Fault.hang(TIMEOUT + 1),
        Fault(status_code=200, body={}),
        Fault(status_code=200, body="<html>"),
    ],
)
async def test_without_a_clear_response_it_may_have_been_posted(
    server: Server, discord: Discord, fault: Fault
) -> None:
    server.faults.add(POST, fault)
    with pytest.raises(UnknownOutcome):
        await discord.send(message(RUNNING), "7:main")


async def test_a_refused_connection_posts_nothing(context: NotifierContext) -> None:
    discord = Discord(DiscordDestination(url="http://127.0.0.1:9/api/webhooks/1/secret"), context)
    with pytest.raises(RetryAt, match=r"Discord cannot be reached"):
        await discord.send(message(RUNNING), "7:main")


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"token": "wrong"}, "the webhook's URL is not right; copy it in Discord"),
        ({"id": "1"}, "the webhook was deleted; copy the URL of another one"),
        ({"thread_id": "12"}, "`thread_id` is no thread of the webhook's channel"),
    ],
)
async def test_a_rejection_has_a_remedy_and_not_the_url(
    url: str, context: NotifierContext, change: dict[str, str], remedy: str
) -> None:
    start, id_, token = url.rsplit("/", 2)
    given = "/".join([start, change.get("id", id_), change.get("token", token)])
    discord = Discord(DiscordDestination(url=given, thread_id=change.get("thread_id")), context)
    with pytest.raises(Rejected) as caught:
        await discord.send(message(RUNNING), "7:main")
    assert remedy in str(caught.value)
    assert not isinstance(caught.value, Gone)
    assert token not in str(caught.value)


async def test_a_redirect_is_not_followed(server: Server, discord: Discord) -> None:
    away = Fault(status_code=307, headers={"Location": "http://127.0.0.1:9/"}, body={})
    server.faults.add(POST, away)
    with pytest.raises(Rejected, match="HTTP 307"):
        await discord.send(message(RUNNING), "7:main")


async def test_no_error_shows_the_url(
    server: Server, discord: Discord, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = url.rpartition("/")[2]
    for fault in (Fault.status(500), Fault.status(404), Fault.drop_before(), Fault.status(400)):
        server.faults.add(POST, fault)
        with pytest.raises((UnknownOutcome, Rejected)) as caught:
            await discord.send(message(RUNNING), "7:main")
        # Neither what it is raised from is shown, which may have it.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert token not in repr(caught.value)
    assert token not in caplog.text
    assert token not in repr(DiscordDestination(url=url, failures=url))


# -- deploy.yml ----------------------------------------------------------------------------------

URL = "https://discord.com/api/webhooks/1100000000000000001/a-Token_1"
OTHER = "https://discord.com/api/v10/webhooks/1100000000000000002/b"


def test_deploy_yml_names_the_webhook_by_its_variable() -> None:
    own = '{url: "${HOOK}", thread_id: "12", username: Relay, only: failures, repos: [acme/*]}'
    [one] = destinations("discord", own, HOOK=URL)
    assert (one.url, one.thread_id, one.username) == (URL, "12", "Relay")
    assert one.accepts(Phase.FAILURE)
    assert not one.accepts(Phase.SUCCESS)
    assert one.covers("acme/shop")
    assert not one.covers("other/shop")


def test_its_name_distinguishes_destinations_and_holds_no_secret() -> None:
    one = DiscordDestination(url=URL, failures=OTHER)
    assert one.name(URL) == "1100000000000000001"
    assert one.name(OTHER) == "1100000000000000002"
    assert DiscordDestination(url=URL, thread_id="12").name(URL) == "1100000000000000001/12"


@pytest.mark.parametrize(
    ("own", "url", "failures"),
    [
        ("{states: [error]}", URL, OTHER),
        ("{failures: none}", URL, None),
        ("{url: none}", None, OTHER),
    ],
)
def test_an_environment_inherits_what_it_leaves_out(
    own: str, url: str | None, failures: str | None
) -> None:
    default = f"{{url: {URL}, failures: {OTHER}, states: [success]}}"
    [one] = destinations("discord", own, default)
    assert (one.url, one.failures) == (url, failures)
    assert destinations("discord", "[]", default) == []


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ("{url: 'https://discord.com/channels/1/2'}", "url: is not the URL of a Discord webhook"),
        ("{url: ''}", "url: is not the URL of a Discord webhook"),
        ("{url: }", 'url: is empty; write "${NAME}" of a variable, or none'),
        ("{thread_id: general}", "thread_id: 'general' is not an ID"),
        ("{thread_id: 12}", "thread_id: must be text"),
        ("{username: 'clyde'}", "username: 'clyde' is not a name that Discord takes"),
        ("{chanel: x}", "chanel: is not a key; known here: failures, only, repos, states,"),
        ("x", 'must have keys with values, as in {url: "${DISCORD_WEBHOOK}"}'),
        ("null", 'is empty; write {url: "${DISCORD_WEBHOOK}"}, [] for nobody'),
        ("{only: failures, states: [error]}", "has both only and states"),
    ],
)
def test_an_error_explains_what_to_write(own: str, fault: str) -> None:
    assert rejection("discord", own).removeprefix("envs[0].discord").lstrip(".: ").startswith(fault)


def test_a_url_that_is_wrong_is_not_repeated() -> None:
    assert "secret" not in rejection("discord", "{url: 'https://discord.test/secret'}")


async def test_what_holds_it_back_has_a_line_until_when_and_the_way_out(
    server: Server, discord: Discord
) -> None:
    await discord.send(message(HELD_BACK), "7:main")
    [shown] = server.posted("deploys")
    assert embed(shown)["title"] == "⏸️ acme/site to production on hold"
    assert embed(shown)["description"].splitlines() == [
        r"• Locked by ada\: the database \<!here> · until <t:1795410000:f>"
        r" · Whoever may write unlocks it\: /deploy unlock acme/site production",
        "• Waits for deployment 6 (main) to end · no known end",
    ]
    long = replace(HELD_BACK.blockers[0], reason="Locked: " + "_" * 900, way_out="Ask " * 300)
    await discord.send(message(replace(HELD_BACK, blockers=(long,) * 6)), "8:main")
    lines = embed(server.posted("deploys")[1])["description"].splitlines()
    assert len(lines) == 6
    assert all("• Locked" in one and "<t:1795410000:f> · Ask" in one for one in lines)
    many = replace(HELD_BACK, blockers=HELD_BACK.blockers * 50)
    await discord.send(message(many), "9:main")  # the server checks its limits


async def test_who_answered_when_and_why_is_a_field(server: Server, discord: Discord) -> None:
    await discord.send(message(replace(RUNNING, approvals=APPROVALS)), "7:main")
    [shown] = server.posted("deploys")
    [field] = [one for one in embed(shown)["fields"] if one["name"] == "Approvals"]
    assert field["value"].splitlines() == [
        "👍 ada, <t:1795316645:f>",
        r"👎 bob\_, <t:1795316765:f>: \*No\* \<!here>",
    ]
    many = replace(RUNNING, approvals=APPROVALS * 50, overrides=(OVERRIDE,) * 50)
    await discord.send(message(many), "8:main")  # the server checks its limits
    fields = {one["name"]: one["value"] for one in embed(server.posted("deploys")[1])["fields"]}
    assert fields["Overrides"].splitlines()[0] == (
        r"🚨 ada\_ overrode lock, approval, <t:1795316645:f>: \*Down\* \<!here>"
    )
