"""The stand-in for Slack, as slack_sdk uses it."""

from collections.abc import Awaitable
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import HeaderBlock, SectionBlock
from slack_sdk.models.metadata import Metadata
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.slack.model import Restriction
from sandbox.slack.server import Slack

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}


async def rejected(call: Awaitable[Any]) -> dict[str, Any]:
    with pytest.raises(SlackApiError) as caught:
        await call
    response = caught.value.response
    assert response.status_code == 200
    assert response["ok"] is False
    return dict(response.data)


async def test_the_bot_learns_who_it_is(slack: Slack, bot: AsyncWebClient) -> None:
    response = await bot.auth_test()
    assert (response["team"], response["user_id"]) == ("Acme", slack.bot.user)
    assert "chat:write" in response.headers["x-oauth-scopes"]


@pytest.mark.parametrize("name", ["#deploys", "deploys", "C00000001"])
async def test_a_channel_is_found_by_three_names_and_returned_by_id(
    slack: Slack, bot: AsyncWebClient, name: str
) -> None:
    response = await bot.chat_postMessage(channel=name, text="hello")
    assert response["channel"] == "C00000001"
    assert response["message"]["bot_id"] == slack.bot.id
    [message] = slack.messages("deploys")
    assert (message.ts, message.text) == (response["ts"], "hello")


async def test_blocks_of_slack_sdk_are_accepted(slack: Slack, bot: AsyncWebClient) -> None:
    blocks = [HeaderBlock(text="Deploy"), SectionBlock(text="*web*")]
    await bot.chat_postMessage(channel="deploys", text="web", blocks=blocks)
    assert [b["type"] for b in slack.messages("deploys")[0].blocks] == ["header", "section"]


async def test_a_form_is_accepted_like_json(slack: Slack, session: aiohttp.ClientSession) -> None:
    form = {
        "token": slack.token,
        "channel": "deploys",
        "text": "hello",
        "blocks": '[{"type": "divider"}]',
        "reply_broadcast": "false",
    }
    async with session.post(slack.api_url + "chat.postMessage", data=form) as response:
        assert (await response.json())["ok"] is True
    assert slack.messages("deploys")[0].blocks == [{"type": "divider"}]


async def test_an_update_keeps_the_earlier_version(slack: Slack, bot: AsyncWebClient) -> None:
    changed: list[str] = []
    slack.on_change.append(lambda _, message: changed.append(message.text))
    first = await bot.chat_postMessage(channel="deploys", text="one", blocks=[SECTION])
    response = await bot.chat_update(
        channel=first["channel"], ts=first["ts"], text="two", blocks=[{"type": "divider"}]
    )
    [message] = slack.messages("deploys")
    assert (response["ts"], message.edits, message.text) == (first["ts"], 1, "two")
    assert (message.versions[0].text, message.versions[0].blocks) == ("one", [SECTION])
    assert response["message"]["edited"]["user"] == slack.bot.user
    assert changed == ["one", "two"]


async def test_an_update_with_text_alone_removes_the_blocks(
    slack: Slack, bot: AsyncWebClient
) -> None:
    first = await bot.chat_postMessage(channel="deploys", text="one", blocks=[SECTION])
    await bot.chat_update(channel=first["channel"], ts=first["ts"], text="two")
    assert slack.messages("deploys")[0].blocks == []


async def test_a_thread_is_read_apart_from_the_history(slack: Slack, bot: AsyncWebClient) -> None:
    parent = await bot.chat_postMessage(channel="deploys", text="parent")
    at, channel = parent["ts"], parent["channel"]
    await bot.chat_postMessage(channel=channel, text="quiet", thread_ts=at)
    await bot.chat_postMessage(channel=channel, text="loud", thread_ts=at, reply_broadcast=True)
    history = (await bot.conversations_history(channel=channel))["messages"]
    assert [m["text"] for m in history] == ["loud", "parent"]
    assert history[0]["subtype"] == "thread_broadcast"
    assert history[1]["reply_count"] == 2
    replies = (await bot.conversations_replies(channel=channel, ts=at))["messages"]
    assert [m["text"] for m in replies] == ["parent", "quiet", "loud"]
    assert {m["thread_ts"] for m in replies} == {at}


async def test_an_update_can_broadcast_a_reply(slack: Slack, bot: AsyncWebClient) -> None:
    parent = await bot.chat_postMessage(channel="deploys", text="parent")
    channel = parent["channel"]
    reply = await bot.chat_postMessage(channel=channel, text="r", thread_ts=parent["ts"])
    await bot.chat_update(channel=channel, ts=reply["ts"], text="R", reply_broadcast=True)
    assert slack.messages("deploys")[1].broadcast


