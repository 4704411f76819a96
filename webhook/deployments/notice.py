"""What a message about a deployment shows, as plain data for any notifier.

Units: `seconds` are seconds; times carry their zone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from handlers import durations
from webhook.deployments.automatic import Cause
from webhook.deployments.blockers import Blocker
from webhook.deployments.changelog import Changelog, Commit
from webhook.deployments.difference import Difference, on_github
from webhook.deployments.labels import Label, entry_label, phase_label
from webhook.deployments.overrides import Override
from webhook.deployments.phases import Phase, ran

Style = Literal["primary", "danger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeEntry:
    """An entry of a deployment's timeline. `state` is GitHub's, or "" where only the description
    says something. `asks`: people are asked for an answer, who were not asked before. `for_all`:
    everybody has to see it."""

    at: datetime
    state: str
    description: str
    actor: str
    log_url: str
    held: bool
    asks: bool = False
    for_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeApproval:
    """What a person answered to the question whether it may start."""

    login: str
    approved: bool
    at: datetime
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Shown before an action is requested. Plain text of at most 100, 300 and 30 characters."""

    title: str
    text: str
    confirm: str
    deny: str
    style: Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person may say with an action, in a form: its input of that `name`, of at most
    `longest` characters."""

    name: str
    label: str
    hint: str
    longest: int
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """`action` is the name of the action that a press on it requests; `target` and `environment`:
    another deployment and another environment that its confirmation speaks of. On a page, it is
    requested by a form with these `questions`, and with these `inputs` besides; `fills`: the
    action that it requests, where that is another one than opens a form in Slack."""

    action: str
    label: str
    style: Style | None = None
    confirmation: Confirmation | None = None
    target: int = 0
    environment: str = ""
    questions: tuple[Question, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    fills: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Where the commit of a success goes next. `newest_id`: the newest deployment there, 0 if there
    is none. `live`: what has succeeded there, "v1.2 @ abc1234", and `changes`: what it would change
    of that; "" if unknown."""

    environment: str
    production: bool
    newest_id: int
    live: str = ""
    changes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentNotice:
    """The current state of a deployment. `seconds`: its duration, None while it is in progress."""

    deployment_id: int
    repo: str
    repo_url: str
    environment: str
    production: bool
    ref: str
    sha: str
    task: str
    # GitHub login of the person who requested it, "" if unknown.
    requested_by: str
    phase: Phase
    # Since when it has this state.
    changed_at: datetime
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
    # None if unknown.
    changelog: Changelog | None
    # The commit of the environment's last success before this one, "" if there was none.
    previous_sha: str
    # The action that created it from another deployment, "" if none did, and that one's page.
    origin: str
    origin_url: str
    # Those that are offered now, in their order.
    actions: tuple[Button, ...]
    # What a rollback would deploy: "v1.2 @ abc1234".
    rollback_to: str
    # How `origin` is shown: "retry of an earlier deployment" for example.
    origin_label: str = ""
    # The deployment that a rollback would repeat, 0 if there is none.
    rollback_id: int = 0
    # Why it was created where nobody requested it.
    cause: Cause | None = None
    # What people answered, the oldest first.
    approvals: tuple[NoticeApproval, ...] = ()
    # Of its gates, the oldest first.
    overrides: tuple[Override, ...] = ()
    # What keeps it from starting; none once it has started or ended.
    blockers: tuple[Blocker, ...] = ()
    # The deployment that went instead of a superseded one, 0 if there is none, and its page.
    superseded_by: int = 0
    superseded_by_url: str = ""
    # By how much it came late, "" if it did not, or was not run.
    late: str = ""
    # Where it can be promoted to; None: nowhere, or it is there.
    promotion: Promotion | None = None

    @property
    def asks(self) -> tuple[str, ...]:
        """Who is asked for an answer now: GitHub logins, and teams as organization/team."""
        return tuple(dict.fromkeys(who for one in self.blockers for who in one.asks))

    @property
    def label(self) -> Label:
        return phase_label(
            self.phase, held=self.held, started=self.started, blocked=bool(self.blockers)
        )

    @property
    def ran(self) -> bool:
        """Or it may yet."""
        return ran(self.phase, started=self.started)

    @property
    def detail(self) -> str:
        """What follows the label: how long it took, and whether that is news or history."""
        good = self.phase in (Phase.SUCCESS, Phase.INACTIVE)
        text = ""
        if self.seconds is not None and self.phase.final and self.ran:
            text = f" {'in' if good else 'after'} {durations.write(max(0, self.seconds))}"
        if self.phase is Phase.INACTIVE:
            return f"{text}, replaced since"
        green = self.phase is Phase.SUCCESS and self.recovered
        return f"{text}, back to green" if green else text

    @property
    def difference(self) -> Difference:
        return Difference(
            repo_url=self.repo_url,
            sha=self.sha,
            previous_sha=self.previous_sha,
            changelog=self.changelog,
            ran=self.ran,
            rolls_back=self.origin == "rollback",
        )

    @property
    def changes(self) -> str:
        """What it changes, in short; "" if unknown, or if nothing ran."""
        return self.difference.summary

    @property
    def new_commits(self) -> tuple[Commit, ...]:
        """Those that are shown, of those that `changes` counts."""
        return self.difference.new_commits

    @property
    def since_sha(self) -> str:
        return self.difference.since_sha

    @property
    def compare_url(self) -> str:
        return self.difference.compare_url

    def on_github(self, kind: str, name: str) -> str:
        return on_github(self.repo_url, kind, name)

    def entry_label(self, entry: NoticeEntry) -> Label:
        return entry_label(entry.state, held=entry.held, started=self.started, now=self.phase)
