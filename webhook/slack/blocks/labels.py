"""How a deployment or one of its steps stands: a sign and a word.

Colour alone tells some people nothing, so that the signs differ in shape and a word goes with each.
"""

from typing import NamedTuple, Protocol

from webhook.deployments.phases import Phase, phase_of
from webhook.slack.blocks.mrkdwn import escape
from webhook.slack.blocks.notice import StepTold, Told


class Sign(NamedTuple):
    sign: str
    word: str


_PHASES = {
    Phase.SEEN: Sign("⏳", "seen"),
    Phase.QUEUED: Sign("⏳", "queued"),
    Phase.IN_PROGRESS: Sign("🔄", "in progress"),
    Phase.SUCCESS: Sign("✅", "succeeded"),
    Phase.INACTIVE: Sign("✅", "succeeded"),
    Phase.FAILURE: Sign("❌", "failed"),
    Phase.ERROR: Sign("⛔", "could not run"),
}
_STOPPED = Sign("🛑", "stopped")
_HELD = Sign("✋", "waits for a person")
_REPLACED = Sign("\N{HEAVY MINUS SIGN}", "inactive")


class Stands(Protocol):
    """All that a sign says of a deployment."""

    @property
    def phase(self) -> Phase: ...
    @property
    def began(self) -> bool: ...
    @property
    def held(self) -> bool: ...


def sign_of(told: Stands) -> Sign:
    if told.held and not told.phase.final:
        return _HELD
    return _STOPPED if told.phase is Phase.ERROR and told.began else _PHASES[told.phase]


def sign_of_step(told: Told, step: StepTold) -> Sign:
    if step.held:
        return _HELD
    match phase_of(step.state):
        case None:
            return Sign("•", escape(step.state.replace("_", " "), 40))
        case Phase.INACTIVE:
            return _REPLACED
        case Phase.ERROR if told.began:
            return _STOPPED
        case phase:
            return _PHASES[phase]
