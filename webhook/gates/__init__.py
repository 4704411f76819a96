"""What may run: each gate, by its name. A new one is a file here and a line below."""

from webhook.gates.contract import Gates
from webhook.gates.freeze import FREEZE
from webhook.gates.serialization import SERIALIZATION

GATES: Gates = {gate.name: gate for gate in (FREEZE, SERIALIZATION)}
