"""The phases of a deployment, GitHub's states, and which may follow which.

Source: https://docs.github.com/en/rest/deployments/statuses.
"""

from enum import StrEnum


class Phase(StrEnum):
    """How far a deployment is. `seen`: only its statuses are known, nobody requested
    it from the relay. `superseded`: it waited, and a newer one went instead."""

    SEEN = "seen"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    INACTIVE = "inactive"
    SUPERSEDED = "superseded"

    @property
    def on_github(self) -> str:
        """The state that says so there."""
        return "inactive" if self is Phase.SUPERSEDED else self.value

    @property
    def final(self) -> bool:
        return _RANK[self] == _FINAL


FAILED = (Phase.FAILURE, Phase.ERROR)
_FINAL = 3
_RANK = {
    Phase.SEEN: 0,
    Phase.QUEUED: 1,
    Phase.IN_PROGRESS: 2,
    Phase.SUCCESS: _FINAL,
    Phase.FAILURE: _FINAL,
    Phase.ERROR: _FINAL,
    Phase.INACTIVE: _FINAL,
    Phase.SUPERSEDED: _FINAL,
}
_PHASES = {
    "queued": Phase.QUEUED,
    "pending": Phase.QUEUED,
    "waiting": Phase.QUEUED,  # not in GitHub's list, yet sent for protected environments
    "in_progress": Phase.IN_PROGRESS,
    "success": Phase.SUCCESS,
    "failure": Phase.FAILURE,
    "error": Phase.ERROR,
    "inactive": Phase.INACTIVE,
}


def phase_of(github_state: str) -> Phase | None:
    """None for an unknown state: it is shown, and changes nothing."""
    return _PHASES.get(github_state)


def entry_phase(github_state: str, now: Phase) -> Phase | None:
    """Of an entry of a deployment that is in `now`: GitHub calls a superseded one inactive."""
    phase = phase_of(github_state)
    return now if now is Phase.SUPERSEDED and phase is Phase.INACTIVE else phase


def ran(phase: Phase, *, started: bool) -> bool:
    """Or it may yet: not where it ended before its tool was started."""
    return phase is not Phase.SUPERSEDED and (phase is not Phase.ERROR or started)


def follows(now: Phase, new: Phase) -> bool:
    """Forward only, because deliveries come late and out of order."""
    if now.final:
        return now is Phase.SUCCESS and new is Phase.INACTIVE
    return _RANK[new] > _RANK[now]
