"""What happens seldom with tools, and must not end in silence, twice, or in a flood."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from sandbox.faults import Fault
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import World, until
from webhook import startup


async def test_a_refusal_while_a_start_is_in_doubt_ends_nothing(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        tools.build("v1")
        tools.woodpecker.faults.add("POST /repos/*/pipelines/*", Fault.drop_after())
        deployment = await world.deploy(ENVIRONMENTS["woodpecker"], ref="v1")
        await until(lambda: tools.started("woodpecker") or None)
        tools.woodpecker.faults.add("GET *", Fault.status(401), times=2)
        status = await world.github.wait_for(
            deployment.id, "success", "failure", "error", within=30
        )
        assert (status.state, tools.started("woodpecker")) == ("success", 1), status.description
        assert len(tools.woodpecker.faults.fired) == 3


async def test_a_run_is_not_given_to_another_handler(store_url: str, tmp_path: Path) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, tools):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
        await until(lambda: tools.started("drone") or None)
        await until(lambda: world.rows("select 1 from deployments where run is not null") or None)
        await world.stop_workers()
        file = tmp_path / "deploy.yml"
        names = {"qa": "never", "edge": "qa"}
        text = file.read_text()
        for old, new in names.items():
            text = text.replace(f'"name": "{old}"', f'"name": "{new}"')
        file.write_text(text)
        world.setup = replace(world.setup, config=startup.read_config(world.setup.environ))
        world.start_worker()
        status = await world.github.wait_for(deployment.id, "error", within=20)
        assert "'endpoint' now; 'drone' had begun it" in status.description
        assert tools.started("endpoint") == 0


def outcome_of(world: World, guid: str | None) -> str | None:
    rows = world.rows("select outcome from deliveries where guid = %s", guid)
    return rows[0]["outcome"] if rows else None


async def test_other_jobs_of_the_same_commit_make_nobody_look(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        tools.actions.runs.held = True
        deployment = await world.deploy(ENVIRONMENTS["github-actions"], ref="v1")
        await world.phase(deployment.id, "queued", "in_progress")
        about = world.github.events.about(deployment.repository, deployment.creator)
        job = {"id": 77, "run_id": 999_999_999, "head_sha": deployment.sha, "status": "queued"}
        run = {"id": 999_999_999, "head_sha": deployment.sha, "event": "push"}
        for event, part in (("workflow_job", job), ("workflow_run", run)):
            action = {"action": "queued" if event == "workflow_job" else "requested"}
            guid = await world.github.deliver(event, {**action, event: part, **about})
            outcome = await until(partial(outcome_of, world, guid))
            assert outcome == "ignored", event


async def test_an_end_that_ours_may_cover_is_said_again(store_url: str, tmp_path: Path) -> None:
    """A person's word came to GitHub before ours, and to us after it was too late."""
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, _tools):
        url, world.github.webhook_url = world.github.webhook_url, ""
        deployment = await world.deploy(ENVIRONMENTS["endpoint"], ref="v1")
        told = await world.github.create_status(deployment.id, "failure", description="seen")
        world.github.webhook_url = url
        await world.github.deliver("deployment", world.github.events.deployment(deployment))
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        assert world.github.states(deployment.id)[-1] != "failure"
        event = world.github.events.deployment_status(deployment, told)
        await world.github.deliver("deployment_status", event)
        await until(lambda: world.github.states(deployment.id)[-1] == "failure" or None)
        assert world.github.statuses(deployment.id)[-1].by_app
