"""`github-actions` with bad responses of GitHub."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Deployment, Run, State
from handlers.errors import Unavailable, UnknownOutcome
from handlers.github_actions import GitHubActions
from sandbox.faults import Fault
from tests.handlers.github_actions_runs import OnGitHub, opened
from tests.handlers.tools import a_certificate, served_with_tls

HTML = "<!doctype html><title>502 Bad Gateway</title>"


@pytest.fixture
async def on_github(tmp_path: Path) -> AsyncIterator[OnGitHub]:
    async with opened(tmp_path, timeout=0.5) as on_github:
        on_github.actions.runs.paused = True
        yield on_github


@dataclass
class Case:
    """A deployment under way in one of the modes, and the call on which that depends."""

    on_github: OnGitHub
    handler: GitHubActions
    deployment: Deployment
    run: Run
    match: str

    def suffers(self, fault: Fault, times: int = 1) -> None:
        """`times`: a call that gets 401, or is dropped, is repeated once immediately."""
        self.on_github.sandbox.github.faults.add(self.match, fault, times)

    async def checked(self) -> Run:
        return await self.handler.check(self.deployment, self.run)


@pytest.fixture(params=["watch", "dispatch"])
async def case(on_github: OnGitHub, request: pytest.FixtureRequest) -> Case:
    if request.param == "watch":
        on_github.workflow()
        handler, deployment = on_github.handler(), await on_github.deployment()
        run = await handler.find(deployment)
        assert run is not None
        return Case(on_github, handler, deployment, run, f"GET */actions/runs/{run.id}")
    on_github.dispatched()
    handler = on_github.handler(mode="dispatch", workflow="deploy.yml")
    deployment = await on_github.deployment()
    run = await handler.start(deployment)
    return Case(on_github, handler, deployment, run, f"GET */actions/runs/{run.id}")


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(500),
        Fault.status(502, HTML),
        Fault(status_code=200, body=HTML),
        Fault(status_code=200, body={"workflow_runs": 7, "id": 7}),
        Fault(status_code=200, body=[]),
        Fault(status_code=200, body="x" * 50 * 1024**2),
        Fault(status_code=200, body={"workflow_runs": [{"id": 2**70}], "id": 2**70}),
        Fault.drop_before(),
        Fault.hang(0.7),
    ],
    ids=["500", "502", "HTML", "unknown", "a list", "50 MB", "huge numbers", "drops", "hangs"],
)
async def test_an_unclear_response_is_tried_again(case: Case, fault: Fault) -> None:
    case.suffers(fault, times=2 if fault.drops else 1)
    with pytest.raises(UnknownOutcome, match="GitHub"):
        await case.checked()
    run = await case.checked()
    assert run.state is State.QUEUED


@pytest.mark.parametrize("code", [401, 403, 410, 451])
async def test_a_rejection_during_a_run_may_be_temporary(case: Case, code: int) -> None:
    case.suffers(Fault.status(code, {"message": "No"}), times=2 if code == 401 else 1)
    with pytest.raises(Unavailable) as caught:
        await case.checked()
    assert "No" in str(caught.value) or code == 401
    assert (await case.checked()).state is State.QUEUED


@pytest.mark.parametrize("limit", [Fault.rate_limited(7), Fault.secondary_limit(7)])
async def test_a_rate_limit_includes_when_to_retry(case: Case, limit: Fault) -> None:
    case.suffers(limit)
    with pytest.raises(Unavailable) as caught:
        await case.checked()
    assert caught.value.retry_at is not None
    wait = caught.value.retry_at - datetime.now(UTC)
    assert timedelta(seconds=5) < wait <= timedelta(seconds=7)


async def test_an_app_that_was_removed_may_come_back(case: Case) -> None:
    world = case.on_github.sandbox.github.world
    installation = case.on_github.sandbox.installation
    del world.installations[installation.id]
    with pytest.raises(Unavailable):
        await case.checked()
    world.installations[installation.id] = installation
    assert (await case.checked()).state is State.QUEUED


async def test_a_github_that_is_away_is_tried_again(case: Case) -> None:
    await case.on_github.sandbox.github.stop()
    with pytest.raises(Unavailable):
        await case.checked()
    await case.on_github.sandbox.github.start()
    assert (await case.checked()).state is State.QUEUED


async def test_an_unknown_status_is_shown_and_changes_nothing(case: Case) -> None:
    [started] = case.on_github.runs_of(case.deployment)
    started.status = "levitating"
    case.run = replace(case.run, state=State.IN_PROGRESS)
    run = await case.checked()
    assert (run.state, run.description) == (
        State.IN_PROGRESS,
        "GitHub says 'levitating', which the relay does not know",
    )


@pytest.mark.parametrize("ending", ["jobs", "deployments"])
async def test_the_other_documents_may_be_of_another_shape_too(
    on_github: OnGitHub, ending: str
) -> None:
    on_github.workflow(run_name="")
    handler, deployment = on_github.handler(), await on_github.deployment()
    [started] = on_github.runs_of(deployment)
    on_github.actions.runs.finish(started)
    unusual: list[Any] = [{"jobs": None}, [{"id": "x"}], None, HTML]
    for body in unusual:
        on_github.sandbox.github.faults.add(f"GET */{ending}", Fault(status_code=200, body=body))
        with pytest.raises(UnknownOutcome, match="does not understand"):
            await handler.find(deployment)
    assert await handler.find(deployment)


async def test_a_github_with_an_untrusted_certificate_is_not_called(
    tmp_path: Path, on_github: OnGitHub
) -> None:
    deployment = await on_github.deployment()
    async with (
        served_with_tls(a_certificate(tmp_path)) as url,
        opened(tmp_path, api_url=f"{url}/api/v3") as elsewhere,
    ):
        for options in ({}, {"mode": "dispatch", "workflow": "deploy.yml"}):
            handler = elsewhere.handler(**options)
            with pytest.raises(Unavailable, match="certificate"):
                await handler.find(deployment)
            with pytest.raises(Unavailable, match="certificate"):
                await handler.check(deployment, Run("7", State.IN_PROGRESS))


@pytest.mark.parametrize(
    ("fault", "done"),
    [(Fault.drop_after(), 1), (Fault.hang_after(0.7), 1), (Fault.drop_before(), 0)],
    ids=["drops after", "hangs after", "drops before"],
)
async def test_a_dispatch_whose_response_is_lost_happens_once(
    on_github: OnGitHub, fault: Fault, done: int
) -> None:
    on_github.dispatched()
    handler = on_github.handler(mode="dispatch", workflow="deploy.yml")
    deployment = await on_github.deployment()
    on_github.sandbox.github.faults.add("POST *dispatches", fault)
    assert await handler.find(deployment) is None
    with pytest.raises(UnknownOutcome):
        await handler.start(deployment)
    found = await handler.find(deployment)
    assert (found is not None) == bool(done)
    if found is None:
        await handler.start(deployment)
    assert len(on_github.runs_of(deployment)) == 1


async def test_a_dispatch_that_is_limited_was_not_done(on_github: OnGitHub) -> None:
    on_github.dispatched()
    handler = on_github.handler(mode="dispatch", workflow="deploy.yml")
    deployment = await on_github.deployment()
    on_github.sandbox.github.faults.add("POST *dispatches", Fault.rate_limited(7))
    with pytest.raises(Unavailable) as caught:
        await handler.start(deployment)
    assert not isinstance(caught.value, UnknownOutcome)
    assert not on_github.runs_of(deployment)
