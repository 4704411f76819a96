"""Labels: the sign and the text of a deployment's or a timeline entry's state, used everywhere.

Some people do not see colours, so that signs differ in shape and each has a text.
"""

from typing import NamedTuple

from webhook.deployments.phases import Phase, entry_phase


class Label(NamedTuple):
    """`sign` is a character for chats; `kind` is the drawing and the colour of the page: waiting,
    hold, running, good, past, bad, error or other. `text` may come from outside: escape it."""

    sign: str
    text: str
    kind: str


_PHASES = {
    Phase.SEEN: Label("⏳", "seen", "waiting"),
    Phase.QUEUED: Label("⏳", "queued", "waiting"),
    Phase.IN_PROGRESS: Label("🔄", "in progress", "running"),
    Phase.SUCCESS: Label("✅", "succeeded", "good"),
    Phase.INACTIVE: Label("✅", "succeeded", "past"),
    Phase.FAILURE: Label("❌", "failed", "bad"),
    Phase.ERROR: Label("⛔", "could not run", "error"),
    Phase.SUPERSEDED: Label("⏭️", "superseded", "past"),
}
_STOPPED = Label("🛑", "stopped", "error")
_HELD = Label("✋", "waits for a person", "waiting")
_BLOCKED = Label("⏸️", "on hold", "hold")
_REPLACED = Label("\N{HEAVY MINUS SIGN}", "inactive", "past")


def phase_label(phase: Phase, *, held: bool, started: bool, blocked: bool = False) -> Label:
    """Of a deployment. `held`: it waits for a person; `started`: its tool was started; `blocked`:
    its gates keep it from starting."""
    if held and not phase.final:
        return _HELD
    if blocked and not phase.final:
        return _BLOCKED
    return _STOPPED if phase is Phase.ERROR and started else _PHASES[phase]


def entry_label(state: str, *, held: bool, started: bool, now: Phase = Phase.SEEN) -> Label:
    """Of a timeline entry with that state of GitHub's; an unknown one is its own text. `now`: the
    deployment's phase."""
    if held:
        return _HELD
    match entry_phase(state, now):
        case None:
            return Label("•", state.replace("_", " "), "other")
        case Phase.INACTIVE:
            return _REPLACED
        case Phase.ERROR if started:
            return _STOPPED
        case phase:
            return _PHASES[phase]
