"""Users, ephemeral messages and rate limits of the stand-in for Slack."""

from collections.abc import Awaitable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.slack.server import Slack


async def error_of(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def test_a_person_is_found_by_e_mail(slack: Slack, bot: AsyncWebClient) -> None:
    ada = slack.add_user("ada", "Ada@Acme.test")
    slack.add_user("bob", "bob@acme.test", confirmed=False)
    slack.add_user("eve", "eve@acme.test").deleted = True
    assert await error_of(bot.users_lookupByEmail(email="ada@acme.test")) == "missing_scope"
    slack.scopes |= {"users:read.email", "users:read"}
    user = (await bot.users_lookupByEmail(email="ada@acme.test"))["user"]
    assert (user["id"], user["team_id"], user["name"]) == (ada.id, slack.bot.team_id, "ada")
    assert user["profile"]["email"] == "Ada@Acme.test"
    assert user["is_email_confirmed"] is True
    unconfirmed = (await bot.users_lookupByEmail(email="bob@acme.test"))["user"]
    assert unconfirmed["is_email_confirmed"] is False
    for gone in ("eve@acme.test", "nobody@acme.test"):
        assert await error_of(bot.users_lookupByEmail(email=gone)) == "users_not_found"


async def test_an_address_is_shown_with_its_scope_only(slack: Slack, bot: AsyncWebClient) -> None:
    ada = slack.add_user("ada", "ada@acme.test")
    assert await error_of(bot.users_info(user=ada.id)) == "missing_scope"
    slack.scopes.add("users:read")
    assert "email" not in (await bot.users_info(user=ada.id))["user"]["profile"]
    slack.scopes.add("users:read.email")
    shown = (await bot.users_info(user=ada.id))["user"]
    assert (shown["profile"]["email"], shown["is_bot"]) == ("ada@acme.test", False)
    assert (await bot.users_info(user=slack.bot.user))["user"]["is_bot"] is True
    stranger = slack.add_workspace("Beta").add_user("zoe")
    assert await error_of(bot.users_info(user=stranger.id)) == "user_not_found"


async def test_an_ephemeral_message_is_for_one_person(slack: Slack, bot: AsyncWebClient) -> None:
    ada, channel = slack.add_user("ada"), slack.channel("deploys")
    response = await bot.chat_postEphemeral(channel=channel.id, user=ada.id, text="psst")
    [ephemeral] = channel.ephemeral_messages
    assert (ephemeral.user, ephemeral.text, ephemeral.ts) == (
        ada.id,
        "psst",
        response["message_ts"],
    )
    assert slack.ephemeral_messages == [ephemeral]
    assert slack.messages("deploys") == []
    missing = bot.chat_update(channel=channel.id, ts=ephemeral.ts, text="b")
    assert await error_of(missing) == "message_not_found"
    stranger = bot.chat_postEphemeral(channel=channel.id, user="U404", text="psst")
    assert await error_of(stranger) == "user_not_in_channel"
    strange = slack.add_channel("strange", member=False)
    outside = bot.chat_postEphemeral(channel=strange.id, user=ada.id, text="psst")
    assert await error_of(outside) == "not_in_channel"


async def test_a_private_channel_needs_scopes_of_its_own(slack: Slack, bot: AsyncWebClient) -> None:
    secret = slack.add_channel("secret", private=True)
    slack.scopes = {"channels:history", "channels:read"}
    assert await error_of(bot.conversations_history(channel=secret.id)) == "missing_scope"
    assert await error_of(bot.conversations_info(channel=secret.id)) == "missing_scope"
    slack.scopes = {"groups:history", "groups:read"}
    assert (await bot.conversations_history(channel=secret.id))["messages"] == []
    info = (await bot.conversations_info(channel=secret.id))["channel"]
    assert (info["is_private"], info["is_member"], info["name"]) == (True, True, "secret")


async def test_workspaces_are_separate(slack: Slack) -> None:
    beta = slack.add_workspace("Beta")
    beta.add_channel("deploys")
    foreign = slack.channel("deploys").id
    token = beta.add_token("xoxb-beta", ["chat:write", "channels:history"])
    bot = AsyncWebClient(token.value, base_url=slack.api_url, retry_handlers=[])
    posted = await bot.chat_postMessage(channel="deploys", text="a")
    assert [m.user for m in beta.messages("deploys")] == [beta.bot.user]
    assert await error_of(bot.chat_postMessage(channel=foreign, text="a")) == "channel_not_found"
    slack.auth_error = "account_inactive"
    assert (await bot.chat_update(channel=posted["channel"], ts=posted["ts"], text="b"))["ok"]


async def test_a_burst_is_accepted_and_the_next_call_is_not(
    slack: Slack, bot: AsyncWebClient
) -> None:
    slack.post_interval, slack.burst = 30, 3
    for number in range(3):
        await bot.chat_postMessage(channel="deploys", text=str(number))
    assert slack.rate_limited_calls == 0
    assert await error_of(bot.chat_postMessage(channel="deploys", text="3")) == "ratelimited"
    assert slack.rate_limited_calls == 1
    slack.add_channel("oncall")
    await bot.chat_postMessage(channel="oncall", text="has a post_interval of its own")


async def test_updates_have_a_rate_limit_for_the_workspace(
    slack: Slack, bot: AsyncWebClient
) -> None:
    slack.update_interval, slack.method_intervals = 60, {"auth.test": 60}
    first = await bot.chat_postMessage(channel="deploys", text="a")
    there = {"channel": first["channel"], "ts": first["ts"]}
    await bot.chat_update(**there, text="b")
    with pytest.raises(SlackApiError) as caught:
        await bot.chat_update(**there, text="c")
    assert caught.value.response.headers["Retry-After"] == "60"
    await bot.auth_test()
    assert await error_of(bot.auth_test()) == "ratelimited"
    assert slack.rate_limited_calls == 2
