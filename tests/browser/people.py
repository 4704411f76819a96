"""People with browsers: each has cookies, a theme and a window of their own."""

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from tests.world import World

# Of one world: who has signed in once has the cookie, as GitHub allows ten sign-ins an hour.
_cookies: dict[tuple[str, str], Any] = {}

expect.set_options(timeout=15_000)


@dataclass
class People:
    """`errors`: what their browsers have complained about."""

    chromium: Browser
    world: World
    errors: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    async def signed_in(self, login: str, path: str = "/", **options: Any) -> Page:
        """`options`: of Playwright's `new_context`."""
        known = (self.world.url, login)
        if known not in _cookies:
            page = await self.anybody()
            await sign_in(page, self.world, login)
            _cookies[known] = await page.context.storage_state()
        page = await self.anybody(storage_state=_cookies[known], **options)
        await page.goto(path)
        return page

    async def anybody(self, **options: Any) -> Page:
        """Nobody has signed in there."""
        context = await self.chromium.new_context(base_url=self.world.url, **options)
        context.set_default_timeout(15_000)
        self._contexts.append(context)
        page = await context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._requested)
        return page

    async def leave(self) -> None:
        for context in self._contexts:
            await context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        # The response of an error page is one that its browser reports.
        if message.type == "error" and "status of 4" not in message.text:
            self.errors.append(message.text)

    def _requested(self, request: Request) -> None:
        """By a page of the relay; a link may lead elsewhere."""
        own = self.world.url
        asked = not request.is_navigation_request() and request.frame.url.startswith(own)
        if asked and not request.url.startswith(f"{own}/"):
            self.errors.append(f"asked another site: {request.url}")


async def sign_in(page: Page, world: World, login: str) -> None:
    """From the front page, through GitHub, and back."""
    await page.goto("/")
    await page.get_by_role("link", name="Sign in with GitHub").first.click()
    await page.get_by_role("button", name=login, exact=True).click()
    await page.wait_for_url(f"{world.url}/**")
