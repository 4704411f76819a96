"""Which refs an environment takes, as whoever asks for the deployment names them."""

from pathlib import Path

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY
from tests.slack.actions.action_world import CREATE, action_world
from tests.world import until

ENVIRONMENTS = """
  - name: tagged
    production_environment: true
    handler: command
    with: {run: ["true"]}
    deployable_ref: ^v[0-9]+$
"""


async def test_what_does_not_match_is_refused_and_what_was_there_may_come_back(
    postgres: str, tmp_path: Path
) -> None:
    async with action_world(postgres, tmp_path, environments=ENVIRONMENTS) as relay:
        github, site = relay.github, relay.github.repository(REPOSITORY)
        branch = await relay.world.deployed("tagged", ref="main")
        last = github.statuses(branch.id)[-1]
        assert (last.state, last.description) == (
            "error",
            "main may not be deployed here: deployable_ref is ^v[0-9]+$. Deploy a ref that matches",
        )
        # GitHub's ref is the commit that was confirmed, and its event is here before the response.
        sha = site.push("Three", ref="v3")
        question = await relay.typed("acme/site tagged v3", relay.ada)
        github.faults.add(CREATE, Fault.hang_after(0.5))
        await relay.slack.press(question, "deploy", relay.ada)
        new = await until(lambda: next(iter(relay.created("tagged")), None))
        assert (new.ref, new.sha) == (sha, sha)
        await github.wait_for(new.id, "success", within=20)
        # A commit that never was there has no such name; one that was may come back.
        other = await relay.world.deployed("tagged", ref=relay.sha())
        assert github.statuses(other.id)[-1].state == "error"
        back = await relay.world.deployed("tagged", ref=sha)
        assert github.statuses(back.id)[-1].state == "success"
