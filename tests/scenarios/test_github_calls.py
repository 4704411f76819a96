"""How many calls of GitHub's API a deployment costs: an installation has 5,000 an hour."""

from pathlib import Path

import pytest

from tests.world import DEPLOY_YML, World, live

# Two destinations, both of which show the changelog.
STAGING = """
  - name: staging
    handler: command
    with: {run: ["true"]}
    slack: [{channel: "#deploys"}, {channel: "#oncall"}]
"""


@pytest.mark.slow
async def test_a_command_costs_three_statuses_and_one_comparison_at_most(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML + STAGING) as world:
        world.sandbox.github.repository("acme/site").push("Before")
        for environment in ("staging", "production"):
            await world.deployed(environment)
        world.sandbox.github.repository("acme/site").push("After")
        assert await calls_of(world, "staging") == {"POST statuses": 3, "GET compare": 1}
        # The same two commits as in staging.
        assert await calls_of(world, "production") == {"POST statuses": 3}
        assert all("After" in str(message.blocks) for message in world.messages()[-2:])


async def calls_of(world: World, environment: str) -> dict[str, int]:
    before = len(world.github.calls)
    await world.deployed(environment)
    found: dict[str, int] = {}
    for call in world.github.calls[before:]:
        name = next(part for part in ("statuses", "compare", call.path) if part in call.path)
        found[f"{call.method} {name}"] = found.get(f"{call.method} {name}", 0) + 1
    return found
