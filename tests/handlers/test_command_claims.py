"""A worker that comes back from a stop leaves commands alone that are not its own any more."""

from dataclasses import replace
from pathlib import Path

import pytest

from handlers.command import CommandOptions
from handlers.contract import Run, State
from handlers.errors import Unavailable
from handlers.uptime import uptime
from tests.handlers.runs import Impatient, a_context, a_deployment, alive, pid_of
from tests.world import until
from webhook.errors import Conflict
from webhook.jobs import lease
from webhook.jobs.lease import Lease


async def test_a_command_is_not_started_nor_stopped_by_a_worker_that_lost_its_claim(
    data_dir: Path,
) -> None:
    def command(held: Lease) -> Impatient:
        lease.hold(held)
        options = CommandOptions(run=["sleep", "60"])
        context = replace(a_context(data_dir), require_claim=lease.require)
        return Impatient(options, context)

    lost, deployment = Lease(uptime()), a_deployment()
    with pytest.raises(Conflict):
        await command(lost).start(deployment)
    # Or while the order is on its way: as if the worker had been stopped after its own check.
    late = Impatient(
        CommandOptions(run=["sleep", "60"]),
        replace(a_context(data_dir), require_claim=uptime),
    )
    with pytest.raises(Unavailable, match="it came too late"):
        await late.start(deployment)
    assert not (data_dir / "runs" / str(deployment.id)).exists()
    owner = command(Lease(uptime() + 60))
    run = await owner.start(deployment)
    assert run.state is State.IN_PROGRESS
    with pytest.raises(Conflict):
        await command(lost).cancel(deployment, Run(run.id, State.IN_PROGRESS))
    supervisor = pid_of(data_dir, "supervisor")
    assert alive(supervisor)
    lease.hold(Lease(uptime() + 60))
    await owner.cancel(deployment, run)
    await until(lambda: None if alive(supervisor) else True)
