"""A restore: what was asked for before it may have run since the backup, of which the store knows
nothing. It waits for a person, who does know.

What GitHub or the tool can say is asked before (`webhook.engine.restored`). A job that waits on
GitHub for the relay's answer has not run, whatever the store knows, and does not wait here.
"""

from datetime import UTC

from webhook.gates.contract import ALLOW, Gate, Snapshot, Verdict, Wait

NAME = "restore"


def decide(snapshot: Snapshot) -> Verdict:
    if snapshot.restored_from is None:
        return ALLOW
    backup = snapshot.restored_from.astimezone(UTC)
    return Wait(
        reason=f"Restored from a backup of {backup:%d %b %H:%M} UTC: may have run since",
        # GitHub shows 140 characters, which a path to Python would fill.
        way_out=f"restore release {snapshot.candidate.id} (command line), or cancel it",
        for_person=True,
    )


RESTORE = Gate(name=NAME, decide=decide)
