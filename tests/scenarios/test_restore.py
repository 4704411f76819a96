"""A store that is restored from a backup: nothing runs or is said again that was done since."""

from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from tests.cli.test_locks import done, refused
from tests.conftest import Databases
from tests.world import World, live, until

DEPLOY_YML = """
slack: {{channel: "#deploys", failures: "#oncall"}}
envs:
  - name: "slow*"
    handler: command
    serialization: false
    with:
      run:
        - sh
        - -c
        - 'echo $DEPLOYMENT_ID >> {runs}; while ! test -e {gate}; do sleep 0.05; done; exit "$1"'
        - sh
        - "{{payload.code}}"
  - {{name: fails, handler: command, with: {{run: ["false"]}}}}
  - {{name: "*", handler: command, with: {{run: [sh, -c, "echo $DEPLOYMENT_ID >> {runs}"]}}}}
"""


def ran(path: Path) -> Counter[int]:
    return Counter(int(line) for line in path.read_text().split())


def messages_by_key(world: World) -> Counter[str]:
    return Counter(
        (message.metadata or {})["event_payload"]["key"]
        for channel in ("#deploys", "#oncall")
        for message in world.slack.messages(channel)
    )


async def locked(world: World, environment: str) -> Deployment:
    await done(world, "lock", REPOSITORY, environment, "--reason", "migration")
    deployment = await world.deploy(environment)
    await until(lambda: len(world.github.statuses(deployment.id)) > 1 or None)
    return deployment


async def started(world: World, name: str, code: str) -> Deployment:
    deployment = await world.deploy(name, payload={"code": code})
    await world.phase(deployment.id, "in_progress")
    return deployment


async def restore(world: World, file: Path, url: str) -> str:
    """Into another database, in which the workers go on."""
    await world.stop_workers()
    world.disconnect()
    world.store_url = url
    restored = await done(world, "restore", str(file))
    with psycopg.connect(url) as connection:  # the next test gets this database
        aside = restored.partition("in schema ")[2].partition(".")[0]
        connection.execute(f"drop schema {aside} cascade")
    world.start_worker()
    return restored


@pytest.mark.slow
async def test_what_happened_since_the_backup_is_not_done_again(
    databases: Databases, store_url: str, tmp_path: Path
) -> None:
    runs, gate, file = tmp_path / "ran", tmp_path / "gate", tmp_path / "a.backup"
    deploy_yml = DEPLOY_YML.format(runs=runs, gate=gate)
    with databases.one() as other:
        async with live(store_url, tmp_path, deploy_yml) as world:
            waited, held = [await locked(world, name) for name in ("production", "stage")]
            # By which the channel's number is known.
            await world.deployed("fails")
            good, bad = [await started(world, f"slow-{code}", code) for code in ("0", "3")]
            await until(lambda: len(world.messages()) == 5 or None)
            said = await done(world, "backup", str(file))
            assert f"{file}: 5 deployments as of " in said
            assert "keep it secret" in said
            await done(world, "unlock", REPOSITORY, "production")
            gate.touch()
            for deployment, state in ((waited, "success"), (good, "success"), (bad, "failure")):
                await world.github.wait_for(deployment.id, state)
            await world.idle()
            states = _states(world, [waited, good, bad])
            messages = messages_by_key(world)

            await restore(world, file, other)
            await _knows(world, waited, good, bad)
            assert _states(world, [waited, good, bad]) == states
            await _released(world, held)
            assert ran(runs) == {one.id: 1 for one in (waited, held, good, bad)}
            assert max(messages_by_key(world).values()) == 1
            assert messages.keys() <= messages_by_key(world).keys()


def _states(world: World, deployments: list[Deployment]) -> list[Any]:
    return [world.github.states(one.id) for one in deployments]


async def _knows(world: World, *ended: Deployment) -> None:
    """What GitHub knew."""
    for deployment in ended:
        await world.phase(deployment.id, world.github.states(deployment.id)[-1])
    await world.idle()


async def _released(world: World, held: Deployment) -> None:
    """What is not known to have run waits for a person, whatever else it waited for."""
    await done(world, "unlock", REPOSITORY, "stage")
    status = await until(lambda: _held_status(world, held))
    assert status.startswith("Restored from a backup of ")
    missing = await refused(world, "restore", "release", str(held.id), "1")
    assert "Not held because of a restore: 1; nothing was released" in missing
    assert await done(world, "restore", "release", "--all") == (
        f"Deployment {held.id} may start now.\n"
    )
    await world.github.wait_for(held.id, "success")
    await world.idle()
    acts = [row["action"] for row in world.rows("select action from audit order by id")]
    assert acts[-2:] == ["unlock", "release"]
    assert "restore" in acts


def _held_status(world: World, held: Deployment) -> str | None:
    description = str(world.github.statuses(held.id)[-1].description)
    return description if "restore release" in description else None
