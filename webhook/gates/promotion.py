"""Promotion: what starts here has succeeded, and stayed, in the environments before this one.

The newest deployment there has to be of exactly this commit: an older good one says nothing of what
runs there now. Deployments that never ran there, because they wait for their gates or a newer one
went instead, have changed nothing and do not count (`webhook.store.promotions`). Rollbacks pass: a
fix does not wait for the whole chain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from handlers import durations
from webhook.config.destinations import Strict
from webhook.deployments.phases import FAILED, Phase
from webhook.gates.chains import PromotionKeys, chain_errors, promotion_of
from webhook.gates.contract import ALLOW, Gate, Snapshot, Upstream, Verdict, Wait

NAME = "promotion"


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing in an environment before this one. `until`: when that ends by itself.
    `passes`: it ends without another deployment there, if all goes well."""

    reason: str
    way_out: str = ""
    until: datetime | None = None
    passes: bool = False


def decide(snapshot: Snapshot) -> Verdict:
    candidate, keys = snapshot.candidate, promotion_of(snapshot.environment)
    found = lacks(keys, snapshot.upstreams, candidate.sha, snapshot.now)
    if candidate.rolls_back or not found:
        return ALLOW
    wait = wait_for(found)
    if getattr(snapshot.environment, "break_glass", ()):
        others = f", or {_lower(wait.way_out)}" if wait.way_out else ""
        wait = replace(wait, way_out=f"/deploy override{others}")
    return wait


def wait_for(found: Sequence[Lack]) -> Wait:
    """Until all of them have ended, if that is known."""
    ends = [one.until for one in found if one.until]
    return Wait(
        reason=_joined(one.reason for one in found),
        until=max(ends) if len(ends) == len(found) else None,
        way_out=_joined(one.way_out for one in found if one.way_out),
    )


def _joined(sentences: Iterable[str]) -> str:
    first, *more = dict.fromkeys(sentences) or [""]
    return " and ".join([first, *map(_lower, more)])


def _lower(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:]}"


def lacks(
    keys: PromotionKeys, upstreams: Iterable[Upstream], sha: str, now: datetime
) -> list[Lack]:
    """Of each environment in `after`, in their order; none: the commit may go on."""
    newest = {one.environment.lower(): one for one in upstreams}
    each = ((name, newest.get(name.lower())) for name in keys.after)
    found = (_lack(name, one, sha, keys.soak, now) for name, one in each)
    return [one for one in found if one]


def _lack(
    name: str, newest: Upstream | None, sha: str, soak: timedelta | None, now: datetime
) -> Lack | None:
    if newest is None:
        first = f"Deploy this commit to {name} first"
        return Lack(f"Waits for {name}: nothing has been deployed there", first)
    if newest.sha != sha:
        return Lack(f"Waits for {name}: {_other(newest)}", f"Deploy this commit to {name} first")
    if newest.phase is not Phase.SUCCESS:
        reason = f"Waits for {name}: this commit {state_there(newest.phase)} there"
        return Lack(reason, _way_out(name, newest), passes=not newest.phase.final)
    until = (newest.ended_at or now) + (soak or timedelta())
    if now >= until:
        return None
    lasts = durations.write((soak or timedelta()).total_seconds())
    return Lack(f"Soaks in {name} for {lasts}", "Lower soak in deploy.yml", until, passes=True)


def _other(newest: Upstream) -> str:
    sha = newest.sha[:7]
    if newest.phase is Phase.SUCCESS:
        return f"it has {sha}, not this commit"
    return f"{sha} {state_there(newest.phase)} there, not this commit"


def state_there(phase: Phase) -> str:
    """Of a deployment that is no success, as a verb."""
    if phase in FAILED:
        return "failed"
    return "is inactive" if phase is Phase.INACTIVE else "runs"


def _way_out(name: str, newest: Upstream) -> str:
    if newest.phase in FAILED:
        return f"Retry it in {name}"
    return f"Deploy it to {name} again" if newest.phase is Phase.INACTIVE else ""


def _key_in_use(environment: Strict) -> str:
    return "after" if promotion_of(environment).after else ""


PROMOTION = Gate(
    name=NAME,
    decide=decide,
    Keys=PromotionKeys,
    key_in_use=_key_in_use,
    errors=chain_errors,
)
