"""The App's tokens and statuses, against the sandbox's GitHub."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.world import MovableClock
from webhook.errors import Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.github.client import MOST_CALLS, GitHub, Status
from webhook.github.tokens import Scope
from webhook.settings import Settings

TOKENS = "POST /app/installations/*/access_tokens"
STATUS = Status(
    state="queued", description="", log_url="https://relay/#entry-1", environment_url=""
)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def github(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[GitHub]:
    environ = sandbox.environ(tmp_path, tmp_path / "deploy.yml", 8080)
    async with aiohttp.ClientSession() as session:
        yield GitHub(Settings.from_environ(environ), session)


@pytest.fixture
def scope(sandbox: Sandbox) -> Scope:
    site = sandbox.github.world.repository(REPOSITORY)
    return Scope(sandbox.installation.id, REPOSITORY, site.id)


async def test_calls_that_wait_for_a_token_share_one_fetch(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    await asyncio.gather(*(github.require_access(scope) for _ in range(MOST_CALLS)))
    assert sandbox.github.token_requests == 1


async def test_a_token_is_renewed_five_minutes_before_its_end(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    sandbox.github.auth.token_life = timedelta(minutes=4, seconds=59)
    await github.require_access(scope)
    await github.require_access(scope)
    assert sandbox.github.token_requests == 2
    sandbox.github.auth.token_life = timedelta(minutes=6)
    await github.require_access(scope)
    await github.require_access(scope)
    assert sandbox.github.token_requests == 3


async def test_a_token_is_good_for_one_repository_and_what_the_relay_needs_only(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    sandbox.github.add_repository("acme/other")
    await github.require_access(scope)
    [token] = sandbox.github.world.tokens.values()
    site = sandbox.github.world.repository(REPOSITORY)
    assert token.repositories == frozenset({site.id})
    assert token.permissions["deployments"] == "write"
    assert token.permissions["contents"] == "read"
    assert set(token.permissions) <= {"deployments", "contents", "metadata"}


async def test_without_a_permission_for_all_each_call_has_a_token_of_its_own(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    del sandbox.installation.permissions["contents"]
    for _ in range(2):
        await github.require_access(scope)
    [token] = sandbox.github.world.tokens.values()
    assert set(token.permissions) == {"deployments", "metadata"}
    assert sandbox.github.token_requests == 2


async def test_a_token_that_github_rejects_is_replaced_whatever_it_is_for(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    for permissions in ({"actions": "read"}, {"contents": "read", "deployments": "write"}):
        needed = scope.only(**permissions)
        await github.require_access(needed)
        sandbox.github.world.tokens.clear()
        await github.call(needed, "GET", f"/repos/{REPOSITORY}", None)


async def test_a_404_with_an_older_token_is_asked_again_with_a_new_one(
    sandbox: Sandbox, tmp_path: Path, scope: Scope
) -> None:
    clock = MovableClock()
    environ = sandbox.environ(tmp_path, tmp_path / "deploy.yml", 8080)
    async with aiohttp.ClientSession() as session:
        github = GitHub(Settings.from_environ(environ), session, clock)
        reading = scope.only(actions="read")
        runs = f"/repos/{REPOSITORY}/actions/runs"
        await github.call(reading, "GET", runs, None)
        sandbox.github.rename_repository(REPOSITORY, "newco/shop")
        sandbox.installation.repositories.clear()
        sandbox.github.add_installation("newco", ["newco/shop"])
        with pytest.raises(Rejected):
            await github.call(reading, "GET", runs, None)
        with clock.moved(timedelta(minutes=2)):
            assert (await github.call(reading, "GET", runs, None))["total_count"] == 0


async def test_a_search_for_the_installation_that_is_rejected_is_no_access(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    """So that statuses wait for days, not for minutes."""
    sandbox.github.world.installations.clear()
    blocked = Fault.status(403, {"message": "Repository access blocked"})
    sandbox.github.faults.add("GET */installation", blocked)
    with pytest.raises(Forbidden, match="Repository access blocked"):
        await github.require_access(scope)


async def test_the_jwt_begins_a_minute_ago_and_ends_within_nine(
    sandbox: Sandbox, github: GitHub
) -> None:
    await github.app()
    [claims] = sandbox.github.auth.claims
    assert claims["exp"] - claims["iat"] <= 9 * 60
    assert claims["iss"] == sandbox.github.app.client_id


@pytest.mark.parametrize(("ahead", "named"), [(-90, "9[01] s fast"), (500, "(499|500) s slow")])
async def test_after_a_rejected_jwt_githubs_clock_counts(
    sandbox: Sandbox, github: GitHub, scope: Scope, ahead: float, named: str
) -> None:
    sandbox.github.world.ahead = timedelta(seconds=ahead)
    await github.require_access(scope)
    assert re.fullmatch(f"this machine's clock is {named}", github.clock_error)
    await github.app()
    assert len(sandbox.github.called("GET", "/app")) == 1, "GitHub's clock is kept"
    sandbox.github.world.ahead = timedelta(0)  # as if this machine's clock had been set
    await github.app()
    assert len(sandbox.github.called("GET", "/app")) <= 3


async def test_a_clock_that_is_a_little_wrong_is_not_why_a_key_is_rejected(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    sandbox.github.world.ahead = timedelta(seconds=20)
    sandbox.github.faults.add(TOKENS, Fault.status(401, {"message": "no"}), times=2)
    with pytest.raises(Forbidden, match=r"App's key: no$"):
        await github.require_access(scope)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Fri, 27 Nov 2026 13:00:00",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 27 Nov 2026 13:00:00 +99999999999999",
    ],
)
async def test_a_date_that_cannot_be_githubs_is_not_gone_by(
    sandbox: Sandbox, github: GitHub, scope: Scope, date: str
) -> None:
    odd = Fault(status_code=401, headers={"Date": date}, body={"message": "odd"})
    sandbox.github.faults.add(TOKENS, odd)
    await github.require_access(scope)
    assert github.clock_error == ""


async def test_a_key_that_is_rejected_twice_may_be_accepted_later(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    sandbox.github.world.ahead = timedelta(seconds=-90)
    sandbox.github.faults.add(TOKENS, Fault.status(401, {"message": "no"}), times=2)
    with pytest.raises(Forbidden, match=r"App's key: no .*clock is 9[01] s fast") as raised:
        await github.require_access(scope)
    assert not raised.value.certain
    await github.require_access(scope)


async def test_an_enterprise_servers_limit_in_old_words_is_one(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    message = "You have triggered an abuse detection mechanism. Please wait a few minutes."
    sandbox.github.faults.add("POST *statuses", Fault.status(403, {"message": message}))
    with pytest.raises(RetryAt):
        await github.create_status(scope, 1, STATUS)


async def test_the_error_names_the_permission_that_the_app_lacks(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    sandbox.installation.permissions["deployments"] = "read"
    with pytest.raises(Forbidden, match="deployments: write"):
        await github.require_access(scope)


async def test_a_rate_limit_is_remembered_without_another_call(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    deployment = await sandbox.github.create_deployment(REPOSITORY, required_contexts=[])
    sandbox.github.faults.add("POST *statuses", Fault.rate_limited(60))
    for _ in range(3):
        with pytest.raises(RetryAt):
            await github.create_status(scope, deployment.id, STATUS)
    assert len(sandbox.github.called("POST", "/statuses")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(500),
        Fault.drop_before(),
        Fault.drop_after(),
        Fault(status_code=200, body="<html>a proxy's page</html>"),
    ],
    ids=["500", "drops", "acts, then drops", "not GitHub's"],
)
async def test_an_unclear_response_is_distinct_from_a_rejection(
    sandbox: Sandbox, github: GitHub, scope: Scope, fault: Fault
) -> None:
    deployment = await sandbox.github.create_deployment(REPOSITORY, required_contexts=[])
    sandbox.github.faults.add("POST *statuses", fault)
    with pytest.raises(UnknownOutcome):
        await github.create_status(scope, deployment.id, STATUS)
    with pytest.raises(Rejected):
        await github.create_status(scope, 404, STATUS)


async def test_a_status_is_found_by_its_entry(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    deployment = await sandbox.github.create_deployment(REPOSITORY, required_contexts=[])
    written = await github.create_status(scope, deployment.id, STATUS)
    assert await github.find_status(scope, deployment.id, "#entry-1") == written
    assert await github.find_status(scope, deployment.id, "#entry-11") is None


async def test_a_status_is_found_among_others_that_lack_optional_fields(
    sandbox: Sandbox, github: GitHub, scope: Scope
) -> None:
    statuses = [{"id": 1}, {"id": 2, "log_url": None}, {"id": 3, "log_url": STATUS.log_url}]
    sandbox.github.faults.add("GET *statuses", Fault(status_code=200, body=statuses))
    assert await github.find_status(scope, 1, "#entry-1") == 3
