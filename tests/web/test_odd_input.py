"""What nobody types, but sends: a page says so, and none of them breaks, or blames the store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.people import browser
from tests.world import World, live

ODD = {
    "/signin?next=//[": 303,
    "/signin?next=//%E2%84%80.example": 303,
    "/audit?actor=%00": 200,
    "/audit.csv?reason=%00&repo=%00": 200,
    "/audit?until=9999-12-31": 400,
    "/deliveries?q=%00": 200,
    "/deliveries?until=9999-12-31T23:59": 400,
    "/deliveries?since=0001-01-01": 400,
    "/deliveries/%00": 404,
    "/deliveries/%00/events": 404,
    "/deployments/%00/site/1": 404,
    "/deliveries/replays/99999999999999999999": 404,
    "/deployments/acme/site/99999999999999999999": 404,
    "/environments/acme/site/%00": 404,
    "/acts/retry?deployment=99999999999999999999": 404,
}


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    environ = {"GITPLOY_ADMIN_USERS": "octoadmin"}
    async with live(store_url, tmp_path, environ=environ, workers=0) as started:
        yield started


async def test_odd_addresses_get_an_answer(world: World) -> None:
    async with browser(world, "octoadmin") as operator:
        for path, expected in ODD.items():
            url, headers = f"{operator.host}{path}", {"Accept": "text/html"}
            async with operator.session.get(url, headers=headers, allow_redirects=False) as found:
                assert found.status == expected, path
