"""The handler of Woodpecker CI, over real HTTP against its stand-in."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from handlers.contract import Run, State
from handlers.errors import Rejected, Unavailable
from handlers.http import Http
from handlers.woodpecker import STATES, Woodpecker, WoodpeckerOptions
from sandbox import woodpecker as sandbox
from tests.handlers.runs import a_context, a_deployment

ROOT = Path(__file__).parents[2]
SHA = a_deployment().sha
MARK = f"gitploy-{a_deployment().id}"
TOKEN = "woodpecker-token"


@pytest.fixture
async def tool() -> AsyncIterator[sandbox.Woodpecker]:
    async with sandbox.Woodpecker(token=TOKEN) as server:
        yield server


@pytest.fixture
def repo(tool: sandbox.Woodpecker) -> sandbox.Repo:
    """With a successful pipeline of the commit that is deployed, number 1."""
    repo = tool.add_repo("acme/shop")
    repo.add(SHA)
    return repo


@pytest.fixture
def handler(tool: sandbox.Woodpecker, session: aiohttp.ClientSession, tmp_path: Path) -> Woodpecker:
    return a_handler(session, url=tool.url)


def a_handler(session: aiohttp.ClientSession, *, timeout: float = 10, **given: Any) -> Woodpecker:
    options = WoodpeckerOptions.model_validate({"token": TOKEN, **given})
    return Woodpecker(options, a_context(ROOT, http=Http(session, timeout=timeout)))


# -- start ------------------------------------------------------------------------------------


async def test_the_newest_success_of_the_commit_is_restarted_as_a_deployment(
    repo: sandbox.Repo, handler: Woodpecker, tool: sandbox.Woodpecker
) -> None:
    chosen = repo.add(SHA, event="tag")
    repo.add(SHA, status="failure")
    repo.add(SHA, event="pull_request")
    repo.add("0" * 40)
    run = await handler.start(a_deployment())
    [deployment] = repo.deployments
    assert (deployment.parent, deployment.commit) == (chosen.number, SHA)
    assert (deployment.deploy_to, deployment.deploy_task) == ("production", MARK)
    assert (run.state, run.url) == (State.QUEUED, f"{tool.url}/repos/1/pipeline/6")


async def test_an_older_commit_is_found_on_a_later_page(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    for _ in range(120):
        repo.add("0" * 40)
    await handler.start(a_deployment())
    assert repo.deployments[0].parent == 1


async def test_the_target_and_the_parameters_are_the_operators(
    repo: sandbox.Repo, tool: sandbox.Woodpecker, session: aiohttp.ClientSession
) -> None:
    parameters = {"REGION": "{payload.region}", "BY": "{creator} & co+1"}
    handler = a_handler(session, url=tool.url, deploy_to="eu-{environment}", parameters=parameters)
    await handler.start(a_deployment(payload={"region": "eu west"}))
    [deployment] = repo.deployments
    assert deployment.deploy_to == "eu-production"
    assert deployment.variables == {
        "REGION": "eu west",
        "BY": "octocat & co+1",
        "deploy_task": MARK,
    }


async def test_a_missing_payload_key_starts_nothing(
    repo: sandbox.Repo, tool: sandbox.Woodpecker, session: aiohttp.ClientSession
) -> None:
    handler = a_handler(session, url=tool.url, parameters={"REGION": "{payload.region}"})
    with pytest.raises(Rejected, match="payload has no 'region'"):
        await handler.start(a_deployment())
    assert tool.calls == []


async def test_a_commit_that_was_not_built_is_rejected(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    repo.pipelines[0].status = "failure"
    with pytest.raises(Rejected, match="has no successful pipeline of f95f852 yet"):
        await handler.start(a_deployment())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"allow_deploy": False}, "the repository's 'Allow Deployments' is off in Woodpecker"),
        ({"push": False}, "for those who may push; the token's user may not"),
        ({"pull": False, "push": False}, "not in Woodpecker, or the token's user may not see it"),
    ],
)
async def test_rights_that_are_missing_are_named(
    repo: sandbox.Repo, handler: Woodpecker, wrong: dict[str, bool], message: str
) -> None:
    for name, value in wrong.items():
        setattr(repo, name, value)
    with pytest.raises(Rejected, match=message):
        await handler.start(a_deployment())
    assert repo.deployments == []


@pytest.mark.parametrize("public", [True, False])
async def test_a_wrong_token_is_reported_and_not_shown(
    repo: sandbox.Repo, tool: sandbox.Woodpecker, session: aiohttp.ClientSession, public: bool
) -> None:
    """A public repository can be read without a token; there the POST is the first to fail."""
    repo.public = public
    handler = a_handler(session, url=tool.url, token="an-old-token")
    with pytest.raises(Rejected, match="does not know the token") as caught:
        await handler.start(a_deployment())
    assert "an-old-token" not in str(caught.value)


async def test_a_deployment_without_a_workflow_explains_why_nothing_happens(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    repo.deploys = ()
    run = await handler.start(a_deployment())
    assert (run.state, run.description) == (
        State.QUEUED,
        "nothing to run: no workflow is for `event: deployment`",
    )


async def test_a_configuration_that_is_lost_is_an_error(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    repo.pipelines[0].config = "missing"
    run = await handler.start(a_deployment())
    assert (run.state, run.description) == (State.ERROR, STATES["error"][1])


# -- find -------------------------------------------------------------------------------------


async def test_nothing_is_found_where_nothing_was_started(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    await handler.start(a_deployment(id=1))
    assert await handler.find(a_deployment()) is None


async def test_a_pipeline_restarted_by_hand_is_not_mistaken_for_ours(
    repo: sandbox.Repo, handler: Woodpecker, tool: sandbox.Woodpecker, session: Any
) -> None:
    run = await handler.start(a_deployment())
    headers = {"Authorization": f"Bearer {TOKEN}"}
    await session.post(f"{tool.url}/api/repos/{run.id}", headers=headers)
    assert [pipeline.deploy_task for pipeline in repo.deployments] == [MARK, MARK]
    found = await handler.find(a_deployment())
    assert found
    assert found.id == run.id


async def test_only_younger_runs_than_the_deployment_count(
    repo: sandbox.Repo, handler: Woodpecker, tool: sandbox.Woodpecker
) -> None:
    old = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    for _ in range(60):
        repo.add(SHA, event="deployment", deploy_task="deploy", created=old)
    assert await handler.find(a_deployment()) is None
    assert len(tool.called("GET", "/pipelines")) == 1


async def test_a_clock_that_is_behind_hides_nothing(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    slow = (datetime.now(UTC) - timedelta(minutes=55)).timestamp()
    repo.add(SHA, event="deployment", deploy_task=MARK, created=slow)
    assert await handler.find(a_deployment())


# -- check and cancel -------------------------------------------------------------------------


async def test_a_run_is_followed_to_its_end(
    repo: sandbox.Repo, handler: Woodpecker, tool: sandbox.Woodpecker
) -> None:
    tool.takes = 60
    run, states = await handler.start(a_deployment()), []
    for _ in range(2):
        states.append(run.state)
        repo.deployments[0].created -= 60
        run = await handler.check(a_deployment(), run)
    assert states == [State.QUEUED, State.IN_PROGRESS]
    assert (run.state, run.description) == (State.SUCCESS, "")


def test_every_status_of_woodpecker_has_a_meaning() -> None:
    assert set(STATES) == sandbox.WAITING | sandbox.ACTIVE | sandbox.OVER


@pytest.mark.parametrize("status", STATES)
async def test_a_status_has_the_relays_description(
    repo: sandbox.Repo, handler: Woodpecker, status: str
) -> None:
    run = await handler.start(a_deployment())
    repo.deployments[0].status = status
    run = await handler.check(a_deployment(), run)
    assert (run.state, run.description) == STATES[status]


@pytest.mark.parametrize("state", [State.QUEUED, State.IN_PROGRESS])
async def test_an_unknown_status_leaves_the_state_as_it_was(
    repo: sandbox.Repo, handler: Woodpecker, state: State
) -> None:
    run = await handler.start(a_deployment())
    repo.deployments[0].status = "thinking"
    run = await handler.check(a_deployment(), Run(run.id, state, run.url))
    message = "Woodpecker says 'thinking', which the relay does not know"
    assert (run.state, run.description) == (state, message)


async def test_what_has_begun_does_not_wait_again(repo: sandbox.Repo, handler: Woodpecker) -> None:
    run = await handler.start(a_deployment())
    run = await handler.check(a_deployment(), Run(run.id, State.IN_PROGRESS, run.url))
    assert run.state is State.IN_PROGRESS


async def test_a_pipeline_that_vanishes_is_rejected(
    repo: sandbox.Repo, handler: Woodpecker
) -> None:
    run = await handler.start(a_deployment())
    repo.pipelines.pop()
    with pytest.raises(Rejected, match="it is gone from Woodpecker") as gone:
        await handler.check(a_deployment(), run)
    assert (gone.value.status, gone.value.certain) == (404, False)
    await handler.cancel(a_deployment(), run)


async def test_rights_that_are_lost_on_the_way_may_come_back(
    repo: sandbox.Repo, handler: Woodpecker, tool: sandbox.Woodpecker
) -> None:
    run = await handler.start(a_deployment())
    repo.pull = repo.push = False
    with pytest.raises(Unavailable, match="returned 404"):
        await handler.check(a_deployment(), run)
    repo.pull, tool.token = True, "another"
    for act in (handler.check, handler.cancel):
        with pytest.raises(Unavailable, match="does not know the token"):
            await act(a_deployment(), run)


@pytest.mark.parametrize(("was", "becomes"), [("pending", "canceled"), ("running", "killed")])
async def test_a_cancelled_run_ends_as_an_error(
    repo: sandbox.Repo, handler: Woodpecker, was: str, becomes: str
) -> None:
    run = await handler.start(a_deployment())
    repo.deployments[0].status = was
    await handler.cancel(a_deployment(), run)
    assert repo.deployments[0].status == becomes
    await handler.cancel(a_deployment(), run)  # harmless now
    run = await handler.check(a_deployment(), run)
    assert (run.state, run.description[:9]) == (State.ERROR, "cancelled")
