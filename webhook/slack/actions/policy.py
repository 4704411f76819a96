"""What the relay creates is created by the environment as its repository's own file tightens it."""

from collections.abc import Mapping, Sequence

from webhook.config.creation import DynamicPayload
from webhook.config.environments import Environment
from webhook.engine.policy import policies_at, policy_at
from webhook.gates.contract import Deny
from webhook.github.tokens import Scope
from webhook.slack.actions.permissions import Declined, routed
from webhook.slack.actions.services import ActionServices


async def tightened(
    services: ActionServices, repository: Scope, environment: str, *, rollback: bool = False
) -> Environment:
    """As GitHub has the file now. Raises `Declined` where that lets nothing start, and GitHub's own
    errors where it does not say."""
    found = await policy_at(services, repository, environment, rollback=rollback)
    if found is None:
        return routed(services, repository.repo, environment)
    if found.error is not None:
        raise found.error
    if isinstance(found.file, Deny):
        way_out = f". {found.file.way_out}" if found.file.way_out else ""
        raise Declined("not_possible", f"{found.file.reason}{way_out}")
    return found.environment


async def inputs_of(
    services: ActionServices, repository: Scope, environments: Sequence[str]
) -> Mapping[str, DynamicPayload]:
    """Of those of the environments that take any."""
    found = await policies_at(services, repository, environments)
    every = {name: one.environment.dynamic_payload for name, one in found.items()}
    return {name: payload for name, payload in every.items() if payload.enabled and payload.inputs}
