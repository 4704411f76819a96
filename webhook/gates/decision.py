"""The gates' verdicts together."""

from collections.abc import Collection
from dataclasses import dataclass

import structlog

from webhook.deployments.blockers import Blocker
from webhook.gates.contract import Allow, Deny, Gate, Gates, Snapshot, Verdict, Wait
from webhook.gates.serialization import ONE_AT_A_TIME

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Decision:
    """`blockers`: all that keep it from starting, refusals first; none: it may start."""

    blockers: tuple[Blocker, ...]

    @property
    def denied(self) -> bool:
        return any(one.denies for one in self.blockers)

    @property
    def ready(self) -> bool:
        """It may start, or only waits its turn."""
        return all(one.gate == ONE_AT_A_TIME for one in self.blockers)


def decide(snapshot: Snapshot, gates: Gates, *, skipped: Collection[str] = ()) -> Decision:
    """`skipped`: names of gates that somebody has overridden: they need not be waited for, but
    what they refuse stays refused."""
    asked = (blocker for gate in gates.values() if (blocker := _blocker(gate, snapshot)))
    found = [one for one in asked if not (one.gate in skipped and can_skip(gates, one))]
    return Decision(tuple(sorted(found, key=lambda one: not one.denies)))


def can_skip(gates: Gates, blocker: Blocker) -> bool:
    """Whether somebody who may break the glass can override that: a wait, but no refusal."""
    gate = gates.get(blocker.gate)
    return gate is not None and gate.overridable and not blocker.denies


def _blocker(gate: Gate, snapshot: Snapshot) -> Blocker | None:
    match _verdict(gate, snapshot):
        case Allow():
            return None
        case Wait() as wait:
            return Blocker(
                gate=gate.name,
                reason=wait.reason,
                until=wait.until,
                way_out=wait.way_out,
                for_person=wait.for_person,
                asks=wait.asks,
            )
        case Deny() as deny:
            return Blocker(gate=gate.name, reason=deny.reason, way_out=deny.way_out, denies=True)


def _verdict(gate: Gate, snapshot: Snapshot) -> Verdict:
    """What a gate cannot say is no permission."""
    try:
        return gate.decide(snapshot)
    except Exception:
        log.exception("a gate failed", gate=gate.name)
        return Wait(
            reason=f"The gate '{gate.name}' failed, so that nobody knows whether it may start",
            way_out="The relay's log says why",
        )
