"""Where GitHub refuses the statuses, whoever looks at the relay sees it: since when, and why."""

import re

import aiohttp

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY
from tests.world import World, until
from webhook.check.run import check
from webhook.security.signing import Links
from webhook.timing import utc_now

STATUSES = "POST /repos/*/deployments/*/statuses"
REFUSED = {"message": f"Resource of {REPOSITORY} not accessible by integration"}


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def checked(world: World) -> list[str]:
    lines: list[str] = []
    await check({**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}, lines.append)
    return [line for line in lines if "GitHub statuses: " in line]


async def test_page_check_and_probes_say_that_github_lacks_the_state(world: World) -> None:
    world.github.faults.add(STATUSES, Fault.status(403, REFUSED), times=1000)
    refused = await world.deploy()
    await world.phase(refused.id, "success")
    errors = "select error from outbox where kind = 'status' and error <> ''"
    await until(lambda: world.rows(errors) or None)
    since = rf"since {utc_now():%Y}-\d\d-\d\d \d\d:\d\d:\d\d UTC: .*403.*"
    lacks = "GitHub lacks the state of a deployment"

    keys = world.setup.secret_keys
    _, page = await get(Links(world.url, keys).page(REPOSITORY, refused.id))
    headline = page[page.index('id="state"') : page.index('id="timing"')]
    assert "Succeeded" in headline
    assert re.search(r"GitHub does not show this yet, since .* UTC: ", headline)
    [finding] = await checked(world)
    assert "error" in finding
    assert re.search(rf"{lacks} of {REPOSITORY} {since}", finding)
    status, verbose = await get(f"{world.url}/readyz?verbose")
    assert status == 200
    assert re.search(rf"{lacks} {since}", verbose)
    assert "acme" not in verbose  # everybody may ask, and the repository may be private
    status, work = await get(f"{world.url}/workz")
    assert status == 503
    assert "acme" not in work

    world.github.faults.clear()
    await world.deployed()
    assert await checked(world) == []
