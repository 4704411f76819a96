"""Channels of the stand-in for Slack, as a browser gets them."""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.slack.markup import Markups
from sandbox.slack.model import User
from sandbox.slack.server import Slack
from tests.sandbox.slack_receiver import Receiver

TITLE = {"type": "plain_text", "text": "Deploy"}
MENU = {
    "type": "static_select",
    "options": [
        {"text": {"type": "plain_text", "text": name.title()}, "value": name}
        for name in ("staging", "production")
    ],
}
VIEW: dict[str, Any] = {
    "type": "modal",
    "title": TITLE,
    "submit": TITLE,
    "blocks": [
        {"type": "input", "block_id": "env", "label": TITLE, "element": MENU},
        {
            "type": "input",
            "block_id": "ref",
            "label": {"type": "plain_text", "text": "Ref"},
            "optional": True,
            "element": {"type": "plain_text_input", "initial_value": "v1"},
        },
    ],
}


@pytest.fixture
async def app(slack: Slack) -> AsyncIterator[Receiver]:
    async with Receiver(slack) as receiver:
        yield receiver


@pytest.fixture
def ada(slack: Slack) -> User:
    slack.add_user("bob")
    return slack.add_user("ada")


@pytest.fixture
async def browser(slack: Slack, ada: User) -> AsyncIterator[aiohttp.ClientSession]:
    """Of ada."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as opened:
        url = f"{slack.url}{path_of(slack)}/person"
        async with opened.post(url, data={"user": ada.id}) as response:
            assert response.status == 200
        yield opened


def path_of(slack: Slack) -> str:
    return f"/archives/{slack.channel('deploys').id}"


async def shown(slack: Slack, browser: aiohttp.ClientSession, path: str = "") -> str:
    async with browser.get(slack.url + (path or path_of(slack))) as response:
        assert response.status == 200
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        return await response.text()


async def sent(
    slack: Slack, browser: aiohttp.ClientSession, what: str, **form: str | list[str]
) -> str:
    pairs = [
        (name.replace("__", "-"), value)
        for name, values in form.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    url = f"{slack.url}{path_of(slack)}/{what}"
    async with browser.post(url, data=aiohttp.FormData(pairs)) as response:
        assert response.status == 200
        return await response.text()


def button(action_id: str, **more: Any) -> dict[str, Any]:
    text = {"type": "plain_text", "text": action_id.title()}
    return {"type": "button", "action_id": action_id, "text": text, **more}


async def post(bot: AsyncWebClient, *blocks: Any, **more: Any) -> str:
    posted = await bot.chat_postMessage(channel="deploys", text="text", blocks=blocks, **more)
    return str(posted["ts"])


async def test_a_channel_shows_messages_threads_and_only_your_own_ephemeral_ones(
    slack: Slack, bot: AsyncWebClient, ada: User, browser: aiohttp.ClientSession
) -> None:
    text = f"*Bold* <https://a.test|web> <@{ada.id}> &lt;script&gt;"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}, "fields": [TITLE]}
    ts = await post(bot, section, {"type": "divider"}, {"type": "context", "elements": [TITLE]})
    await bot.chat_postMessage(channel="deploys", text="in thread", thread_ts=ts)
    await bot.chat_update(channel=slack.channel("deploys").id, ts=ts, blocks=[section], text="x")
    slack.add_message("deploys", "<b>hi</b>", user=ada.id)
    for user in slack.workspace.users.values():
        await bot.chat_postEphemeral(
            channel=slack.channel("deploys").id, user=user.id, text=f"only {user.name}"
        )
    page = await shown(slack, browser, "/channel/deploys")
    for expected in (
        "<strong>Bold</strong>",
        '<a href="https://a.test" rel="noreferrer">web</a>',
        '<span class="mention">@ada</span> &lt;script&gt;',
        "1 reply",
        "(edited)",
        "only ada",
        "Only visible to you",
        "stand-in for Slack",
    ):
        assert expected in page
    assert "only bob" not in page
    assert "<b>hi" not in page
    link = f"{path_of(slack)}/p{ts.replace('.', '')}"
    assert " open>" in await shown(slack, browser, link)
    [own] = [one for one in slack.ephemeral_messages if one.user == ada.id]
    assert "only ada" not in await sent(slack, browser, "dismiss", ts=own.ts)


async def test_a_button_is_pressed_after_its_question_was_answered(
    slack: Slack, bot: AsyncWebClient, ada: User, browser: aiohttp.ClientSession, app: Receiver
) -> None:
    confirm = {
        "title": {"type": "plain_text", "text": "Sure?"},
        "text": {"type": "mrkdwn", "text": "It *ends* it"},
        "confirm": {"type": "plain_text", "text": "Do it"},
        "deny": {"type": "plain_text", "text": "Leave it"},
    }
    go = [button("go", value="1"), button("stop", value="2", style="danger", confirm=confirm)]
    ts = await post(bot, {"type": "actions", "elements": go})
    await sent(slack, browser, "press", ts=ts, action="go", value="1")
    page = await sent(slack, browser, "press", ts=ts, action="stop", value="2")
    assert [one["actions"][0]["action_id"] for one in app.received] == ["go"]
    for expected in ("Sure?", "It <strong>ends</strong> it", "Do it", "Leave it"):
        assert expected in page
    page = await sent(slack, browser, "press", ts=ts, action="stop", value="2", confirmed="1")
    assert "Sure?" not in page
    stopped = app.received[-1]
    assert (stopped["actions"][0]["value"], stopped["user"]["id"]) == ("2", ada.id)
    app.status = 500
    assert "trouble connecting" in await sent(slack, browser, "press", ts=ts, action="go")
    page = await sent(slack, browser, "press", ts=ts, action="none")
    assert "not there any more" in page


async def test_of_two_buttons_of_one_name_the_pressed_one_counts(
    slack: Slack, bot: AsyncWebClient, browser: aiohttp.ClientSession, app: Receiver
) -> None:
    rows = [{"type": "section", "text": TITLE, "accessory": button("go", value=v)} for v in "ab"]
    ts = await post(bot, *rows)
    await sent(slack, browser, "press", ts=ts, action="go", value="b")
    assert app.received[-1]["actions"][0]["value"] == "b"


async def test_a_button_with_a_link_reaches_the_app_and_the_page(
    slack: Slack, bot: AsyncWebClient, browser: aiohttp.ClientSession, app: Receiver
) -> None:
    logs = button("logs", url=f"{slack.url}/channel/deploys")
    ts = await post(bot, {"type": "actions", "elements": [logs]})
    assert 'target="_blank"' in await shown(slack, browser)
    assert "Messages" in await sent(slack, browser, "press", ts=ts, action="logs")
    assert app.received[-1]["actions"][0]["action_id"] == "logs"


async def test_a_command_and_a_message_are_typed_as_the_person(
    slack: Slack, ada: User, browser: aiohttp.ClientSession, app: Receiver
) -> None:
    app.response = {"response_type": "ephemeral", "text": "what it *can* do"}
    page = await sent(slack, browser, "send", text="/deploy help me")
    assert "what it <strong>can</strong> do" in page
    [command] = app.received
    assert (command["command"], command["text"], command["user_id"]) == (
        "/deploy",
        "help me",
        ada.id,
    )
    page = await sent(slack, browser, "send", text="hello :tada: all")
    assert "hello 🎉 all" in page
    assert slack.messages("deploys")[-1].user == ada.id
    app.status, app.response = 500, None
    page = await sent(slack, browser, "send", text="/deploy")
    assert "/deploy failed with the error &#34;dispatch_failed&#34;" in page
    assert "dispatch_failed" not in await sent(slack, browser, "send", text="hello")


async def test_a_form_is_filled_in_corrected_and_closed(
    slack: Slack,
    bot: AsyncWebClient,
    ada: User,
    browser: aiohttp.ClientSession,
    app: Receiver,
) -> None:
    async def open_form() -> str:
        await sent(slack, browser, "send", text="/deploy")
        await bot.views_open(trigger_id=app.received[-1]["trigger_id"], view=VIEW)
        page = await shown(slack, browser)
        [view_id] = re.findall(r'name="view" value="(\w+)"', page)
        for expected in ("Production", "(optional)", 'value="v1"'):
            assert expected in page
        return str(view_id)

    view_id = await open_form()
    page = await sent(slack, browser, "view", view=view_id, field__env="", field__ref="")
    assert "env must be filled in" in page
    app.response = {"response_action": "errors", "errors": {"ref": "There is no v2"}}
    form = {"view": view_id, "field__env": "production", "field__ref": "v2"}
    page = await sent(slack, browser, "view", **form)
    assert "There is no v2" in page
    values = app.received[-1]["view"]["state"]["values"]
    [chosen] = values["env"].values()
    assert chosen["selected_option"]["value"] == "production"
    assert [one["value"] for one in values["ref"].values()] == ["v2"]
    app.response = None
    assert 'name="view"' not in await sent(slack, browser, "view", **form)
    view_id = await open_form()
    count = len(app.received)
    page = await sent(slack, browser, "view", view=view_id, close="1")
    assert 'name="view"' not in page
    assert len(app.received) == count


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("*a* _b_ ~c~", "<strong>a</strong> <em>b</em> <s>c</s>"),
        ("*_a_*", "<strong><em>a</em></strong>"),
        ("snake_case_name", "snake_case_name"),
        ("`*a*` b", "<code>*a*</code> b"),
        ("```a\n&lt;b&gt;```", "<pre>a\n&lt;b&gt;</pre>"),
        ("*<https://a.test/x_y_z|a>*", '<a href="https://a.test/x_y_z" rel="noreferrer">a</a>'),
        ("<javascript:alert(1)|a>", "a"),
        ("<https://a.test|*a*>", '<a href="https://a.test" rel="noreferrer">*a*</a>'),
        ('"&lt;b&gt;" &amp;amp;', "&quot;&lt;b&gt;&quot; &amp;amp;"),
        ("<@U1> <#C1> <!here>", "@ada"),
        ("<!date^1^{time}|12:00 UTC>", "<time>12:00 UTC</time>"),
        ("&gt; quoted\nnot", "<blockquote>quoted</blockquote>not"),
        (":lock: :unknown_thing:", "🔒 :unknown_thing:"),
    ],
)
def test_mrkdwn_becomes_html(source: str, html: str) -> None:
    assert html in Markups({"U1": "ada"}, {"C1": "deploys"}).mrkdwn(source)


def test_rich_text_becomes_html() -> None:
    def text(content: str, **style: bool) -> dict[str, Any]:
        return {"type": "text", "text": content, "style": style}

    section = {
        "type": "rich_text_section",
        "elements": [
            text("<b>", bold=True),
            {"type": "user", "user_id": "U1"},
            {"type": "link", "url": "https://a.test"},
        ],
    }
    listed = {"type": "rich_text_list", "style": "bullet", "elements": [section]}
    quote = {"type": "rich_text_preformatted", "elements": [text("code")]}
    html = Markups({"U1": "ada"}, {}).rich({"type": "rich_text", "elements": [listed, quote]})
    assert "<ul><li><div><strong>&lt;b&gt;</strong>" in html
    assert "@ada" in html
    assert '<a href="https://a.test" rel="noreferrer">https://a.test</a>' in html
    assert "<pre>code</pre>" in html
