"""People sign in with GitHub, see what GitHub lets them see, and are out when it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.faults import Fault
from tests.web.people import Browser, browser
from tests.world import World, live, until
from webhook.web.auth.access import KEPT
from webhook.web.auth.attempts import ATTEMPT_SECONDS, MOST
from webhook.web.auth.forms import local_path
from webhook.web.auth.sessions import IDLE, LONGEST
from webhook.web.auth.views import MOST_ATTEMPTS
from webhook.web.github_calls import WITHIN


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path) as started:
        yield started


async def test_who_signs_in_comes_back_to_the_page_and_no_token_is_left(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world) as mona:
        page = await mona.sign_in("octoreader", then=address)
        assert page.url == f"{world.url}{address}"
        assert "acme/site" in page.text
        cookies = {one.key: one for one in mona.session.cookie_jar}
        session = cookies["gitploy_session"]
        assert session["httponly"]
        assert session["samesite"] == "Lax"
        assert "ghu_" not in session.value
    assert not world.github.world.user_tokens, "a token of a person was left at GitHub"


async def test_a_session_ends_in_time_and_when_its_person_signs_out(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world, "octoreader") as desk, browser(world, "octoreader") as phone:
        assert (await desk.open(address)).url.endswith(address)
        with world.clock.moved(IDLE + timedelta(minutes=1)):
            assert "login/oauth/authorize" in (await desk.open(address)).url
        with world.clock.moved(LONGEST + timedelta(minutes=1)):
            assert "login/oauth/authorize" in (await desk.open(address)).url
        await desk.press(await desk.open(address), "/signout")
        assert "login/oauth/authorize" in (await phone.open(address)).url
        again = await phone.sign_in("octoreader", then=address)
        assert again.url.endswith(address)


async def test_who_takes_the_authorization_back_on_github_is_signed_out(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world, "octoreader") as phone:
        person = world.github.world.user("octoreader")
        world.github.revoke_authorization("octoreader")
        await until(lambda: world.rows("select 1 from sign_outs") or None)
        assert world.rows("select user_id from sign_outs")[0]["user_id"] == person.account.id
        assert "login/oauth/authorize" in (await phone.open(address)).url


async def test_nobody_sees_what_github_does_not_let_them_read(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world, "octoguest") as guest, browser(world, "octoreader") as reader:
        hidden, missing = await guest.open(address), await guest.open(address + "9")
        assert hidden.status == 404
        assert missing.status == 404
        assert (await reader.open(address)).status == 200
        world.github.add_collaborator("acme/site", "octoreader", "none")
        with world.clock.moved(KEPT + timedelta(seconds=1)):
            assert (await reader.open(address)).status == 404


async def test_who_changes_their_login_stays_signed_in_and_acts_by_the_new_one(
    world: World,
) -> None:
    deployment = await world.deployed("broken")
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world, "octowriter") as writer:
        renamed = world.github.rename_user("octowriter", "octocarol").account
        world.github.add_collaborator("acme/site", "octowriter", "none")  # somebody else
        with world.clock.moved(KEPT + timedelta(seconds=1)):
            page = await writer.open(address)
            assert page.status == 200
            assert "octocarol" in page.text
            await writer.press(page, "/acts/retry")
            await until(lambda: world.rows("select 1 from actions where outcome = 'done'") or None)
            [act] = world.rows("select login, login_id from actions")
            assert act == {"login": "octocarol", "login_id": renamed.id}
            assert "octocarol" in (await writer.open("/")).text
        with world.clock.moved(3 * KEPT):
            assert (await writer.open(address)).status == 200
        assert len(world.github.called("GET", f"/user/{renamed.id}")) == 1


async def test_a_login_that_is_anothers_by_now_opens_nothing(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world, "octoguest") as guest:
        account = world.github.rename_user("octoguest", "octocarol").account
        world.github.add_collaborator("acme/site", "octoguest", "admin")
        for minutes in (1.1, 2.2):
            with world.clock.moved(minutes * KEPT):
                assert (await guest.open(address)).status == 404
        world.github.remove_user("octocarol")  # its number is nobody's any more
        with world.clock.moved(10 * KEPT):
            assert (await guest.open(address)).status == 404
        assert len(world.github.called("GET", f"/user/{account.id}")) == 2


async def test_what_github_does_not_answer_is_not_shown_and_said(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    async with browser(world, "octoreader") as reader:
        with world.clock.moved(KEPT + timedelta(seconds=1)):
            world.github.faults.add("GET *collaborators/octoreader/permission", Fault.status(502))
            hidden = await reader.open(address)
            assert hidden.status == 404
            assert "GitHub does not say now what you may see" in hidden.text
        with world.clock.moved(KEPT + timedelta(seconds=10)):
            again = await reader.open(address)
            assert again.status == 200
            assert "GitHub does not say" not in again.text


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/deployments/a/b/1?x=2", "/deployments/a/b/1?x=2"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        ("/a\nb", "/"),
    ],
)
def test_nobody_is_sent_to_another_site(given: str, path: str) -> None:
    assert local_path(given) == path


async def test_tabs_that_were_opened_together_all_sign_in(world: World) -> None:
    """Neither request has the other's cookie yet."""
    async with browser(world) as tab:
        starts = [f"{world.url}/signin?next=/{name}" for name in ("health", "audit")]
        urls = [await _located(tab, start) for start in starts]
        for url, there in zip(urls, ("/health", "/audit"), strict=True):
            page = await world.github.sign_in(tab.session, url, "octoreader")
            assert (page.status, page.url.path) == (200, there)
        state = parse_qs(urlsplit(urls[0]).query)["state"][0]
        again = await tab.open(f"/signin?state={state}&code=a")
        assert "was used already" in again.text


