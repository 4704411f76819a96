"""Every address of the pages, as each kind of person may open or send it. An address that is not in
these tables fails, so that none is forgotten."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sandbox.faults import Fault
from tests.github.test_webhook import post
from tests.web.people import Browser, browser
from tests.world import World, live
from webhook.app import create_app
from webhook.slack.actions import ACTIONS
from webhook.web.auth.logins import ASKED_AGAIN_AFTER

# Nobody, no permission, read, write, admin in the repository; who runs the relay, without any.
PEOPLE = ("nobody", "octoguest", "octoreader", "octowriter", "octoadmin", "operator")
ALL_WHO_SIGNED_IN = (303, 200, 200, 200, 200, 200)
READERS = (303, 404, 200, 200, 200, 200)
ADMINS = (303, 404, 404, 404, 200, 200)
OPERATORS = (303, 404, 404, 404, 404, 200)
# What one may see decides what is in them, not whether they open.
PAGES: Mapping[str, tuple[int, ...]] = {
    "/": (200, 200, 200, 200, 200, 200),
    "/events": ALL_WHO_SIGNED_IN,
    "/health": ALL_WHO_SIGNED_IN,
    "/health/events": ALL_WHO_SIGNED_IN,
    "/audit": ALL_WHO_SIGNED_IN,
    "/audit.csv": ALL_WHO_SIGNED_IN,
    "/configuration": OPERATORS,
    "/insights": ALL_WHO_SIGNED_IN,
    "/insights.csv": ALL_WHO_SIGNED_IN,
    "/deliveries": ALL_WHO_SIGNED_IN,
    "/deliveries/events": ALL_WHO_SIGNED_IN,
    "/deliveries/replay": ADMINS,
    "/deliveries/redeliver": (303, 404, 404, 404, 404, 200),
    "/deliveries/<guid>": ADMINS,
    "/deliveries/<guid>/events": ADMINS,
    "/deliveries/<guid>/payload": ADMINS,
    "/deliveries/<guid>/simulation": ADMINS,
    "/deliveries/replays/<int:request_id>": (303, 404, 404, 404, 404, 404),  # there is none
    "/deliveries/replays/<int:request_id>/events": (303, 404, 404, 404, 404, 404),
    "/environments/<owner>/<name>/<path:environment>": READERS,
    "/environments/-/events/<owner>/<name>/<path:environment>": READERS,
    # They only show what would be deployed.
    "/environments/-/deploy/<owner>/<name>/<path:environment>": READERS,
    "/environments/-/roll-back/<owner>/<name>/<path:environment>": READERS,
    "/deployments/<owner>/<name>/<int:deployment_id>": READERS,
    "/deployments/<owner>/<name>/<int:deployment_id>/events": READERS,
    "/deployments/<owner>/<name>/<int:deployment_id>/output.txt": READERS,
    "/acts/<kind>": (303, 404, 403, 200, 200, 403),
}
# Sent with the right token of the form.
SENT: Mapping[str, tuple[int, ...]] = {
    "/acts/<kind>": (401, 404, 403, 303, 303, 403),
    "/health/check": (401, 404, 404, 404, 404, 303),
    "/configuration/reload": (401, 404, 404, 404, 404, 303),
    "/deliveries/<guid>/replay": (401, 404, 404, 404, 303, 303),
    "/deliveries/<guid>/redeliver": (401, 404, 404, 404, 303, 303),
    "/deliveries/replay": (401, 404, 404, 404, 303, 303),
    "/deliveries/redeliver": (401, 404, 404, 404, 404, 303),
    "/deliveries/replays/<int:request_id>/cancel": (401, 404, 404, 404, 404, 404),
}
# Open to everybody: they decide by themselves, or show nothing.
OPEN = {"/signin", "/signout", "/deployments/-/static/<path:filename>"}


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, environ={"GITPLOY_ADMIN_USERS": "operator"}) as started:
        started.github.add_collaborator("acme/site", "operator", "none")
        yield started


async def people(world: World, stack: AsyncExitStack) -> list[Browser]:
    logins = ("", *PEOPLE[1:])
    return [await stack.enter_async_context(browser(world, login)) for login in logins]


def addresses(world: World, method: str) -> set[str]:
    app = create_app(world.setup, world.store_url)
    pages = (one for one in app.url_map.iter_rules() if one.endpoint.startswith("pages."))
    found = {one.rule for one in pages if method in (one.methods or ())}
    app.extensions["relay.close"]()
    return found


async def test_each_page_opens_to_those_who_may_see_it(world: World) -> None:
    assert addresses(world, "GET") - OPEN == set(PAGES)
    deployment = await world.deployed()
    [row] = world.rows("select guid from deliveries where event = 'deployment'")
    async with AsyncExitStack() as stack:
        everybody = await people(world, stack)
        for rule, expected in PAGES.items():
            path = filled(rule, deployment.id, row["guid"])
            found = tuple([await status_of(one, path) for one in everybody])
            assert found == expected, rule


async def test_each_act_is_open_to_those_who_may_request_it(world: World) -> None:
    assert addresses(world, "POST") - OPEN == set(SENT)
    deployment = await world.deployed("broken")
    [row] = world.rows("select guid from deliveries where event = 'deployment'")
    async with AsyncExitStack() as stack:
        everybody = await people(world, stack)
        tokens = [await token_of(one) for one in everybody]
        for rule, expected in SENT.items():
            path = filled(rule, deployment.id, row["guid"]).partition("?")[0]
            fields = {"deployment": str(deployment.id), "key": rule, "upto": "1000", "guid": "x"}
            found = tuple(
                [
                    await sent(one, path, fields | token)
                    for one, token in zip(everybody, tokens, strict=True)
                ]
            )
            assert found == expected, rule


async def test_no_action_is_open_to_who_may_only_read(world: World) -> None:
    deployment = await world.deployed("broken")
    async with AsyncExitStack() as stack:
        nobody, guest, reader, *_ = await people(world, stack)
        fields = {"deployment": str(deployment.id), "key": "k"}
        by_name = {"repo": "acme/site", "environment": "broken", "key": "k"}
        for kind, action in ACTIONS.items():
            for given in (fields, by_name):
                path = f"/acts/{kind}"
                expected = (401, 404, 403) if action.on_page else (401, 404, 404)
                found = (
                    await sent(nobody, path, given),
                    await sent(guest, path, given | await token_of(guest)),
                    await sent(reader, path, given | await token_of(reader)),
                )
                assert found == expected, kind
        assert not world.rows("select 1 from actions")


async def test_nobody_writes_what_is_about_nothing_or_not_theirs(world: World) -> None:
    """Anybody may have an account on GitHub, and sign in."""
    async with AsyncExitStack() as stack:
        _, guest, *_, admin, operator = await people(world, stack)
        for kind, action in ACTIONS.items():
            if action.on_page:
                expected = (403, 403, 303) if action.everywhere else (400, 400, 400)
                everybody = (guest, admin, operator)
                found = [
                    await sent(p, f"/acts/{kind}", {"key": "k"} | t)
                    for p, t in [(p, await token_of(p)) for p in everybody]
                ]
                assert tuple(found) == expected, kind
        [*acts] = world.rows("select distinct login from actions")
        assert acts == [{"login": "operator"}]


async def test_every_form_of_another_site_is_refused(world: World) -> None:
    deployment = await world.deployed("broken")
    [row] = world.rows("select guid from deliveries where event = 'deployment'")
    async with browser(world, "octoadmin") as admin, browser(world, "operator") as operator:
        for rule in (*SENT, "/signout"):
            path = filled(rule, deployment.id, row["guid"]).partition("?")[0]
            person = operator if rule in ("/health/check", "/configuration/reload") else admin
            right = {"deployment": str(deployment.id), "key": "k"} | await token_of(person)
            foreign = await person.post(path, right, Origin="https://evil.example")
            untokened = await person.post(path, right | {"csrf": ""})
            assert (foreign.status, untokened.status) == (403, 403), rule
        assert admin.host in (await admin.open("/health")).url  # and still signed in


async def test_machines_addresses_do_not_look_at_sessions(world: World) -> None:
    """Not even where the store could not say whether one holds."""
    async with browser(world, "octoreader") as reader:
        world.execute("alter table sign_outs rename to gone")
        assert await status_of(reader, "/health") == 503
        for path in ("/healthz", "/readyz", "/workz"):
            async with reader.session.get(f"{reader.host}{path}") as response:
                assert response.status == 200, path
                assert "Set-Cookie" not in response.headers
        cookie = "; ".join(f"{one.key}={one.value}" for one in reader.session.cookie_jar)
        assert "gitploy_session" in cookie
        assert (await post(world, Cookie=cookie))[0] == 202
        world.execute("alter table gone rename to sign_outs")


async def test_what_another_site_sends_is_refused(world: World) -> None:
    deployment = await world.deployed("broken")
    async with browser(world, "octowriter") as writer, browser(world, "octoadmin") as other:
        fields = {"deployment": str(deployment.id), "key": "k"} | await token_of(writer)
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            assert (await writer.post("/acts/retry", fields, **headers)).status == 403
        others = fields | await token_of(other)
        assert (await writer.post("/acts/retry", others)).status == 403
        assert not world.rows("select 1 from actions")


async def test_who_runs_the_relay_is_whose_login_it_was_and_is(world: World) -> None:
    """Nobody gets the rights of GITPLOY_ADMIN_USERS by changing a login, nor keeps them so."""
    await world.deployed()
    [row] = world.rows("select guid from deliveries where event = 'deployment'")
    path = f"/deliveries/{row['guid']}"
    async with browser(world, "operator") as operator, browser(world, "octoguest") as guest:
        assert (await status_of(operator, path), await status_of(guest, path)) == (200, 404)
        account = world.github.rename_user("operator", "octocarol").account
        world.github.rename_user("octoguest", "operator")
        with world.clock.moved(ASKED_AGAIN_AFTER):
            world.github.faults.add(f"GET */user/{account.id}", Fault.status(502))
            # GitHub does not say that it has changed.
            assert (await status_of(operator, path), await status_of(guest, path)) == (200, 404)
        with world.clock.moved(2 * ASKED_AGAIN_AFTER):
            assert (await status_of(operator, path), await status_of(guest, path)) == (404, 404)
            assert "operator" in (await guest.open("/health")).text


async def test_a_link_opens_its_page_and_nothing_else(world: World) -> None:
    deployment = await world.deployed("broken")
    url = world.github.statuses(deployment.id)[-1].log_url.removeprefix(world.url)
    key = url.partition("?")[2].partition("#")[0]
    async with browser(world) as holder:
        page = await holder.open(url)
        assert page.status == 200
        assert not [one for one in page.forms if one.action.startswith("/acts/")]
        pages = ("/deliveries", "/health", "/audit", "/insights")
        for path in ("/environments/acme/site/broken", *pages):
            assert await status_of(holder, f"{path}?{key}") == 303
        fields = {"deployment": str(deployment.id), "key": "k"}
        assert await sent(holder, f"/acts/retry?{key}", fields) == 401


async def test_the_output_is_searched_by_who_may_see_it(world: World) -> None:
    deployment = await world.deployed("broken")
    path = f"/deployments/acme/site/{deployment.id}"
    key = world.github.statuses(deployment.id)[-1].log_url.partition("?")[2].partition("#")[0]
    async with AsyncExitStack() as stack:
        nobody, *others = await people(world, stack)
        found = [await status_of(one, f"{path}?find=disk") for one in (nobody, *others)]
        assert tuple(found) == READERS
        reader = await others[1].open(f"{path}?find=DISK")
        assert "1 line with “DISK”" in reader.text
        assert f"{path}?find=DISK&line=1#L1" in reader.links
        # Who has signed in needs no key.
        assert "key=" not in (await others[1].open(f"{path}?{key}&find=DISK")).html
        assert (
            f"{path}?{key}&find=DISK&line=1#L1"
            in (await nobody.open(f"{path}?{key}&find=DISK")).links
        )
        assert await status_of(nobody, f"{path}?{key}x&find=disk") == 403


def filled(rule: str, deployment_id: int, guid: str) -> str:
    values = {
        "<owner>": "acme",
        "<name>": "site",
        "<path:environment>": "production",
        "<int:deployment_id>": str(deployment_id),
        "<guid>": guid,
        "<int:request_id>": "1",
        "<kind>": f"retry?deployment={deployment_id}",
    }
    for name, value in values.items():
        rule = rule.replace(name, value)
    return rule


async def status_of(person: Browser, path: str) -> int:
    headers = {"Accept": "text/html"}
    url = f"{person.host}{path}"
    async with person.session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status == 303:
            assert response.headers["Location"].startswith("/signin?next=")
        return response.status


async def sent(person: Browser, path: str, fields: Mapping[str, str]) -> int:
    url, headers = f"{person.host}{path}", {"Origin": person.host}
    async with person.session.post(
        url, data=fields, headers=headers, allow_redirects=False
    ) as response:
        # Somebody else has requested the same already.
        return 303 if response.status == 409 else response.status


async def token_of(person: Browser) -> dict[str, str]:
    page = await person.open("/")
    if not page.offers("/signout"):
        return {}
    return {"csrf": page.form("/signout").fields["csrf"]}
