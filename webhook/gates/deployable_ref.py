"""Which refs may be deployed. Gitploy's `deployable_ref`, whose patterns are found anywhere in the
ref, as whoever asked for the deployment named it: a branch, a tag or a commit.

Unlike there, what has succeeded in the environment before may always be rolled back to: its ref is
a commit, which no pattern of branches matches.
"""

from webhook.config.destinations import Strict
from webhook.config.patterns import Patterns, is_found
from webhook.gates.contract import ALLOW, Deny, Gate, Snapshot, Verdict, keys_of
from webhook.text import one_line


class DeployableRefKeys(Strict):
    deployable_ref: Patterns = ()
    """Which branches, tags or commits may be deployed: a pattern of RE2, found anywhere in the
    name, as in ^(main|v[0-9.]+)$. All by default."""


def decide(snapshot: Snapshot) -> Verdict:
    candidate = snapshot.candidate
    if candidate.rolls_back:
        return ALLOW
    ref = candidate.ref
    missed = [one for one in deployable_refs(snapshot.environment) if not is_found(one, ref)]
    if not missed:
        return ALLOW
    patterns = " and ".join(one_line(pattern, 60) for pattern in missed)
    return Deny(
        reason=f"{one_line(ref, 60)} may not be deployed here: deployable_ref is {patterns}",
        way_out="Deploy a ref that matches",
    )


def deployable_refs(environment: Strict) -> tuple[str, ...]:
    """Each has to be found."""
    return keys_of(environment, DeployableRefKeys).deployable_ref


def key_in_use(environment: Strict) -> str:
    return "deployable_ref" if deployable_refs(environment) else ""


DEPLOYABLE_REF = Gate(
    name="deployable_ref", decide=decide, Keys=DeployableRefKeys, key_in_use=key_in_use
)
