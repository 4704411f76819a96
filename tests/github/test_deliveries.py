"""GitHub's list of the App's deliveries: its pages, its numbers, what it does not have."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.model import Delivery
from sandbox.github.webhooks import Transit
from tests.github.github_app import OnGitHub, on_github
from webhook.engine.redelivery import find_delivery
from webhook.errors import Rejected, RetryAt, UnknownOutcome, UserError
from webhook.github import deliveries

LIST = "GET /app/hook/deliveries"


@pytest.fixture
async def app() -> AsyncIterator[OnGitHub]:
    async with on_github() as app:
        app.there.webhooks.transit = lambda _: Transit(fate="swallowed")
        app.there.webhook_url = "https://relay.example.com/webhook"
        yield app


async def sent(app: OnGitHub, count: int) -> list[Delivery]:
    """Newest first."""
    for _ in range(count):
        await app.there.ping()
    await app.there.settled()
    return sorted(app.there.deliveries, key=lambda one: one.delivered_at, reverse=True)


async def test_all_pages_are_listed_with_ids_that_no_double_holds(app: OnGitHub) -> None:
    app.there.webhooks.large_ids = True
    newest_first = await sent(app, deliveries.PAGE + 1)
    first = await deliveries.page(app.github)
    assert len(first.deliveries) == deliveries.PAGE
    last = await deliveries.page(app.github, first.cursor)
    assert last.cursor == ""
    listed = [*first.deliveries, *last.deliveries]
    assert [one.id for one in listed] == [one.id for one in newest_first]
    assert all(one.id > 2**53 and int(float(one.id)) != one.id for one in listed[:2])
    assert {(one.event, one.status, one.repository_id) for one in listed} == {("ping", "OK", 0)}
    assert all(url.query["per_page"] == "100" for url in app.requested)
    assert abs(first.at - datetime.now(UTC)) < timedelta(minutes=1)
    # 5,000 an hour.
    assert timedelta(seconds=0.7) < first.pace < timedelta(seconds=0.8)
    found = await deliveries.read(app.github, listed[0].id)
    assert found is not None
    assert (found.guid, found.event, found.hook_id) == (listed[0].guid, "ping", 4201)


async def test_a_stale_cursor_differs_from_other_errors(app: OnGitHub) -> None:
    await sent(app, deliveries.PAGE + 1)
    cursor = (await deliveries.page(app.github)).cursor
    app.there.webhooks.forget_cursors()
    with pytest.raises(Rejected) as stale:
        await deliveries.page(app.github, cursor)
    assert deliveries.is_stale(stale.value)
    app.there.faults.add(LIST, Fault.status(400))
    with pytest.raises(Rejected) as stale:
        await deliveries.page(app.github, cursor)
    assert deliveries.is_stale(stale.value)
    app.there.faults.add(LIST, Fault.status(404))
    with pytest.raises(Rejected) as other:
        await deliveries.page(app.github)
    assert not deliveries.is_stale(other.value)


@pytest.mark.parametrize(
    "link",
    [
        "https://api.github.com.example.com/app/hook/deliveries?cursor=v1_1",
        "http://user@127.0.0.1:1/api/v3/app/hook/deliveries?cursor=v1_1",
        "{api}/app/hook/deliveries/7?cursor=v1_1",
        "{api}/app/hook/deliveries",
        "//example.com/app/hook/deliveries?cursor=v1_1",
        "{api}/app/hook/deliveries?cursor=a&cursor=b",
    ],
)
async def test_a_link_that_leads_elsewhere_is_not_followed(app: OnGitHub, link: str) -> None:
    url = link.format(api=app.there.api_url)
    headers = {"Link": f'<{url}>; rel="next"'}
    item = {"id": 1, "guid": "g", "delivered_at": "2026-01-02T03:04:05Z", "event": "ping"}
    app.there.faults.add(LIST, Fault(status_code=200, headers=headers, body=[item]))
    with pytest.raises(UnknownOutcome, match="goes on at"):
        await deliveries.page(app.github)
    assert len(app.there.calls) == 1


async def test_a_page_that_leads_to_itself_is_an_error(app: OnGitHub) -> None:
    url = f"{app.there.api_url}/app/hook/deliveries?per_page=1&cursor=v1_1"
    item = {"id": 1, "guid": "g", "delivered_at": "2026-01-02T03:04:05Z", "event": "ping"}
    fault = Fault(status_code=200, headers={"Link": f'<{url}>; rel="next"'}, body=[item])
    app.there.faults.add(LIST, fault, times=2)
    assert (await deliveries.page(app.github)).cursor == "v1_1"
    with pytest.raises(UnknownOutcome, match="the same one"):
        await deliveries.page(app.github, "v1_1")


async def test_a_search_does_not_wait_for_the_rate_limit(app: OnGitHub) -> None:
    headers = {
        "Link": f'<{app.there.api_url}/app/hook/deliveries?cursor=v1_1>; rel="next"',
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(app.there.world.now().timestamp()) + 1800),
    }
    item = {"id": 1, "guid": "g", "event": "ping"}
    item["delivered_at"] = app.there.world.now().isoformat()
    app.there.faults.add(LIST, Fault(status_code=200, headers=headers, body=[item]))
    with pytest.raises(UserError, match="GitHub wants no call before"):
        await find_delivery(app.github, "other")


async def test_one_malformed_delivery_hides_no_other(app: OnGitHub) -> None:
    good = {"id": 7, "guid": "g", "delivered_at": "2026-01-02T03:04:05.678Z", "event": "push"}
    bad = [
        None,
        {},
        {**good, "id": 7.5},
        {**good, "id": 2**63},
        {**good, "guid": None},
        {**good, "guid": "a\x00b"},
        {**good, "delivered_at": "2026-01-02T03:04:05"},
        {**good, "repository_id": "x"},
    ]
    nulls = dict.fromkeys(("action", "repository_id", "installation_id", "throttled_at"))
    body = [*bad, {**good, **nulls, "new": {}}]
    app.there.faults.add(LIST, Fault(status_code=200, body=body))
    page = await deliveries.page(app.github)
    assert [one.id for one in page.deliveries] == [7]
    assert page.oldest == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    app.there.faults.add(LIST, Fault(status_code=200, body={"message": "?"}))
    with pytest.raises(UnknownOutcome):
        await deliveries.page(app.github)


async def test_a_delivery_is_read_in_full_whatever_the_case_of_its_headers(app: OnGitHub) -> None:
    [one] = await sent(app, 1)
    one.headers = {name.upper(): value for name, value in one.headers.items()}
    one.headers["Content-Type"] = "application/json"
    one.body = b'{"zen": "\\ud800 \xc3\xa4", "number": 12345678901234567890}'
    found = await deliveries.read(app.github, one.id)
    assert found is not None
    assert json.loads(found.body) == json.loads(one.body)
    assert b" :" not in found.body
    one.forgotten = True
    assert await deliveries.read(app.github, one.id) is None
    with pytest.raises(Rejected):
        await deliveries.read(app.github, 1)
    path = f"GET /app/hook/deliveries/{one.id}"
    unreadable: list[Any] = [[], {"request": {"payload": {}, "headers": {"X-GitHub-Hook-ID": "x"}}}]
    for body in unreadable:
        app.there.faults.add(path, Fault(status_code=200, body=body))
        with pytest.raises(UnknownOutcome):
            await deliveries.read(app.github, one.id)
    app.there.faults.add(path, Fault(status_code=200, body={"request": None}))
    assert await deliveries.read(app.github, one.id) is None


async def test_a_redelivery_is_a_new_attempt_with_the_same_guid(app: OnGitHub) -> None:
    [one] = await sent(app, 1)
    await deliveries.redeliver(app.github, one.id)
    await app.there.settled()
    again, first = (await deliveries.page(app.github)).deliveries
    assert again.guid == first.guid
    assert again.id != first.id
    app.there.faults.add("POST /app/hook/deliveries/*/attempts", Fault.rate_limited(120))
    with pytest.raises(RetryAt) as limited:
        await deliveries.redeliver(app.github, one.id)
    assert limited.value.at - datetime.now(UTC) > timedelta(seconds=110)


async def test_the_hook_says_where_it_points(app: OnGitHub) -> None:
    hook = await deliveries.hook(app.github)
    assert hook == deliveries.Hook(
        url="https://relay.example.com/webhook", content_type="json", insecure_ssl=False
    )
    app.there.faults.add("GET /app/hook/config", Fault.status(404))
    assert await deliveries.hook(app.github) is None
    app.there.faults.add("GET /app/hook/config", Fault(status_code=200, body={"insecure_ssl": 1}))
    assert await deliveries.hook(app.github) == deliveries.Hook(
        url="", content_type="form", insecure_ssl=True
    )
    # An Enterprise Server's address, which is the stand-in's.
    assert deliveries.kept_for(app.github) == timedelta(days=7)
