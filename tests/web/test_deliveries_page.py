"""The deliveries' pages: who sees which, what they say, and what is requested on them."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from sandbox.sandbox import REPOSITORY
from tests.cli.test_replay import BUG, HASTY
from tests.web.people import Browser, Page, browser
from tests.world import World, live, until
from webhook.logs import Redactor
from webhook.startup import read_config
from webhook.web.auth.access import KEPT
from webhook.web.pages.deliveries.payload import SHOWN, payload_of

DEPLOY_YML = """
unrouted: ignore
envs:
  - {name: production, handler: command, with: {run: ["true"]}}
"""
WITH_MOON = f"{DEPLOY_YML}  - {{name: moon, handler: command, with: {{run: ['true']}}}}\n"
OPERATOR = "octoboss"
REQUESTS = "select 1 from delivery_requests"
GUID = "feedface-0000-4000-8000-00000000000"


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    environ = {"GITPLOY_ADMIN_USERS": OPERATOR}
    async with live(store_url, tmp_path, DEPLOY_YML, environ=environ, timing=HASTY) as started:
        started.github.add_user(OPERATOR)
        yield started


def guid_of(world: World, event: str, outcome: str | None = None) -> str:
    condition = "" if outcome is None else f" and outcome = '{outcome}'"
    query = f"select guid from deliveries where event = %s{condition} order by id desc limit 1"
    [row] = world.rows(query, event)
    return str(row["guid"])


def shown(page: Page) -> set[str]:
    """The GUIDs to which it links."""
    paths = (link.removeprefix("/deliveries/") for link in page.links)
    return {path for path in paths if len(path) == 36}


def add(world: World, number: int, body: Any, outcome: str = "ignored", **columns: Any) -> str:
    guid = f"{GUID}{number:x}"
    values = {"event": "push", "reason": "", "repo_id": None, **columns}
    world.execute(
        "insert into deliveries (hook_id, guid, event, body, outcome, reason, repo_id)"
        " values (1, %s, %s, %s, %s, %s, %s)",
        *(guid, values["event"], body if isinstance(body, bytes) else json.dumps(body).encode()),
        *(outcome, values["reason"], values["repo_id"]),
    )
    return guid


async def replayed(world: World, guid: str) -> dict[str, Any]:
    """The newest request of it, once it is over."""

    def over() -> dict[str, Any] | None:
        query = "select * from delivery_requests where guid = %s order by id desc limit 1"
        rows = world.rows(query, guid)
        return rows[0] if rows and rows[0]["ended_at"] else None

    row: dict[str, Any] = await until(over)
    return row


async def test_operators_see_all_and_admins_of_a_repository_its_deliveries(world: World) -> None:
    deployment = await world.deployed()
    guid = guid_of(world, "deployment")
    ping = add(world, 1, {"zen": "Keep it logically awesome."}, event="ping")
    async with browser(world) as nobody:
        assert "login/oauth/authorize" in (await nobody.open("/deliveries")).url
        assert "login/oauth/authorize" in (await nobody.open(f"/deliveries/{guid}")).url
    async with browser(world, OPERATOR) as operator:
        every = await operator.open("/deliveries")
        assert {guid, ping} <= shown(every)
        assert f"/deployments/{REPOSITORY}/{deployment.id}" in every.links
        assert "deployment.created" in every.text
        assert "Missed" in every.text
        assert (await operator.open(f"/deliveries/{ping}")).status == 200
    async with browser(world, "octoadmin") as admin:
        own = await admin.open("/deliveries")
        assert guid in shown(own)
        assert ping not in shown(own)
        assert "Missed" not in own.text
        assert (await admin.open(f"/deliveries/{ping}")).status == 404
        assert (await admin.open("/deliveries?tab=missed")).status == 200
        assert (await admin.open(f"/deliveries/{guid}/payload")).status == 200
        world.github.add_collaborator(REPOSITORY, "octoadmin", "write")
        with world.clock.moved(KEPT + timedelta(seconds=1)):
            assert (await admin.open(f"/deliveries/{guid}")).status == 404
            assert (await admin.open(f"/deliveries/{guid}/payload")).status == 404
    async with browser(world, "octowriter") as writer:
        empty = await writer.open("/deliveries")
        assert shown(empty) == set()
        assert "You administer no repository here" in empty.text
        hidden, missing = [await writer.open(f"/deliveries/{one}") for one in (guid, GUID)]
        assert (hidden.status, missing.status) == (404, 404)
        assert hidden.text == missing.text


async def test_the_list_is_filtered_by_its_address(world: World) -> None:
    deployment = await world.deployed()
    await world.deploy("moon")
    await world.idle()
    add(world, 2, {"action": "opened"}, event="issues", reason="the relay does not act on 'issues'")
    dead = add(world, 3, b"{", outcome="failed", reason="the body is not JSON")
    async with browser(world, OPERATOR) as operator:

        async def found(query: str) -> set[str]:
            page = await operator.open(f"/deliveries?{query}")
            assert page.status == 200, page.text
            return shown(page)

        all_of_them = await found("")
        deployments = await found("event=deployment")
        assert len(deployments) == 2
        assert await found("event=deployment&outcome=ignored") < deployments
        assert dead in await found("outcome=failed")
        assert await found("tab=dead") == await found("tab=failed") == {dead}
        assert await found("q=not+JSON") == {dead}
        assert await found("q=feedface") == {f"{GUID}2", dead}
        assert await found(f"q={dead}") == {dead}
        assert await found("q=MOON") <= await found("event=deployment")
        assert await found("since=1h") == all_of_them
        assert await found("until=1h") == set()
        assert await found("since=2020-01-01&until=2020-02-01") == set()
        assert await found(f"repo={quote(REPOSITORY.upper())}") == all_of_them - {f"{GUID}2", dead}
        assert await found("repo=acme/other") == set()
        own = await found(f"deployment={deployment.id}")
        assert own
        assert own < all_of_them
        bad = await operator.open("/deliveries?since=yesterday&event=%3Cb%3E")
        assert bad.status == 400
        assert "“yesterday” is no time" in bad.text
        assert "“<b>” is no event" in bad.text
        assert shown(bad) == set()


async def test_the_list_goes_on_page_by_page_and_says_how_far_it_searched(world: World) -> None:
    world.execute(
        "insert into deliveries (hook_id, guid, event, body, outcome)"
        " select 1, md5(i::text)::uuid::text, case when i = 1 then 'issues' else 'push' end,"
        " '{}', 'ignored' from generate_series(1, 120) i"
    )
    async with browser(world, OPERATOR) as operator:
        pages = [await operator.open("/deliveries?event=push")]
        while older := [one for one in pages[-1].links if "before=" in one]:
            pages.append(await operator.open(older[0]))
        found = [shown(page) for page in pages]
        assert [len(one) for one in found] == [40, 40, 39]
        assert len(set().union(*found)) == 119
        # As if there were more deliveries than are searched at once.
        world.execute("alter sequence deliveries_id_seq restart with 30000")
        world.execute("delete from deliveries where event = 'push'")
        add(world, 1, {})
        first = await operator.open("/deliveries?event=issues")
        assert shown(first) == set()
        assert "Only deliveries since" in first.text
        [further] = [one for one in first.links if "before=" in one]
        second = await operator.open(further)
        while not shown(second):
            [further] = [one for one in second.links if "before=" in one]
            second = await operator.open(further)
        assert len(shown(second)) == 1


async def test_a_page_shows_what_came_and_hostile_payloads_do_nothing(world: World) -> None:
    deployment = await world.deployed()
    secret = world.github.webhook_secret
    hostile = {
        "action": "created",
        "repository": {"full_name": "acme/<script>alert(1)</script>", "id": 77},
        "message": f"</pre><script>alert(2)</script>\u202e{secret}",
        "nested": [[1.5, True, None]],
    }
    guid = add(world, 4, hostile, event="issues", reason="<img src=x onerror=alert(3)>")
    async with browser(world, OPERATOR) as operator:
        page = await operator.open(f"/deliveries/{guid}")
        assert page.status == 200
        assert page.headers["Cache-Control"] == "no-store"
        for text in ("<script>alert", "<img src=x", "\u202e", secret):
            assert text not in page.html
        assert "&lt;/pre&gt;&lt;script&gt;alert(2)" in page.html
        assert '<b>"message"</b>' in page.html
        assert "X-GitHub-Hook-ID" in page.text
        file = await operator.open(f"/deliveries/{guid}/payload")
        assert file.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert file.headers["Content-Disposition"] == f"attachment; filename={guid}.json"
        assert file.headers["Cache-Control"] == "no-store"
        assert secret not in file.html
        assert json.loads(file.html)["nested"] == [[1.5, True, None]]
        listed = await operator.open("/deliveries?event=issues")
        assert "<script>alert" not in listed.html
        own = await operator.open(f"/deliveries/{guid_of(world, 'deployment')}")
        assert f"/deployments/{REPOSITORY}/{deployment.id}" in own.links
        assert "production, deployed by command" in own.text


def test_a_long_payload_is_cut_and_what_is_no_json_is_shown_as_it_is() -> None:
    long = payload_of(json.dumps({str(i): "<" * 50 for i in range(2000)}).encode(), Redactor(()))
    assert long.cut
    assert SHOWN - 200 < len(long.content.html.replace("&lt;", "<")) < SHOWN * 1.2
    for body in (b"{", b"\xff\x00", b"[" * 5000, b""):
        odd = payload_of(body, Redactor(()))
        assert (odd.size, odd.cut) == (len(body), False)


async def with_moon(world: World, tmp_path: Path) -> None:
    (tmp_path / "deploy.yml").write_text(WITH_MOON)
    await world.stop_workers()
    world.setup = replace(world.setup, config=read_config(world.setup.environ))
    world.start_worker()


async def test_a_replay_processes_it_again_once_however_often_it_is_sent(
    world: World, tmp_path: Path
) -> None:
    await world.deployed()
    ignored = await world.deploy("moon")
    await world.idle()
    guid = guid_of(world, "deployment", "ignored")
    await with_moon(world, tmp_path)
    async with browser(world, "octoadmin") as admin, browser(world, "octowriter") as writer:
        page = await admin.open(f"/deliveries/{guid}")
        action = f"/deliveries/{guid}/replay"
        foreign = {**page.form(action).fields}
        assert (await writer.post(action, foreign)).status == 403
        assert (await admin.post(action, {**foreign, "csrf": "x"})).status == 403
        assert (await admin.post(action, foreign, Origin="https://evil.example")).status == 403
        own = await writer.open("/deliveries")
        fields = {**own.form("/signout").fields}
        assert (await writer.post(action, fields)).status == 404
        assert world.rows(REQUESTS) == []

        first = await admin.press(page, action)
        second = await admin.press(page, action)
        assert first.url == second.url == f"{world.url}/deliveries/{guid}"
        assert "by octoadmin" in first.text
        await replayed(world, guid)
        await world.github.wait_for(ignored.id, "success")
        assert len(world.rows(REQUESTS)) == 1
        [act] = world.rows("select actor, source, action, repo, details from audit")
        assert act == {
            "actor": "octoadmin",
            "source": "page",
            "action": "replay",
            "repo": REPOSITORY,
            "details": {"deliveries": [guid], "count": 1},
        }
        assert guid in shown(await admin.open("/deliveries?outcome=processed"))
    waiting = add(world, 5, {}, outcome="done")
    world.execute("update deliveries set outcome = null where guid = %s", waiting)
    async with browser(world, OPERATOR) as operator:
        page = await operator.open(f"/deliveries/{waiting}")
        assert not page.offers(f"/deliveries/{waiting}/replay")
        fields = (await operator.open(f"/deliveries/{guid}")).form(action).fields
        late = await operator.post(f"/deliveries/{waiting}/replay", fields)
        assert late.status == 409
        assert "waits to be processed" in late.text


async def test_github_is_asked_to_send_it_again_and_what_it_says_is_shown(world: World) -> None:
    await world.deployed()
    guid = guid_of(world, "deployment")
    async with browser(world, "octoadmin") as admin:
        action = f"/deliveries/{guid}/redeliver"
        page = await admin.open(f"/deliveries/{guid}")
        await admin.press(page, action)
        await admin.press(page, action)
        assert (await replayed(world, guid))["state"] == "done"
        await until(
            lambda: (
                world.rows("select 1 from deliveries where guid = %s and arrivals = 2", guid)
                or None
            )
        )
        assert len([one for one in world.github.deliveries if one.guid == guid]) == 2
        assert "it has arrived" in (await admin.open(f"/deliveries/{guid}")).text
        [act] = world.rows("select actor, source, action, details from audit")
        assert (act["action"], act["source"], act["details"]) == (
            "redeliver",
            "page",
            {"delivery": guid},
        )
    world.execute(
        "with begun as (insert into delivery_requests (key, kind, login, user_id, guid, state)"
        " values ('begun', 'redeliver', 'octoboss', 1, %s, 'running') returning id)"
        " insert into schedule (task, subject) select 'redeliver', id from begun",
        guid,
    )
    assert "a worker ended while GitHub was asked" in (await replayed(world, guid))["message"]
    assert len([one for one in world.github.deliveries if one.guid == guid]) == 2
    gone = add(world, 6, {}, outcome="failed")
    async with browser(world, OPERATOR) as operator:
        action = f"/deliveries/{gone}/redeliver"
        await operator.press(await operator.open(f"/deliveries/{gone}"), action)
        assert (await replayed(world, gone))["state"] == "failed"
        after = await operator.open(f"/deliveries/{gone}")
        assert f"does not have {gone} any more; replay what is stored here" in after.text


async def test_what_was_missed_is_shown_to_operators_and_can_be_sent_again(world: World) -> None:
    await world.deployed()
    lost = f"{GUID}7"
    world.execute(
        "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at, state,"
        " reason) values (%s, 'deployment', 5, now(), now(), 'given_up', 'GitHub has no payload')",
        lost,
    )
    async with browser(world, OPERATOR) as operator, browser(world, "octoadmin") as admin:
        missed = await operator.open("/deliveries?tab=missed")
        assert shown(missed) == {lost}
        assert "given up" in missed.text
        page = await operator.open(f"/deliveries/{lost}")
        assert "it has not arrived" in page.text
        await operator.press(page, f"/deliveries/{lost}/redeliver")
        assert (await replayed(world, lost))["state"] == "failed"
        assert "does not have" in (await operator.open(f"/deliveries/{lost}")).text
        assert (await admin.open(f"/deliveries/{lost}")).status == 404
        assert lost not in (await admin.open("/deliveries?tab=missed")).html


async def test_all_missed_ones_that_match_are_sent_again_after_a_plan(world: World) -> None:
    await world.deployed()
    guid = guid_of(world, "deployment")
    sent = next(one for one in world.github.deliveries if one.guid == guid)
    world.execute("delete from deliveries where guid = %s", guid)
    unknown, old = f"{GUID}7", f"{GUID}8"
    for lost, event, github_id, days in (
        (guid, "deployment", sent.id, 0),
        (unknown, "push", 5, 0),
        (old, "deployment", 6, 8),
    ):
        world.execute(
            "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at,"
            " state) select %s, %s, %s, at, at, 'given_up' from"
            " (select now() - make_interval(days => %s)) one (at)",
            *(lost, event, github_id, days),
        )
    async with browser(world, OPERATOR) as operator:
        page = await operator.open("/deliveries?tab=missed&event=deployment")
        assert shown(page) == {guid, old}
        fields = page.form("/deliveries").fields
        assert (fields["tab"], fields["event"]) == ("missed", "deployment")
        [link] = [one for one in page.links if one.startswith("/deliveries/redeliver?")]
        plan = await operator.open(link)
        assert shown(plan) == {guid}
        assert "send 1 delivery once more" in plan.text
        assert "GitHub keeps deliveries for 7 days" in plan.text
        world.execute(
            "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at,"
            " state) select 'newer-' || number, 'deployment', number, now(), now(), 'given_up'"
            " from generate_series(1, 60) number"
        )
        for _ in range(2):
            page = await operator.press(plan, "/deliveries/redeliver")
            assert page.url.endswith("/deliveries?tab=missed&event=deployment")
        await until(lambda: world.rows("select 1 from deliveries where guid = %s", guid) or None)
        assert (await replayed(world, guid))["state"] == "done"
        assert not world.rows("select 1 from delivery_requests where guid like 'newer-%%'")
        world.execute("delete from missed_deliveries where guid like 'newer-%%'")
        assert "by octoboss" in (await operator.open("/deliveries?tab=missed")).text
        await operator.press(await operator.open("/deliveries/redeliver"), "/deliveries/redeliver")
        assert "does not have" in (await replayed(world, unknown))["message"]
        assert (await operator.open("/deliveries/redeliver?since=soon")).status == 400
    acts = world.rows("select actor, action, details->>'delivery' as guid from audit order by id")
    assert [one for one in acts if one["guid"] == guid] == [
        {"actor": OPERATOR, "action": "redeliver", "guid": guid}
    ]


async def test_what_would_happen_now_is_said_without_doing_it(world: World, tmp_path: Path) -> None:
    await world.deploy("moon")
    await world.idle()
    guid = guid_of(world, "deployment", "ignored")
    async with browser(world, "octoadmin") as admin, browser(world, "octowriter") as writer:
        page = await admin.open(f"/deliveries/{guid}")
        assert f"/deliveries/{guid}/simulation" in page.links
        simulated = await admin.open(f"/deliveries/{guid}/simulation")
        assert simulated.status == 200
        assert "ignored: No route for environment 'moon'" in simulated.text
        assert (await writer.open(f"/deliveries/{guid}/simulation")).status == 404
    add(world, 9, b"{", event="deployment")
    async with browser(world, OPERATOR) as operator:
        simulated = await operator.open(f"/deliveries/{GUID}9/simulation")
        assert "failed: the body is not JSON" in simulated.text
    assert world.rows(REQUESTS) == []


async def start_replay(person: Browser, query: str) -> Page:
    plan = await person.open(f"/deliveries/replay?{query}")
    assert plan.status == 200, plan.text
    return await person.press(plan, "/deliveries/replay")


async def test_all_that_match_are_replayed_with_a_count_first_and_a_report(world: World) -> None:
    for statement in BUG:
        world.execute(statement)
    deployment = await world.deploy()
    await until(lambda: world.delivery_outcomes().get("failed"))
    broken = add(world, 8, b"{", outcome="failed", reason="the body is not JSON")
    async with browser(world, OPERATOR) as operator:
        dead = await operator.open("/deliveries?tab=dead")
        assert "Dead letters 2" in dead.text
        assert "given up after 8 attempts" in dead.text
        assert "/deliveries/replay?tab=dead" in dead.links
        world.execute("drop trigger bug on deployments")

        plan = await operator.open("/deliveries/replay?tab=dead")
        assert "2 deliveries would be processed again" in plan.text
        assert "1 ask for a deployment" in plan.text
        report = await operator.press(plan, "/deliveries/replay")
        again = await operator.press(plan, "/deliveries/replay")
        assert report.url == again.url
        await until(lambda: world.rows(f"{REQUESTS} where state = 'done'") or None)
        await world.github.wait_for(deployment.id, "success")
        report = await operator.open(report.url.removeprefix(world.url))
        assert "2 of 2 deliveries" in report.text
        assert "1 processed" in report.text
        assert "1 failed" in report.text
        assert shown(report) == {broken}
        [act] = world.rows("select actor, action, reason, details from audit")
        assert act == {
            "actor": OPERATOR,
            "action": "replay",
            "reason": "2 deliveries",
            "details": {"tab": "dead", "count": 2},
        }
        assert "2 of 2 deliveries" in (await operator.open("/deliveries")).text
        async with browser(world, "octoadmin") as admin:
            path = report.url.removeprefix(world.url)
            assert (await admin.open(path)).status == 404
            # The relay has got to know the repository just now.
            with world.clock.moved(KEPT):
                plan = await admin.open("/deliveries/replay?event=deployment")
            assert "1 delivery would be processed again" in plan.text
        async with browser(world, "octowriter") as writer:
            assert (await writer.open("/deliveries/replay?event=deployment")).status == 404


async def test_a_replay_of_many_can_be_cancelled_and_leaves_the_rest(
    store_url: str, tmp_path: Path
) -> None:
    environ = {"GITPLOY_ADMIN_USERS": OPERATOR}
    async with live(store_url, tmp_path, DEPLOY_YML, environ=environ, workers=0) as world:
        world.github.add_user(OPERATOR)
        world.execute(
            "insert into deliveries (hook_id, guid, event, body, outcome, received_at)"
            " select 1, md5(i::text)::uuid::text, 'issues', '{}',"
            " case when i = 1 then null else 'ignored' end,"
            " now() - case when i = 2 then interval '400 days' else '0' end"
            " from generate_series(1, 152) i"
        )
        async with browser(world, OPERATOR) as operator:
            plan = await operator.open("/deliveries/replay?event=issues")
            assert "150 deliveries would be processed again" in plan.text
            assert "Left out: 1, each of which waits to be processed" in plan.text
            assert "Left out: 1, each of which is older than 365 days" in plan.text
            report = await operator.press(plan, "/deliveries/replay")
            assert "waits for a worker" in report.text
            path = report.url.removeprefix(world.url)
            cancelled = await operator.press(report, f"{path}/cancel")
            assert f"Cancelled by {OPERATOR}" in cancelled.text
            assert not cancelled.offers(f"{path}/cancel")
            world.start_worker()
            await until(lambda: world.rows(f"{REQUESTS} where ended_at is not null") or None)
            waiting = world.rows("select count(*) from deliveries where outcome is null")
            assert waiting[0]["count"] <= 1
            assert "0 of 150 deliveries" in (await operator.open(path)).text

            report = await start_replay(operator, "event=issues")
            await until(lambda: world.rows(f"{REQUESTS} where state = 'done'") or None)
            report = await operator.open(report.url.removeprefix(world.url))
            assert "150 ignored" in report.text or "151 ignored" in report.text
            actions = [row["action"] for row in world.rows("select action from audit order by id")]
            assert actions == ["replay", "cancel replay", "replay"]


async def test_open_pages_follow_what_becomes_of_a_delivery(world: World, tmp_path: Path) -> None:
    await world.deploy("moon")
    await world.idle()
    guid = guid_of(world, "deployment", "ignored")
    await with_moon(world, tmp_path)
    async with browser(world, "octoadmin") as admin:
        page = await admin.open(f"/deliveries/{guid}")
        key = page.form(f"/deliveries/{guid}/replay").fields["key"]
        address = f"/deliveries/{guid}/events?key={key}"
        assert f'data-live="{address}"' in page.html
        url = f"{world.url}{address}"
        async with admin.session.get(url) as stream:
            parts = Shown(stream)
            await parts.until("outcome", "ignored")
            assert f'value="{key}"' in parts.html["again"]
            await admin.press(page, f"/deliveries/{guid}/replay")
            await parts.until("requested", "done")
            assert "by octoadmin" in parts.html["requested"]
            await parts.until("outcome", "processed")
        async with admin.session.get(f"{world.url}/deliveries/events?event=deployment") as stream:
            parts = Shown(stream)
            await parts.until("delivery_list", "processed")
            assert guid in parts.html["delivery_list"]


class Shown:
    """The parts of an open page, by the ids of their elements."""

    def __init__(self, stream: aiohttp.ClientResponse) -> None:
        self.html: dict[str, str] = {}
        self._stream = stream

    async def until(self, name: str, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.html.get(name, ""):
                line = await self._stream.content.readline()
                assert line, "the stream ended"
                if line.startswith(b"data: "):
                    self.html |= json.loads(line.removeprefix(b"data: ")).get("parts", {})