async def test_a_long_way_back_does_not_keep_anybody_out(world: World) -> None:
    async with browser(world) as mona:
        page = await mona.sign_in("octoreader", then=f"/health?x={token_hex(2500)}")
        assert page.url == f"{world.url}/health"
        for _ in range(20):
            await _located(mona, f"{world.url}/signin?next=/{token_hex(200)}")
        attempts = [one for one in mona.session.cookie_jar if "signin" in one.key]
        assert len(attempts) <= MOST
        assert all(len(one.value) < 2000 for one in attempts)


async def test_an_attempt_counts_in_its_browser_for_ten_minutes(world: World) -> None:
    async with browser(world) as mona, browser(world) as other:
        url = await _located(mona, f"{world.url}/signin")
        query = parse_qs(urlsplit(url).query)
        assert query["code_challenge_method"] == ["S256"]
        back = f"/signin?state={query['state'][0]}&code=0123456789abcdef0123"
        assert (await other.open(back)).status == 403
        with world.clock.moved(timedelta(seconds=ATTEMPT_SECONDS + 1)):
            assert (await mona.open(back)).status == 403
        with world.clock.moved(-timedelta(seconds=30)):  # another machine's
            assert "The code from GitHub is no longer valid" in (await mona.open(back)).text
        denied = await mona.open(f"/signin?state={query['state'][0]}&error=access_denied")
        assert "You are not signed in" in denied.text


async def test_wrong_codes_are_limited_and_right_ones_are_not(world: World) -> None:
    async with browser(world) as mona:
        for _ in range(3):
            assert (await mona.sign_in("octoreader")).status == 200
        url = await _located(mona, f"{world.url}/signin")
        back = f"/signin?state={parse_qs(urlsplit(url).query)['state'][0]}&code=wrong"
        found = [(await mona.open(back)).status for _ in range(MOST_ATTEMPTS + 1)]
        assert found == [400] * MOST_ATTEMPTS + [429]
        assert (await mona.open("/health")).status == 200


async def test_who_signed_out_elsewhere_can_sign_in_again_at_once(world: World) -> None:
    async with browser(world, "octoreader") as desk:
        with world.clock.moved(timedelta(seconds=5)):  # of the machine that signed them out
            await desk.press(await desk.open("/health"), "/signout")
        assert (await desk.sign_in("octoreader", then="/health")).url.endswith("/health")


async def _located(tab: Browser, url: str) -> str:
    async with tab.session.get(url, allow_redirects=False) as response:
        assert response.status == 303
        return response.headers["Location"]


@pytest.mark.slow
async def test_only_the_first_waits_for_a_github_that_hangs(world: World) -> None:
    deployment = await world.deployed()
    address = f"/deployments/acme/site/{deployment.id}"
    people = ("octoreader", "octowriter", "octoadmin")
    async with AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(browser(world, one)) for one in people]
        world.github.faults.add("GET *collaborators/*/permission", Fault.hang(30), times=10)
        with world.clock.moved(KEPT + timedelta(seconds=1)):
            async with asyncio.timeout(WITHIN + 3):
                for one in everybody:
                    assert "GitHub does not say now" in (await one.open(address)).text


STREAMS = ("/events", "/environments/-/events/acme/site/production", "/deliveries/events")


async def test_open_pages_end_for_who_has_signed_out_elsewhere(world: World) -> None:
    await world.deployed()
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(browser(world, "octoadmin"))
        phone = await stack.enter_async_context(browser(world, "octoadmin"))
        streams = [
            await stack.enter_async_context(phone.session.get(f"{world.url}{path}"))
            for path in STREAMS
        ]
        for one in streams:
            assert (one.status, one.content_type) == (200, "text/event-stream")
        await desk.press(await desk.open("/"), "/signout")
        with world.clock.moved(timedelta(seconds=6)):
            for one in streams:
                async with asyncio.timeout(12):
                    assert b"hidden" in await one.read()


async def test_what_is_not_there_takes_as_long_as_what_is_hidden(world: World) -> None:
    """GitHub is asked in either case, so that no name can be tried by the clock."""
    await world.deployed()
    paths = (
        "/environments/acme/none/production",
        "/deployments/acme/none/9",
        "/acts/retry?deployment=9",
        "/acts/lock?repo=acme/none",
        "/environments/acme/site/production",
    )
    faults = world.github.faults
    async with browser(world, "octoguest") as guest:
        for number, path in enumerate(paths, start=1):
            with world.clock.moved((number + 1) * KEPT):
                faults.add("GET *octoguest/permission", Fault.status(502))
                assert (await guest.open(path)).status == 404
                assert len(faults.fired) == number, path
