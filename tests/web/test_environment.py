"""The page of an environment, as people use it: deploy, roll back, lock, and what holds there."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from sandbox.faults import Fault
from tests.conftest import Databases
from tests.web.people import Browser, Page, browser
from tests.world import World, live, until
from webhook.web import paths
from webhook.web.auth.access import KEPT

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = 'handler: command, serialization: false, with: {run: ["true"]}'
DEPLOY_YML = f"""
envs:
  - {{name: staging, {RUN}}}
  - name: production
    description: What users see
    handler: command
    serialization: false
    with: {{run: ["true"]}}
    after: [staging]
    frozen_windows:
      - {{start: "0 0 1 1 *", duration: 1h, location: Europe/Berlin, reason: new year}}
      - {{from: "2126-01-01", to: "2126-01-02", location: Europe/Berlin, reason: far away}}
  - {{name: locked, {RUN}}}
  - {{name: back, {RUN}}}
  - {{name: main-only, deployable_ref: "^main$", {RUN}}}
  - name: "preview/*"
    handler: command
    serialization: false
    with: {{run: ["true"]}}
    dynamic_payload:
      enabled: true
      inputs:
        region: {{type: select, options: [eu, us], required: true}}
"""
REPO = "acme/site"


def page_of(environment: str) -> str:
    return paths.environment(REPO, environment)


def deploy_of(environment: str, **query: str) -> str:
    given = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return f"{paths.deploy(REPO, environment)}?{given}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("environment")
    environ = {"GITPLOY_ADMIN_USERS": "octoadmin"}
    with databases.one() as url:
        async with live(url, folder, DEPLOY_YML, environ=environ) as started:
            await begin(started)
            yield started


async def begin(started: World) -> None:
    started.github.repository(REPO).push("Begin")
    for name in ("staging", "production", "locked"):
        await started.deploy(name)
    await started.idle()


async def reading(person: Browser, path: str, *texts: str, within: float = 20) -> Page:
    """The page as soon as it says all of that."""
    page = await person.open(path)
    async with asyncio.timeout(within):
        while not all(one in page.text for one in texts):
            await asyncio.sleep(0.05)
            page = await person.open(path)
    assert page.status == 200
    return page


async def fill_in(person: Browser, page: Page, action: str, **inputs: str) -> Page:
    """Send that form of the page, with these inputs."""
    typed = {f"input.{name}": value for name, value in inputs.items()}
    return await person.post(action, {**page.form(action).fields, **typed})


async def created(world: World, environment: str) -> Any:
    """The deployment that the relay has created there last, once that is known."""

    def row() -> Any:
        rows = world.rows(
            "select created_deployment_id as id, ref, ref_name, source, login from actions"
            " where environment = %s and created_deployment_id is not null order by id desc",
            environment,
        )
        return rows[0] if rows else None

    return await until(row)


async def test_the_page_says_what_is_there_and_what_holds(world: World) -> None:
    async with browser(world, "octocat") as mona:
        page = await reading(mona, page_of("production"), "What is there now")
    for text in (
        "What users see",
        "succeeded",
        "Requested by octocat",
        "Nothing runs or waits here",
        "It is not locked",
        "the operator's deploy.yml, line 10",
        "staging comes first",
        "the same commit",
        "new year",
    ):
        assert text in page.text, text
    assert page_of("staging") in page.links
    [there] = world.rows("select id from deployments where environment = 'production'")
    assert paths.deployment(REPO, there["id"]) in page.links
    assert "Last-Modified" not in page.headers


async def test_a_deployment_is_requested_once_its_preview_was_seen(world: World) -> None:
    site = world.github.repository(REPO)
    sha = site.push("Sell <b>socks</b> & shoes", author="octowriter", ref="socks")
    async with browser(world, "octocat") as mona:
        page = await mona.open(deploy_of("production", ref="socks"))
        for text in ("Deploys 1 commit", "Sell <b>socks</b> & shoes", "octowriter"):
            assert text in page.text, text
        assert "<b>socks</b>" not in page.html
        assert "waits for promotion" in page.text
        assert sha[:7] in page.text
        site.push("Pushed meanwhile", ref="socks")
        back = await mona.press(page, "/acts/deploy")
        assert back.url == f"{world.url}{page_of('production')}"
        row = await created(world, "production")
        assert row == {**row, "ref": sha, "ref_name": "socks", "source": "page", "login": "octocat"}
        requested = world.github.deployments[row["id"]]
        assert requested.sha == sha
        assert "Requested on the relay's page by octocat" in requested.description
        await reading(mona, page_of("production"), f"deployment {row['id']}", "1st of 1", "on hold")
        audit = world.rows("select actor, source, action from audit order by id desc limit 1")
        assert audit == [{"actor": "octocat", "source": "page", "action": "deploy"}]


async def test_production_is_not_deployed_without_a_commit_that_was_seen(world: World) -> None:
    fields = {"repo": REPO, "environment": "production", "ref": "main", "next": "/"}
    async with browser(world, "octocat") as mona:
        page = await mona.open(page_of("production"))
        form = page.form("/acts/lock").fields
        await mona.post("/acts/deploy", {**fields, "csrf": form["csrf"], "key": "k1"})
        text = "which is production, a page deploys a commit only"
        await reading(mona, page_of("production"), text)
        token = {"pinned": "forged.token", "csrf": form["csrf"], "key": "k2"}
        refused = await mona.post("/acts/deploy", {**fields, **token})
        assert refused.status == 400
        assert "This preview is too old" in refused.text
        # Not one of another environment either.
        other = (await mona.open(deploy_of("staging", ref="main"))).form("/acts/deploy").fields
        moved = {**fields, "pinned": other["pinned"], "csrf": form["csrf"], "key": "k3"}
        assert (await mona.post("/acts/deploy", moved)).status == 400


async def test_a_preview_says_what_is_wrong(world: World) -> None:
    async with browser(world, "octocat") as mona:
        page = await mona.open(deploy_of("staging", ref="no-such-branch"))
        assert "acme/site has no branch, tag or commit 'no-such-branch'" in page.text
        assert not page.offers("/acts/deploy")
        page = await mona.open(deploy_of("main-only", ref="socks2"))
        assert not page.offers("/acts/deploy")
        page = await mona.open(deploy_of("staging", ref=""))
        assert "main @" in page.text
        assert "This commit is there already" in page.text
        sha = world.github.repository(REPO).sha("main")
        page = await mona.open(deploy_of("preview/a b", ref="main"))
        assert "region is missing" in page.text
        assert any(one.endswith(f"/{REPO}/commit/{sha}") for one in page.links)
        assert not page.offers("/acts/deploy")
        page = await mona.open(deploy_of("preview/a b", ref="main", **{"input.region": "eu"}))
        await mona.press(page, "/acts/deploy")
        row = await created(world, "preview/a b")
        assert world.github.deployments[row["id"]].payload == {"region": "eu"}


async def test_a_preview_does_not_wait_for_a_github_that_is_away(world: World) -> None:
    async with browser(world, "octocat") as mona:
        await mona.open(page_of("staging"))
        world.github.faults.add("GET /repos/*/commits/*", Fault.status(503), times=20)
        try:
            page = await mona.open(deploy_of("staging", ref="main"))
        finally:
            world.github.faults.clear()
    assert "The commit of main is not known" in page.text
    assert page.form("/acts/deploy").fields["ref"] == "main"


async def test_a_lock_is_set_taken_over_and_ended(world: World) -> None:
    locked, staging = page_of("locked"), page_of("staging")
    async with browser(world, "octocat") as mona, browser(world, "octowriter") as hubot:
        page = await mona.open(locked)
        old = await hubot.open(locked)
        await fill_in(mona, page, "/acts/lock", **{"reason": " ", "for": "2h"})
        await reading(mona, locked, "A lock needs a reason")
        await fill_in(mona, await mona.open(locked), "/acts/lock", **{"reason": "x", "for": "soon"})
        await reading(mona, locked, "'soon' is not a duration; write 30m, 2h, 1h30m or 3d")
        inputs = {"reason": "disk is <full>", "for": "2h", "lets": "rollbacks"}
        await fill_in(mona, await mona.open(locked), "/acts/lock", **inputs)
        said = "done. locked of acme/site is locked (until"
        page = await reading(mona, locked, "is locked by octocat", "lets rollbacks through", said)
        assert "What runs already goes on. To end the lock: Unlock, on this page" in page.text
        await reading(hubot, "/", "disk is <full>")
        assert "disk is <full>" in page.text
        assert page.offers("/acts/unlock")
        [row] = world.rows("select source, owner from locks where ended_at is null")
        assert row == {"source": "page", "owner": "octocat"}
        # Of a page that is older than the lock.
        await fill_in(hubot, old, "/acts/lock", **{"reason": "mine", "for": "1h"})
        page = await reading(hubot, locked, "which notifies octocat: Take over, on this page")
        assert page.offers("/acts/take_over_unlock")
        await fill_in(hubot, page, "/acts/take_over_lock", **{"reason": "mine", "for": "1h"})
        page = await reading(hubot, locked, "is locked by octowriter", "mine")
        await hubot.press(page, "/acts/unlock")
        await reading(hubot, locked, "It is not locked")
        assert "mine" not in (await hubot.open("/")).text
        await fill_in(mona, await mona.open(staging), "/acts/lock", **{"reason": "x", "for": "1h"})
        page = await reading(hubot, staging, "is locked by octocat")
        await hubot.press(page, "/acts/take_over_unlock")
        await reading(hubot, staging, "It is not locked")
    every = world.rows(
        "select action, actor, source from audit where action in ('take over lock', 'unlock')"
    )
    done = {(one["action"], one["actor"], one["source"]) for one in every}
    assert ("take over lock", "octowriter", "page") in done
    assert ("unlock", "octowriter", "page") in done


async def test_only_operators_stop_everything(world: World) -> None:
    locked = page_of("locked")
    async with browser(world, "octocat") as mona, browser(world, "octoadmin") as boss:
        page = await mona.open(locked)
        assert not page.offers("/acts/stop")
        fields = {**page.form("/acts/lock").fields, "input.reason": "x", "input.for": "1h"}
        refused = await mona.post("/acts/stop", {**fields, "repo": "", "environment": ""})
        assert refused.status == 403
        assert "It concerns all repositories. Nothing was done" in refused.text
        assert not world.rows("select 1 from locks where repo_id = 0")
        page = await boss.open(locked)
        await fill_in(boss, page, "/acts/stop", **{"reason": "fire", "for": "1h"})
        page = await reading(boss, locked, "Everything is locked by octoadmin")
        await boss.press(page, "/acts/go")
        await reading(boss, locked, "It is not locked")


async def test_a_roll_back_shows_what_is_taken_back(world: World) -> None:
    site = world.github.repository(REPO)
    old = site.push("Good", ref="back")
    first = await world.deploy("back", ref="back")
    await world.phase(first.id, "success")
    site.push("Bad idea", author="octowriter", ref="back")
    second = await world.deploy("back", ref="back")
    await world.phase(second.id, "success")
    async with browser(world, "octocat") as mona:
        page = await mona.open(page_of("back"))
        assert paths.roll_back(REPO, "back") in page.links
        assert f"{paths.roll_back(REPO, 'back')}?to={first.id}" in page.links
        page = await mona.open(paths.roll_back(REPO, "back"))
        for text in ("Takes back 1 commit", "Bad idea", "octowriter", f"back @ {old[:7]}"):
            assert text in page.text, text
        await mona.press(page, "/acts/rollback")
        row = await created(world, "back")
        assert world.github.deployments[row["id"]].sha == old
        assert "by octocat" in world.github.deployments[row["id"]].description
        await world.phase(row["id"], "success")
        page = await reading(mona, page_of("back"), f"deployment {row['id']}")


async def test_a_success_is_promoted_from_the_page_of_either_environment(world: World) -> None:
    sha = world.github.repository(REPO).push("To be promoted", ref="promoted")
    staged = await world.deploy("staging", ref="promoted")
    await world.phase(staged.id, "success")
    async with browser(world, "octocat") as mona:
        page = await reading(mona, page_of("staging"), "production comes next")
        await mona.press(page, "/acts/promote")
        row = await until(lambda: _promoted(world, sha))
        assert world.github.deployments[row["id"]].environment == "production"
        await world.phase(row["id"], "success")
        await reading(mona, page_of("production"), "staging comes first", "the same commit")


def _promoted(world: World, sha: str) -> Any:
    query = (
        "select created_deployment_id as id from actions where kind = 'promote' and ref = %s"
        " and created_deployment_id is not null"
    )
    rows = world.rows(query, sha)
    return rows[0] if rows else None


async def test_a_reader_sees_it_and_can_do_nothing(world: World) -> None:
    async with browser(world, "octoreader") as reader, browser(world, "octoguest") as guest:
        page = await reader.open(page_of("staging"))
        assert "you need write permission on GitHub" in page.text
        assert [one.action for one in page.forms if one.action.startswith("/acts/")] == []
        preview = await reader.open(deploy_of("staging", ref="main"))
        assert "What it would meet" in preview.text
        assert not preview.offers("/acts/deploy")
        fields = {**page.form("/signout").fields, "key": "x", "repo": REPO}
        for kind in ("deploy", "lock", "take_over_unlock"):
            refused = await reader.post(f"/acts/{kind}", {**fields, "environment": "staging"})
            assert refused.status == 403
        for path in (page_of("staging"), deploy_of("staging"), paths.roll_back(REPO, "staging")):
            assert (await guest.open(path)).status == 404


async def test_the_history_is_filtered_in_the_address(world: World) -> None:
    async with browser(world, "octocat") as mona:
        page = await mona.open(f"{page_of('staging')}?state=failed&who=octocat")
        assert "None of these match" in page.text
        page = await mona.open(f"{page_of('staging')}?state=succeeded&who=OCTOCAT")
        assert "None of these match" not in page.text
        page = await mona.open(f"{page_of('staging')}?state=nonsense&before=x&who=%00")
        assert page.status == 200
        assert "None of these match" not in page.text


async def test_names_may_be_hostile(world: World) -> None:
    names = [
        "preview/<script>alert(1)</script>",
        "preview/events",
        "preview/ü ?&#%",
        "preview/a//b",
    ]
    for name in names:
        await world.deploy(name, payload={})
    await world.idle()
    async with browser(world, "octocat") as mona:
        for name in names:
            page = await mona.open(page_of(name))
            assert page.status == 200, name
            assert f"{name} of {REPO}" in page.text
            assert "<script>alert" not in page.html
            assert page_of(name) in [one.action for one in page.forms]
        pattern = await mona.open(page_of("preview/*"))
        assert "This is a pattern of deploy.yml" in pattern.text
        assert "/environments/-/deploy/" not in pattern.html
        for path in (page_of("nowhere"), "/environments/acme/nothing/staging"):
            missing = await mona.open(path)
            assert missing.status == 404
            assert "There is nothing at this address" in missing.text


async def test_an_open_page_hears_of_a_lock_and_of_what_its_viewer_may_not_see_any_more(
    world: World,
) -> None:
    async with browser(world, "octocat") as mona, browser(world, "octoreader") as reader:
        page = await reader.open(page_of("staging"))
        [address] = re.findall(r'data-live="([^"]*)"', page.html)
        async with reader.session.get(f"{world.url}{address}") as stream:
            first = await _event(stream)
            assert {"there", "queue", "locks", "history_table", "requests"} <= set(first["parts"])
            assert first["title"] == f"staging of {REPO}"
            locking = await mona.open(page_of("staging"))
            await fill_in(mona, locking, "/acts/lock", **{"reason": "live", "for": "1h"})
            news = await _event(stream)
            assert "is locked by" in news["parts"]["locks"]
            assert "/acts/" not in news["parts"]["locks"]
            await mona.press(await reading(mona, page_of("staging"), "live"), "/acts/unlock")
            while "It is not locked" not in news["parts"].get("locks", ""):
                news = await _event(stream)
            world.github.add_collaborator(REPO, "octoreader", "none")
            world.clock.ahead += KEPT * 2
            try:
                await world.deploy("staging")
                while "parts" in news:
                    news = await _event(stream)
                assert news == {"state": "hidden"}
            finally:
                world.clock.ahead = timedelta(0)
                world.github.add_collaborator(REPO, "octoreader", "read")
                await world.idle()


async def _event(stream: aiohttp.ClientResponse) -> Any:
    """The data of the next event."""
    async with asyncio.timeout(20):
        async for line in stream.content:
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
    raise AssertionError("the stream ended")
