"""A review of the operator's deploy.yml and one of the repository's own: who is asked, whose
approval counts, and who may still say no."""

import asyncio
from pathlib import Path

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from tests.slack.actions.action_world import ActionWorld, action_world
from tests.slack.actions.test_approvals import offers, reject, requests
from tests.world import until

ENVIRONMENTS = """
  - name: both
    handler: command
    repository_file: tighten
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [Octocat, hubot]}
  - name: theirs
    handler: command
    repository_file: tighten
    with: {run: ["true"]}
"""
FILE = "envs:\n- name: both\n  review: {enabled: true, reviewers: [%s]}\n"


async def asked(relay: ActionWorld, environment: str = "both") -> Deployment:
    deployment = await relay.world.deploy(environment, by=relay.github.world.user("cleo"))
    await until(lambda: offers(relay, deployment, "approve") or None)
    return deployment


async def test_the_approval_of_those_counts_whom_both_name(postgres: str, tmp_path: Path) -> None:
    async with action_world(postgres, tmp_path, environments=ENVIRONMENTS) as relay:
        relay.github.add_user("cleo", email="cleo@acme.test")
        site = relay.github.repository(REPOSITORY)
        site.push("Ask", files={"deploy.yml": FILE % "octocat, eve"})
        first = await asked(relay)
        [request] = await until(lambda: requests(relay, first) or None)
        assert f"<@{relay.ada.id}>" in request
        assert relay.bob.id not in request
        last = relay.github.statuses(first.id)[-1]
        assert last.description.endswith("(no known end). Reviewers: octocat")
        declined = await relay.press("approve", first.id, relay.bob)
        assert "By the repository's own deploy.yml, only the approval of octocat counts" in declined
        assert "You have approved it" in await relay.press("approve", first.id, relay.ada)
        await relay.github.wait_for(first.id, "success")
        # What the operator's file allows, a repository's takes from nobody: to say no.
        second = await asked(relay)
        assert "You have rejected it" in await reject(relay, second, relay.bob, "not now")
        await relay.github.wait_for(second.id, "error")
        # Nobody is named by both.
        site.push("Ask others", files={"deploy.yml": FILE % "eve"})
        third = await relay.world.deploy("both")
        assert (await relay.github.wait_for(third.id, "error")).description == (
            "Needs 1 approval, and nobody may give one by both files: the repository's deploy.yml,"
            " line 3. Name reviewers of the operator's file there"
        )

        theirs = FILE.replace("both", "theirs")
        site.push("Ask the bot", files={"deploy.yml": theirs % "octocat"})
        fourth = await asked(relay, "theirs")
        await relay.world.idle()
        # Others are named while the answer of somebody who was waits for its turn.
        with relay.world.environment_locked(site.id, "theirs") as somebody_waits:
            pressed = asyncio.create_task(relay.press("approve", fourth.id, relay.ada))
            await until(lambda: somebody_waits() or None)
            site.push("Ask others again", files={"deploy.yml": theirs % "hubot"})
            changed = "update repository_files set content = %s where ref = 'HEAD'"
            relay.world.execute(changed, (theirs % "hubot").encode())
        assert "Who may answer has just changed" in await pressed
