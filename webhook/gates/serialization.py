"""One at a time: a deployment waits for the one that runs in its environment.

Gitploy refuses it instead. Of several that wait, the newest that nothing else blocks goes next; it
supersedes the older ones (`webhook.engine.gates`).
"""

from webhook.config.destinations import Strict
from webhook.gates.contract import ALLOW, Gate, Snapshot, Verdict, Wait, keys_of


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


def key_in_use(environment: Strict) -> str:
    # By default it waits, too, but who leaves the key out has not asked for that.
    given = "serialization" in environment.model_fields_set
    return (
        "serialization" if given and keys_of(environment, SerializationKeys).serialization else ""
    )


# Two runs at once are never what somebody in a hurry needs: they can cancel the other one.
SERIALIZATION = Gate(
    name="serialization",
    decide=decide,
    Keys=SerializationKeys,
    key_in_use=key_in_use,
    overridable=False,
)
