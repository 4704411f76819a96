"""One at a time: a deployment waits for the one that runs in its environment.

Gitploy refuses it instead. Of several that wait, the newest that nothing else blocks goes next; it
supersedes the older ones (`webhook.engine.gates`).
"""

from webhook.config.destinations import Strict
from webhook.gates.contract import ALLOW, Gate, Neighbour, Snapshot, Verdict, Wait, keys_of

# This gate's name. A deployment that nothing else blocks is ready, and only waits its turn.
ONE_AT_A_TIME = "serialization"


class SerializationKeys(Strict):
    serialization: bool = True
    """Whether a deployment waits for the one that runs in the environment."""


def decide(snapshot: Snapshot) -> Verdict:
    if not snapshot.keys(SerializationKeys).serialization:
        return ALLOW
    running = next((one for one in snapshot.neighbours if one.running), None)
    if running is None:
        return ALLOW
    return Wait(
        reason=f"Waits for deployment {running.id} ({running.ref}) to end",
        way_out="Cancel that one to go on now",
    )


def superseding(snapshot: Snapshot) -> Neighbour | None:
    """Of a deployment that is ready: a newer one that is, too, or runs; a delivery may be late."""
    newer = (one for one in snapshot.neighbours if one.id > snapshot.candidate.id)
    return next((one for one in newer if one.ready), None)


def key_in_use(environment: Strict) -> str:
    # By default it waits, too, but who leaves the key out has not asked for that.
    given = "serialization" in environment.model_fields_set
    return (
        "serialization" if given and keys_of(environment, SerializationKeys).serialization else ""
    )


# Two runs at once are never what somebody in a hurry needs: they can cancel the other one.
SERIALIZATION = Gate(
    name=ONE_AT_A_TIME,
    decide=decide,
    Keys=SerializationKeys,
    key_in_use=key_in_use,
    overridable=False,
)
