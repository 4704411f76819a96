"""What people are told of a deployment, as plain data that any notifier can show.

Units: `seconds` are seconds; times carry their zone.
"""

from dataclasses import dataclass
from datetime import datetime

from webhook.deployments.changelog import Ships
from webhook.deployments.labels import Label, entry_label, phase_label
from webhook.deployments.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeEntry:
    """An entry of a deployment's timeline. `state` is GitHub's, or "" where only the description
    says something."""

    at: datetime
    state: str
    description: str
    actor: str
    log_url: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentNotice:
    """A deployment as it stands now. `seconds`: how long it took, None while it goes on."""

    deployment_id: int
    repo: str
    repo_url: str
    environment: str
    production: bool
    ref: str
    sha: str
    task: str
    # GitHub login of who requested it, "" where nobody knows.
    requested_by: str
    phase: Phase
    description: str
    # It waits for a person now.
    held: bool
    # Its tool was started: an `error` of a started one "was stopped", of another "could not run".
    started: bool
    # A success after a failure in this environment.
    recovered: bool
    seconds: float | None
    page_url: str
    run_url: str
    # The tool's full name, "Drone CI" for example.
    tool: str
    environment_url: str
    # None where nobody knows.
    changelog: Ships | None
    # The commit of the environment's last success before this one, "" if there was none.
    previous_sha: str
    # "retry", "rollback" or "", and the page of the deployment that it was made from.
    origin: str
    origin_url: str
    # Of "cancel", "retry" and "rollback": what makes sense now.
    actions: tuple[str, ...]
    # What a rollback would deploy: "v1.2 @ abc1234".
    rollback_to: str

    @property
    def label(self) -> Label:
        return phase_label(self.phase, held=self.held, started=self.started)

    def entry_label(self, entry: NoticeEntry) -> Label:
        return entry_label(entry.state, held=entry.held, started=self.started)
