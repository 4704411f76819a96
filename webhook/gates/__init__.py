"""What may run: each gate, by its name. A new one is a file here and a line below."""

from webhook.gates.approval import APPROVAL
from webhook.gates.contract import Gates
from webhook.gates.deployable_ref import DEPLOYABLE_REF
from webhook.gates.freeze import FREEZE
from webhook.gates.lock import LOCK
from webhook.gates.promotion import PROMOTION
from webhook.gates.repository_file import REPOSITORY_FILE
from webhook.gates.restore import RESTORE
from webhook.gates.serialization import SERIALIZATION

GATES: Gates = {
    gate.name: gate
    for gate in (
        RESTORE,
        REPOSITORY_FILE,
        DEPLOYABLE_REF,
        LOCK,
        FREEZE,
        PROMOTION,
        APPROVAL,
        SERIALIZATION,
    )
}