async def test_metadata_is_kept_and_shown_on_request(slack: Slack, bot: AsyncWebClient) -> None:
    metadata = Metadata("deployment", {"id": 7})
    posted = await bot.chat_postMessage(channel="deploys", text="a", metadata=metadata)
    channel = posted["channel"]
    await bot.chat_update(channel=channel, ts=posted["ts"], text="b")
    bare = await bot.conversations_history(channel=channel)
    full = await bot.conversations_history(channel=channel, include_all_metadata=True)
    assert "metadata" not in bare["messages"][0]
    expected = {"event_type": "deployment", "event_payload": {"id": 7}}
    assert full["messages"][0]["metadata"] == slack.messages(channel)[0].metadata == expected


async def test_history_has_ends_and_pages(slack: Slack, bot: AsyncWebClient) -> None:
    posted = [slack.add_message("deploys", str(n)) for n in range(5)]
    channel = slack.channel("deploys").id

    async def texts(**query: Any) -> str:
        pages = await bot.conversations_history(channel=channel, **query)
        return " ".join([m["text"] async for page in pages for m in page["messages"]])

    ends = {"oldest": posted[1].ts, "latest": posted[3].ts}
    assert await texts(**ends) == "2"
    assert await texts(**ends, inclusive=True) == "3 2 1"
    assert await texts(limit=2) == "4 3 2 1 0"
    first = await bot.conversations_history(channel=channel, limit=2)
    assert first["has_more"] is True
    assert len(first["messages"]) == 2


async def test_a_message_has_a_permalink(slack: Slack, bot: AsyncWebClient) -> None:
    posted = await bot.chat_postMessage(channel="deploys", text="a")
    response = await bot.chat_getPermalink(channel=posted["channel"], message_ts=posted["ts"])
    assert response["permalink"].endswith("/p" + posted["ts"].replace(".", ""))


@pytest.mark.parametrize("error", ["account_inactive", "token_revoked", "token_expired"])
async def test_a_token_can_have_an_authentication_error(
    slack: Slack, bot: AsyncWebClient, error: str
) -> None:
    slack.auth_error = error
    assert (await rejected(bot.auth_test()))["error"] == error


async def test_a_wrong_token_and_a_missing_one_have_different_errors(
    slack: Slack, session: aiohttp.ClientSession
) -> None:
    wrong = AsyncWebClient("xoxb-other", base_url=slack.api_url)
    assert (await rejected(wrong.auth_test()))["error"] == "invalid_auth"
    async with session.post(slack.api_url + "auth.test") as response:
        assert (await response.json())["error"] == "not_authed"


async def test_a_missing_scope_is_named(slack: Slack, bot: AsyncWebClient) -> None:
    slack.scopes = {"commands"}
    response = await rejected(bot.chat_postMessage(channel="deploys", text="a"))
    assert (response["error"], response["needed"]) == ("missing_scope", "chat:write")
    assert response["provided"] == "commands"
    history = await rejected(bot.conversations_history(channel="C00000001"))
    assert history["needed"] == "channels:history"


Post = dict[str, Any]
LONG = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}


@pytest.mark.parametrize(
    ("post", "error"),
    [
        ({"channel": "#nowhere"}, "channel_not_found"),
        ({"channel": ""}, "invalid_arguments"),
        ({"channel": "old"}, "is_archived"),
        ({"channel": "strange"}, "not_in_channel"),
        ({"channel": "secret"}, "channel_not_found"),
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": "nonsense"}, "invalid_blocks_format"),
        ({"blocks": [LONG] * 4}, "msg_blocks_too_long"),
        ({"thread_ts": "1.000001"}, "thread_not_found"),
        ({"metadata": {"event_type": "a"}}, "invalid_metadata_schema"),
        ({"metadata": "a"}, "invalid_metadata_format"),
    ],
)
async def test_a_wrong_message_is_rejected(
    slack: Slack, bot: AsyncWebClient, post: Post, error: str
) -> None:
    slack.add_channel("old", archived=True)
    slack.add_channel("strange", member=False)
    slack.add_channel("secret", member=False, private=True)
    slack.scopes.discard("chat:write.public")
    message = {"channel": "deploys", "text": "a"} | post
    assert (await rejected(bot.api_call("chat.postMessage", json=message)))["error"] == error
    assert slack.messages("deploys") == []


async def test_wrong_blocks_are_rejected_with_a_json_pointer(bot: AsyncWebClient) -> None:
    blocks = [SECTION, {"type": "header", "text": {"type": "mrkdwn", "text": "a"}}]
    response = await rejected(bot.chat_postMessage(channel="deploys", text="a", blocks=blocks))
    assert response["error"] == "invalid_blocks"
    [text] = response["response_metadata"]["messages"]
    assert text == "[ERROR] unsupported type: mrkdwn [json-pointer:/blocks/1/text]"


async def test_blocks_can_become_unsupported(slack: Slack, bot: AsyncWebClient) -> None:
    slack.unsupported_blocks = {"section"}
    response = await rejected(bot.chat_postMessage(channel="deploys", text="a", blocks=[SECTION]))
    [text] = response["response_metadata"]["messages"]
    assert text == "[ERROR] unsupported type: section [json-pointer:/blocks/0/type]"
    await bot.chat_postMessage(channel="deploys", text="a")


