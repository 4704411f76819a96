"""Where a reply goes, and what happens to one that Slack does not accept."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from slack_sdk.models.blocks import MarkdownTextObject, SectionBlock

from webhook.errors import RetryAt, UnknownOutcome
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.response_url import Replies

TEXT = BlockMessage("done", [])


@dataclass
class Hook:
    """Responds as set, and keeps what was sent to it."""

    replies: Replies
    url: str
    response: dict[str, Any]
    received: list[Any] = field(default_factory=list)

    async def send(self, path: str = "/hook") -> bool:
        return await self.replies.send(self.url + path, TEXT)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    response: dict[str, Any] = {"status": 200}
    received: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        received.append((request.path, await request.json()))
        return web.Response(**response)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        yield Hook(Replies(f"{url}/api/", session), url, response, received)


async def test_a_reply_is_for_one_person_and_goes_where_slack_sent(hook: Hook) -> None:
    assert await hook.send()
    [(path, sent)] = hook.received
    assert path == "/hook"
    assert sent == {"response_type": "ephemeral", "replace_original": False, "text": "done"}


async def test_it_calls_no_other_address(hook: Hook) -> None:
    host = hook.url.removeprefix("http://")
    for url in (
        "",
        "/hook",
        f"http://slack.com@{host}/hook",
        f"http://user:word@{host}/hook",
        f"https://{host}/hook",
        "http://127.0.0.1:1/hook",
        "http://127.0.0.1:x/hook",
        f"http://{host}.evil.test/hook",
    ):
        assert not await hook.replies.send(url, TEXT), url
    assert not hook.received
    slack = Replies("https://slack.com/api/", hook.replies._session)
    assert slack._origins == {"https://slack.com", "https://hooks.slack.com"}


async def test_redirects_are_not_followed(hook: Hook) -> None:
    hook.response |= {"status": 307, "headers": {"Location": f"{hook.url}/elsewhere"}}
    assert not await hook.send()
    assert [path for path, _ in hook.received] == ["/hook"]


async def test_a_reply_whose_blocks_slack_rejects_is_sent_as_text(hook: Hook) -> None:
    hook.response |= {"status": 400, "text": '{"ok":false,"error":"invalid_blocks"}'}
    blocks = [SectionBlock(text=MarkdownTextObject(text="done"))]
    assert not await hook.replies.send(f"{hook.url}/hook", BlockMessage("done", blocks))
    assert ["blocks" in sent for _, sent in hook.received] == [True, False]


async def test_a_temporary_error_is_one_to_retry(hook: Hook) -> None:
    hook.response["status"] = 404  # its half an hour has passed
    assert not await hook.send()
    hook.response["status"] = 500
    with pytest.raises(UnknownOutcome):
        await hook.send()
    hook.response |= {"status": 429, "headers": {"Retry-After": "7"}}
    with pytest.raises(RetryAt):
        await hook.send()
    async with aiohttp.ClientSession() as session:
        nowhere = Replies("http://127.0.0.1:1/api/", session)
        with pytest.raises(UnknownOutcome) as raised:
            await nowhere.send("http://127.0.0.1:1/secret", TEXT)
    assert "secret" not in str(raised.value)
