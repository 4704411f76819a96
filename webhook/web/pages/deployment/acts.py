"""What its viewer may do with a deployment: the actions that its message in Slack offers too, each
as a form; and why one is not theirs.

Who may in the end says the worker, by the same rules for Slack and for pages; the page leaves out
what would certainly be refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webhook.config.environments import Config
from webhook.config.routing import route
from webhook.deployments.approvals import Approval
from webhook.deployments.notice import Button, Confirmation, DeploymentNotice, Question
from webhook.gates.approval import Review, described, review_of
from webhook.store.approvals import GATE
from webhook.text import and_more
from webhook.web.pages.elements import line

# Of a list of names.
_ROOM = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Doer:
    """Who looks at the page: their login, the account's number, and whether GitHub lets them write
    to the repository."""

    login: str
    user_id: int
    may_write: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ActView:
    """`kind`: the action that the form requests, with these `fields` and what is answered to
    `questions`. `confirmation`: what to think about before. `condition`: what the page does not
    know of its viewer, "" for nothing. `refusal`: why it is not theirs; there is no form then."""

    kind: str
    label: str
    style: str
    confirmation: Confirmation | None
    questions: tuple[Question, ...]
    fields: Mapping[str, str]
    condition: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActsView:
    """`note`: why there are none for this viewer, though the deployment offers some."""

    acts: tuple[ActView, ...] = ()
    note: str = ""

    @property
    def shown(self) -> bool:
        return bool(self.acts or self.note)


def build_acts(
    notice: DeploymentNotice, approvals: Sequence[Approval], doer: Doer, config: Config
) -> ActsView:
    """`approvals`: the answers about its commit."""
    if not notice.actions:
        return ActsView()
    if not doer.may_write:
        offered = and_more([one.label.rstrip("…") for one in notice.actions], limit=_ROOM)
        who = "who may write to the repository on GitHub"
        return ActsView(note=f"For people {who}: {offered}. You may read it.")
    rules = _Rules(notice, approvals, doer, config)
    return ActsView(
        acts=tuple(_act(notice, button, *rules.of(button)) for button in notice.actions)
    )


def _act(notice: DeploymentNotice, button: Button, condition: str, refusal: str) -> ActView:
    fields = [("deployment", str(notice.deployment_id))]
    fields += [("target", str(button.target))] if button.target else []
    fields += [("input.environment", button.environment)] if button.environment else []
    fields += [(f"input.{name}", value) for name, value in button.inputs]
    return ActView(
        kind=button.fills or button.action,
        label=button.label.rstrip("…"),
        style=button.style or "quiet",
        confirmation=button.confirmation,
        questions=button.questions,
        fields=dict(fields),
        condition=condition,
        refusal=refusal,
    )


class _Rules:
    """A condition and a refusal of each button, "" for none."""

    def __init__(
        self,
        notice: DeploymentNotice,
        approvals: Sequence[Approval],
        doer: Doer,
        config: Config,
    ) -> None:
        self._notice = notice
        self._mine = [
            one
            for one in approvals
            if one.user_id == doer.user_id and one.deployment_id == notice.deployment_id
        ]
        self._doer = doer
        self._environment = route(config, notice.repo, notice.environment)

    def of(self, button: Button) -> tuple[str, str]:
        match button.action:
            case "approve":
                return self._approve()
            case "reject":
                return self._reject()
            case "open_override":
                return self._override()
        return "", ""

    def _approve(self) -> tuple[str, str]:
        """By what its gate asks for now, which the repository's own file may have narrowed."""
        if any(one.approved for one in self._mine):
            return "", "You have approved it."
        asked = [who for one in self._notice.blockers if one.gate == GATE for who in one.asks]
        if self._is_among(asked):
            return "", ""
        teams = [one for one in asked if "/" in one]
        if teams:
            return f"Counts if you are in {_teams(teams)}; GitHub is asked.", ""
        if self._asked_for_it and self._is_among(self._review.reviewers):
            return "", "You asked for it yourself; somebody else has to approve it."
        who = and_more(asked, limit=_ROOM) if asked else "nobody else"
        return "", f"Not yours: {who} may approve it."

    def _reject(self) -> tuple[str, str]:
        review = self._review
        if self._is_among(review.reviewers):
            return "", ""
        if review.teams:
            owner = self._notice.repo.partition("/")[0]
            teams = [one if "/" in one else f"{owner}/{one}" for one in review.teams]
            return f"Counts if you are in {_teams(teams)}; GitHub is asked.", ""
        return "", f"Not yours: {line(described(review)) or 'nobody'} may answer."

    def _override(self) -> tuple[str, str]:
        listed = self._environment.break_glass if self._environment else ()
        if self._is_among(listed):
            return "", ""
        teams = [one for one in listed if "/" in one]
        if teams:
            return f"For members of {_teams(teams)}; GitHub is asked.", ""
        return "", f"Not yours: deploy.yml lets {and_more(list(listed), limit=_ROOM)} do it."

    @property
    def _review(self) -> Review:
        return review_of(self._environment) if self._environment else Review()

    @property
    def _asked_for_it(self) -> bool:
        return self._notice.requested_by.lower() == self._doer.login.lower()

    def _is_among(self, names: Sequence[str]) -> bool:
        return self._doer.login.lower() in {one.lower() for one in names}


def _teams(names: Sequence[str]) -> str:
    return line(and_more(list(names), limit=_ROOM))