@pytest.mark.parametrize(
    ("restriction", "rejects_messages", "rejects_replies"),
    [
        ("read_only_channel", True, True),
        ("thread_only_channel", True, False),
        ("non_threadable_channel", False, True),
    ],
)
async def test_admins_restrict_a_channel(
    slack: Slack,
    bot: AsyncWebClient,
    restriction: Restriction,
    rejects_messages: bool,
    rejects_replies: bool,
) -> None:
    parent = slack.add_message("deploys", "a").ts
    slack.channel("deploys").restriction = restriction
    for thread_ts, rejects in ((None, rejects_messages), (parent, rejects_replies)):
        call = bot.chat_postMessage(channel="deploys", text="b", thread_ts=thread_ts)
        if rejects:
            assert (await rejected(call))["error"] == f"restricted_action_{restriction}"
        else:
            await call


async def test_a_thread_may_be_locked_or_impossible(slack: Slack, bot: AsyncWebClient) -> None:
    parent = slack.add_message("deploys", "a")
    parent.thread = "locked"
    reply = bot.chat_postMessage(channel="deploys", text="b", thread_ts=parent.ts)
    assert (await rejected(reply))["error"] == "restricted_action_thread_locked"
    parent.thread = "impossible"
    reply = bot.chat_postMessage(channel="deploys", text="b", thread_ts=parent.ts)
    assert (await rejected(reply))["error"] == "cannot_reply_to_message"


async def test_a_public_channel_needs_no_invitation_with_the_scope(
    slack: Slack, bot: AsyncWebClient
) -> None:
    strange = slack.add_channel("strange", member=False)
    await bot.chat_postMessage(channel="strange", text="a")
    assert len(slack.messages("strange")) == 1
    response = await rejected(bot.conversations_history(channel=strange.id))
    assert response["error"] == "not_in_channel"


async def test_a_reply_cannot_be_a_parent(slack: Slack, bot: AsyncWebClient) -> None:
    parent = slack.add_message("deploys", "a")
    reply = slack.add_message("deploys", "b", thread_ts=parent.ts)
    call = bot.chat_postMessage(channel="deploys", text="c", thread_ts=reply.ts)
    assert (await rejected(call))["error"] == "thread_not_found"


async def test_a_wrong_update_is_rejected(slack: Slack, bot: AsyncWebClient) -> None:
    channel = slack.channel("deploys").id
    foreign = slack.add_message("deploys", "human").ts
    own = (await bot.chat_postMessage(channel=channel, text="a"))["ts"]

    async def error(**update: str) -> str:
        arguments = {"channel": channel, "ts": own, "text": "b"} | update
        return str((await rejected(bot.api_call("chat.update", json=arguments)))["error"])

    assert await error(ts="1.000001") == "message_not_found"
    assert await error(ts=foreign) == "cant_update_message"
    assert await error(text="x" * 4001) == "msg_too_long"
    assert await error(text="") == "no_text"
    # chat.postMessage takes a name, chat.update does not.
    assert await error(channel="#deploys") == "channel_not_found"
    slack.channel("deploys").archived = True
    assert await error() == "is_archived"
    assert slack.messages("deploys")[1].edits == 0


async def test_an_unknown_method_is_rejected(bot: AsyncWebClient) -> None:
    assert (await rejected(bot.api_call("chat.shout")))["error"] == "unknown_method"


async def test_a_wrong_page_is_rejected(slack: Slack, bot: AsyncWebClient) -> None:
    channel = slack.channel("deploys").id
    for query, error in (({"limit": 1000}, "invalid_limit"), ({"cursor": "x"}, "invalid_cursor")):
        call = bot.api_call("conversations.history", params={"channel": channel, **query})
        assert (await rejected(call))["error"] == error


async def test_a_channel_can_have_a_rate_limit(slack: Slack, bot: AsyncWebClient) -> None:
    slack.post_interval = 60
    slack.add_channel("oncall")
    await bot.chat_postMessage(channel="deploys", text="a")
    await bot.chat_postMessage(channel="oncall", text="a")
    with pytest.raises(SlackApiError, match="ratelimited") as caught:
        await bot.chat_postMessage(channel="deploys", text="b")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "60"
    assert slack.rate_limited_calls == 1


async def test_the_page_shows_messages_escaped(
    slack: Slack, bot: AsyncWebClient, session: aiohttp.ClientSession
) -> None:
    posted = await bot.chat_postMessage(channel="deploys", text="&lt;script&gt; of *web*")
    slack.add_message("deploys", "reply", thread_ts=posted["ts"])
    async with session.get(slack.url) as response:
        page = await response.text()
    assert response.content_type == "text/html"
    assert "#deploys" in page
    assert "&lt;script&gt; of web" in page
    assert 'class="reply"' in page
