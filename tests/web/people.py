"""People with browsers, as far as the tests need them: cookies, forms, and signing in at GitHub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest_asyncio

from tests.world import World


class Browser:
    """Of one person. `host`: the relay's URL."""

    def __init__(self, session: aiohttp.ClientSession, world: World) -> None:
        self.session = session
        self.host = world.url
        self.world = world

    async def sign_in(self, login: str, then: str = "/") -> "Page":
        """As that person on GitHub; the page that comes then."""
        start = f"{self.host}/signin?next={then}"
        response = await self.world.github.sign_in(self.session, start, login)
        return await _page(response)

    async def open(self, path: str, **headers: str) -> "Page":
        headers = {"Accept": "text/html", **headers}
        async with self.session.get(f"{self.host}{path}", headers=headers) as response:
            return await _page(response)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> "Page":
        """As a form of the relay's own page does."""
        headers = {"Origin": self.host, **headers}
        async with self.session.post(
            f"{self.host}{path}", data=fields, headers=headers
        ) as response:
            return await _page(response)

    async def press(self, page: "Page", action: str, **fields: str) -> "Page":
        """Send the form of that page which goes to `action`; of several, the one that has these
        fields already. GET forms are opened."""
        form = page.form(action, **fields)
        sent = {**form.fields, **fields}
        if form.method == "post":
            return await self.post(action, sent)
        query = "&".join(f"{name}={value}" for name, value in sent.items())
        return await self.open(f"{action}?{query}")


class Form:
    def __init__(self, attributes: dict[str, str]) -> None:
        self.action = attributes.get("action", "")
        self.method = attributes.get("method", "get")
        self.fields: dict[str, str] = {}


class Page(HTMLParser):
    """`text`: what one reads; `path`: where it is now, after redirects."""

    def __init__(self, status: int, url: str, html: str, headers: Any) -> None:
        super().__init__()
        self.status = status
        self.url = url
        self.html = html
        self.headers = headers
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._text: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self._text).split())

    def form(self, action: str, **fields: str) -> Form:
        found = [one for one in self.forms if one.action == action]
        fitting = [
            one
            for one in found
            if all(one.fields.get(name, value) == value for name, value in fields.items())
        ]
        assert fitting, f"no form goes to {action}: {[one.action for one in self.forms]}"
        return fitting[0]

    def offers(self, action: str) -> bool:
        return any(one.action == action for one in self.forms)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(attributes))
        elif tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag in ("input", "select", "textarea") and self.forms and _is_sent(attributes):
            self.forms[-1].fields.setdefault(attributes["name"], attributes.get("value", ""))

    def handle_data(self, data: str) -> None:
        self._text.append(data)


def _is_sent(field: dict[str, str]) -> bool:
    chosen = field.get("type") not in ("checkbox", "radio") or "checked" in field
    return chosen and "name" in field


async def _page(response: aiohttp.ClientResponse) -> Page:
    return Page(response.status, str(response.url), await response.text(), response.headers)


@asynccontextmanager
async def browser(world: World, login: str = "") -> AsyncIterator[Browser]:
    """Of that person, signed in; without a login, nobody is."""
    jar = aiohttp.CookieJar(unsafe=True)  # the relay's host is an IP address
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        opened = Browser(session, world)
        if login:
            page = await opened.sign_in(login)
            assert page.status == 200, page.text
        yield opened


def signed_in(login: str) -> Any:
    """A fixture: the browser of that person, in the `world` of the module."""

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def person(world: World) -> AsyncIterator[Browser]:
        async with browser(world, login) as opened:
            yield opened

    return person
