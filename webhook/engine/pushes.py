"""Pushes, and what was reported of their commits: which automatic deployments they concern."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from webhook.config.creation import is_deployed_on
from webhook.config.creators import leaves_people_out
from webhook.config.environments import Config, Environment
from webhook.config.routing import route
from webhook.deployments.locks import is_pattern
from webhook.engine import automatic, policy
from webhook.engine.services import Services
from webhook.gates.repository_file import tightens
from webhook.github.commit_events import CommitReported, Pushed
from webhook.store import automatic as store
from webhook.store.automatic import Proposal
from webhook.store.database import Async
from webhook.store.deliveries import Outcome
from webhook.text import one_line

_Result = tuple[Outcome, str, None]


async def pushed(
    services: Services, connection: Async, event: Pushed, pushed_at: datetime
) -> _Result:
    """`pushed_at`: also of one that is fetched later, so that the later push is the newer one."""
    if event.changes_default_branch:
        await policy.changed(services, connection, event.repository.id)
    wanted = list(deployed_on(services.config, event))
    if not wanted:
        return outcome_of(event, wanted)
    marker = event.skips_deployment
    found = [
        one
        for one in wanted
        if await automatic.propose(
            services, connection, replace(_proposal(event, one.name, marker), at=pushed_at)
        )
        is not None
    ]
    if not found:
        return "ignored", f"{event.sha[:7]} was pushed before", None
    return outcome_of(event, found)


def outcome_of(event: Pushed, found: Sequence[Environment]) -> _Result:
    """`found`: where it is deployed, or would be if its message did not say otherwise."""
    ref = one_line(event.ref, 100)
    if not event.sha:
        return "ignored", f"{ref} was deleted", None
    if not found:
        return "ignored", f"no environment is deployed for a push to {ref}", None
    names = ", ".join(map(_described, found))
    if marker := event.skips_deployment:
        return "done", f"not deployed to {names}: its message says {marker}", None
    return "done", f"{event.sha[:7]} is deployed to {names} once it may be", None


def deployed_on(config: Config, event: Pushed) -> Iterator[Environment]:
    """None where the ref was deleted."""
    repo = event.repository.full_name
    for environment in config.envs if event.sha else ():
        # One with a pattern for a name is many; deploy.yml is refused where that has the key.
        if is_pattern(environment.name) or not _may_be_deployed_on(environment, event):
            continue
        if route(config, repo, environment.name) is environment:
            yield environment


def _may_be_deployed_on(environment: Environment, event: Pushed) -> bool:
    """What the repository's own file says of it is read by the job."""
    if environment.auto_deploy_on:
        return is_deployed_on(environment, event.ref)
    if leaves_people_out(environment.creators):
        return False
    return tightens(environment) and not event.skips_deployment


def _described(environment: Environment) -> str:
    name = one_line(environment.name, 60)
    return name if environment.auto_deploy_on else f"{name} (if its repository's file says so)"


def _proposal(event: Pushed, environment: str, marker: str) -> Proposal:
    return Proposal(
        cause="push",
        repo=event.repository.full_name,
        repo_id=event.repository.id,
        installation_id=event.installation_id,
        environment=environment,
        sha=event.sha,
        ref=event.ref,
        login=event.sender,
        login_id=event.sender_id,
        skips_checks=event.skips_checks,
        skip_reason=f"its message says {marker}" if marker else "",
    )


async def reported(services: Services, connection: Async, event: CommitReported) -> _Result:
    """Whether that was the last that somebody waited for is found out by a job: events come late,
    and in any order."""
    found = await store.concerned(
        connection, event.repository.id, event.sha, event.context, services.clock()
    )
    if not found:
        return "ignored", "nothing waits for this check", None
    await automatic.ask_again(connection, found)
    return "done", f"{one_line(event.context, 60) or 'checks'} of {event.sha[:7]}", None
