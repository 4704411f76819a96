"""The page of a deployment says what its message in Slack says."""

from pathlib import Path

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.screen import render
from tests.web.viewing import Seen
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
slack_users: {octocat: U00000001}
envs:
  - name: production
    handler: command
    with: {run: [sh, -c, 'test "$DEPLOYMENT_REF" != broken']}
  - name: "slow*"
    handler: command
    with: {run: [sh, -c, 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
"""


async def page(world: World, deployment_id: int) -> Seen:
    return Seen(await world.page(deployment_id))


def created(world: World, number: int) -> list[Deployment] | None:
    """All deployments, once there are so many."""
    found = list(world.github.deployments.values())
    return found if len(found) == number else None


async def test_the_page_shows_what_it_deploys_and_where_it_comes_from(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, sandbox=Sandbox(interactive=True)) as world:
        octocat = world.slack.add_user("octocat")
        repository = world.github.repository(REPOSITORY)
        first = repository.push("The first page")
        for number in range(7):
            repository.refs["broken"] = repository.push(f"Change {number}")
        await world.deployed(ref=first)
        failed = await world.deployed(ref="broken")
        shown = await page(world, failed.id)
        assert "Deploys 7 commits" in shown.text
        assert "Change 6" in shown.text
        assert "Change 1" not in shown.text
        assert "and 2 more" in shown.text
        assert f"Diff to {first[:7]}" in shown.text
        assert any(f"/compare/{first}...{failed.sha}" in link for link in shown.links())

        message = world.messages()[-1]
        await world.slack.press(message, "rollback", octocat)
        [*_, new] = await until(lambda: created(world, 3))
        await world.github.wait_for(new.id, "success")
        await world.idle()
        shown = await page(world, new.id)
        assert "Origin rollback Requested by octocat" in shown.text
        assert any(f"/deployments/acme/site/{failed.id}?" in link for link in shown.links())
        shown = await page(world, failed.id)
        assert "Rollback to" in shown.text
        assert "late or repeated" not in shown.text
        assert shown.text.count("its page") == 1


async def test_a_cancelled_run_is_called_stopped_in_both(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML, sandbox=Sandbox(interactive=True)) as world:
        octocat = world.slack.add_user("octocat")
        deployment = await world.begin_slow(tmp_path / "gate")
        await world.github.wait_for(deployment.id, "in_progress")
        await world.slack.press(world.messages()[-1], "cancel", octocat)
        await world.github.wait_for(deployment.id, "error")
        await world.idle()
        assert "🛑 acme/site to slow stopped" in render(world.messages()[-1])
        assert (await page(world, deployment.id)).text.startswith("Stopped: acme/site to slow")
