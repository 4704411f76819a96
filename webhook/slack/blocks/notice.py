"""What Slack is told of a deployment, as plain data, and the message that comes of it.

Units: `seconds` are seconds; times carry their zone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from slack_sdk.models.blocks import Block

from webhook.deployments.changelog import Ships
from webhook.deployments.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a message tells of a deployment. `seconds`: how long it took, None while it goes on."""

    deployment_id: int
    repo: str
    repo_url: str
    environment: str
    production: bool
    ref: str
    sha: str
    task: str
    # GitHub login of who asked for it, "" where nobody knows.
    asked_by: str
    phase: Phase
    words: str
    # It waits for a person now.
    held: bool
    # Its tool was started: an `error` of one that began "was stopped", of another "could not run".
    began: bool
    # A success after a failure in this environment.
    back_to_green: bool
    seconds: float | None
    page_url: str
    run_url: str
    # The tool's full name, "Drone CI" for example.
    tool: str
    environment_url: str
    # None where nobody knows.
    ships: Ships | None
    # The last success of the environment before this one, "" if there was none.
    since_sha: str
    # "retry", "rollback" or "", and the page of the deployment that it was made from.
    origin: str
    origin_url: str
    # Of "cancel", "retry" and "rollback"; only those are shown.
    buttons: tuple[str, ...]
    # Words for the rollback's confirmation: "v1.2 @ abc1234".
    rollback_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTold:
    """A step of a deployment. `state` is GitHub's, or "" where only the words tell."""

    at: datetime
    state: str
    words: str
    actor: str
    log_url: str
    held: bool


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is the notification and what a screen reader says."""

    text: str
    blocks: Sequence[Block]
