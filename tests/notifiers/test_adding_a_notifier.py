"""The notifier of docs/how-to/add-a-notifier.md works as documented."""

import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Middleware

from handlers import HANDLERS
from sandbox.faults import Fault
from sandbox.server import Server
from tests.notifiers.test_contract import follows
from tests.notifiers.written import message
from tests.slack.notices import BEGIN, RUNNING
from webhook.config.load import load
from webhook.deployments.announcement import Announcement
from webhook.errors import ConfigErrors, Rejected, UnknownOutcome
from webhook.notifiers.contract import NotifierContext

PAGE = (Path(__file__).parents[2] / "docs/how-to/add-a-notifier.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
# Ruff formats single methods on a page without indentation.
METHOD = re.compile(r"(?:async )?def \w+\(self")
CODE = "\n\n".join(indent(one, "    ") if METHOD.match(one) else one for one in BLOCKS)
[EXAMPLE] = re.findall(r"^```\n(ntfy:.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def ntfy() -> ModuleType:
    module = ModuleType("ntfy_of_the_page")
    sys.modules[module.__name__] = module
    exec(compile(CODE, "docs/how-to/add-a-notifier.md", "exec"), module.__dict__)
    return module


class Topics(Server):
    """As much of ntfy as the page describes."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/{topic}", self._publish), web.get("/{topic}/json", self._poll)]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    async def _publish(self, request: web.Request) -> web.Response:
        one = {
            "id": str(len(self.messages)),
            "topic": request.match_info["topic"],
            "message": await request.text(),
            "tags": request.headers["Tags"].split(","),
        }
        self.messages.append(one)
        return web.json_response(one)

    async def _poll(self, request: web.Request) -> web.Response:
        topic = request.match_info["topic"]
        lines = [json.dumps(one) for one in self.messages if one["topic"] == topic]
        return web.Response(text="\n".join(lines))


@pytest.fixture
async def topics() -> AsyncIterator[Topics]:
    async with Topics() as server:
        yield server


def loaded(ntfy: ModuleType, text: str) -> Any:
    options = {name: handler.Options for name, handler in HANDLERS.items()}
    notifiers = {"ntfy": ntfy.NtfyDestination}
    [environment] = load(
        text,
        source="deploy.yml",
        environ={"NTFY_TOPIC": "a-topic"},
        handler_options=options,
        notifiers=notifiers,
    ).envs
    [(_, one)] = environment.destinations()
    return one


def test_it_follows_the_contract(ntfy: ModuleType) -> None:
    follows(ntfy.Ntfy)


def test_the_example_loads_and_shows_no_topic(ntfy: ModuleType) -> None:
    one = loaded(ntfy, EXAMPLE)
    assert one.url == "https://ntfy.sh/a-topic"
    assert one.states == ("success", "failure")
    assert "a-topic" not in repr(one) + one.name(one.url)
    with pytest.raises(ConfigErrors, match=r"url: is not a topic's address"):
        loaded(ntfy, EXAMPLE.replace("https://", ""))


async def test_a_message_is_sent_and_found_again(
    ntfy: ModuleType, topics: Topics, context: NotifierContext
) -> None:
    kept = ntfy.NtfyDestination(url=f"{topics.url}/deploys", failures=f"{topics.url}/oncall")
    notifier = ntfy.Ntfy(kept, context)
    assert await notifier.find(message(RUNNING), "7:main:2", BEGIN) is None
    topics.faults.add("POST /deploys", Fault.status(502, acts=True))
    with pytest.raises(UnknownOutcome):
        await notifier.send(message(RUNNING), "7:main:2")
    found = await notifier.find(message(RUNNING), "7:main:2", BEGIN)
    assert found["id"] == "0"
    await notifier.send(message(RUNNING, "alert"), "7:alert")
    await notifier.send(message(Announcement(key="a", text="It is locked"), "announcement"), "8")
    assert [one["topic"] for one in topics.messages] == ["deploys", "oncall", "deploys"]
    assert topics.messages[2]["message"] == "It is locked"
    assert topics.messages[0]["message"].startswith("🔄 acme/site to production in progress")
    assert notifier.digest(message(RUNNING)) == topics.messages[0]["message"]


async def test_a_rejection_has_a_remedy(
    ntfy: ModuleType, topics: Topics, context: NotifierContext
) -> None:
    topics.faults.add("POST /deploys", Fault.status(403))
    notifier = ntfy.Ntfy(ntfy.NtfyDestination(url=f"{topics.url}/deploys"), context)
    with pytest.raises(Rejected, match="check the topic's address"):
        await notifier.send(message(RUNNING), "7:main:2")
    with pytest.raises(Rejected, match="no topic"):
        await notifier.send(message(RUNNING, "alert"), "7:alert")
