"""Approve and Reject: what a person answers to the question whether a deployment may start.

Who may is decided by deploy.yml's `review` and by GitHub. An answer is kept while the deployment
waits for it, under the lock under which its gates are asked, and its gates are asked again at once.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from webhook.config.environments import Config
from webhook.deployments.actions import Snapshot
from webhook.deployments.notice import Button, Confirmation, DeploymentNotice, Question
from webhook.engine.policy import kept_policy
from webhook.gates.approval import Review, described, is_own, review_of
from webhook.slack.actions.contract import StoreAction, commit_of, target_of
from webhook.slack.actions.membership import is_among
from webhook.slack.actions.permissions import Authorized, Declined, routed
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import (
    Mistyped,
    Typed,
    environment_error,
    repo_error,
    require,
    spelling,
    visible,
)
from webhook.slack.blocks.mrkdwn import escape, plain
from webhook.store import actions, approvals, deployments, gates, schedule
from webhook.store.actions import ActionRow
from webhook.store.approvals import NewApproval, waits_for_approval
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.text import and_more, length_error

COMMENT = "comment"
LONGEST_COMMENT = 1000


class Answer(StoreAction):
    approves: ClassVar[bool]
    # "approved" or "rejected".
    past: ClassVar[str]
    question: ClassVar[Question]

    def offered(self, deployment: Snapshot) -> bool:
        return deployment.waits_for_approval

    def button(self, notice: DeploymentNotice) -> Button:
        return replace(super().button(notice), questions=(self.question,))

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if len(arguments) < 2:
            raise Mistyped(f"Write it as `{command} {self.usage[0]}`")
        repo, environment, *words = arguments
        comment = " ".join(words)
        require(
            repo_error(repo),
            environment_error(config, repo, environment),
            comment_error(comment),
            self.missing(command, comment),
        )
        inputs = ((COMMENT, comment),) if comment else ()
        return Typed(self.name, repo, spelling(config, repo, environment), inputs=inputs)

    def missing(self, command: str, comment: str) -> str:
        """What is wrong where there is no comment."""
        return ""

    async def authorize(self, services: ActionServices, action: ActionRow) -> Authorized:
        if error := comment_error(comment_of(action)):
            raise Declined("not_possible", error)
        by = await super().authorize(services, action)
        async with services.pool.connection() as connection:
            row = await _waiting(connection, action, by)
            _require_waiting(row)
            review = await _review(services, connection, row)
        if not by.login_id:
            message = f"GitHub does not say which account {by.login} is; the answer does not count"
            raise Declined("github_unclear", message, "failed")
        if not await is_among(services, by, review.reviewers, review.teams):
            message = f"{by.login} is not among those who may answer: {described(review)}"
            raise Declined("lacks_permission", message)
        if self.approves and not review.counts(by.login):
            names = and_more(list(review.approvers.values()), most=10)
            message = f"By the repository's own deploy.yml, only the approval of {names} counts"
            raise Declined("lacks_permission", message)
        return by

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        found = await _waiting(connection, action, by)
        await gates.lock_environment(connection, found)
        row = await deployments.read(connection, found.id, lock=True)
        assert row is not None
        _require_waiting(row)
        review = await _review(services, connection, row)
        _require_named(review, by)
        await self._require_counts(services, connection, row, review, by)
        comment = comment_of(action)
        answer = NewApproval(
            policy=review.digest,
            user_id=by.login_id,
            login=by.login,
            approved=self.approves,
            comment=comment,
            source=action.audit_source,
            at=services.clock(),
            lasts=review.expires,
        )
        if not await approvals.add(connection, row, answer):
            raise Declined("not_possible", f"You have {self.past} this already")
        await actions.set_deployment(connection, action.id, row.id)
        await schedule.request(connection, [schedule.Key("advance", row.id)])
        return f"{self.past.capitalize()}: {comment}" if comment else self.past.capitalize()

    @abstractmethod
    async def _require_counts(
        self,
        services: ActionServices,
        connection: Async,
        row: DeploymentRow,
        review: Review,
        by: Authorized,
    ) -> None:
        """Raises `Declined` where this answer of this person would change nothing."""


class Approve(Answer):
    name = "approve"
    label = "Approve"
    style = "primary"
    verb = "approve"
    usage = (
        "approve owner/repo environment [comment]",
        "approves the newest deployment that waits for approval there",
    )
    approves = True
    past = "approved"
    question = Question(
        name=COMMENT,
        label="Comment",
        hint="Everybody sees it",
        longest=LONGEST_COMMENT,
        required=False,
    )

    def confirmation(self, notice: DeploymentNotice) -> Confirmation:
        changes = f" {plain(notice.changes, 100)}." if notice.changes else ""
        return Confirmation(
            title="Approve this deployment?",
            text=f"Let {commit_of(notice)} of {target_of(notice)} start?{changes}",
            confirm="Approve",
            deny="Not yet",
            style="primary",
        )

    def done(self, action: ActionRow) -> str:
        start = f"You have approved it, {named(action)}"
        return f"{start}; it starts by itself once nothing else holds it"

    async def _require_counts(
        self,
        services: ActionServices,
        connection: Async,
        row: DeploymentRow,
        review: Review,
        by: Authorized,
    ) -> None:
        environment = routed(services, row.repo, row.environment)
        policy = await kept_policy(services, connection, row, environment)
        situation = await gates.read(connection, row.id, policy, services.clock())
        assert situation is not None
        if not review.own and is_own(situation.snapshot.candidate, by.login, by.login_id):
            message = "You asked for this deployment yourself; somebody else has to approve it"
            raise Declined("not_possible", message)
        if any(
            one.user_id == by.login_id and one.deployment_id == row.id and not one.approved
            for one in situation.snapshot.approvals
        ):
            raise Declined("not_possible", "You have rejected this already, which ends it")


def named(action: ActionRow) -> str:
    """What a command was about, which names none."""
    return f"deployment {action.deployment_id} to {escape(action.environment, 140)}"


def comment_of(action: ActionRow) -> str:
    return visible(action.inputs.get(COMMENT, "")).strip()


def comment_error(comment: str) -> str:
    return length_error("comment", comment, LONGEST_COMMENT)


async def waiting_deployment(connection: Async, action: ActionRow) -> DeploymentRow:
    """Of a button, or of a form that it opened."""
    row = await deployments.read(connection, action.deployment_id or 0)
    if row is None:
        message = "The relay does not know this deployment any more"
        raise Declined("unknown_deployment", message)
    _require_waiting(row)
    return row


async def _waiting(connection: Async, action: ActionRow, by: Authorized) -> DeploymentRow:
    """The deployment that is answered."""
    if by.deployment is not None:
        return await deployments.read(connection, by.deployment.id) or by.deployment
    repository, environment = by.repository, action.environment
    found = await approvals.newest_waiting(connection, repository.repo_id, environment)
    row = await deployments.read(connection, found) if found else None
    if row is None:
        message = f"No deployment to {environment} of {repository.repo} waits for approval"
        raise Declined("not_possible", message)
    return row


def _require_waiting(row: DeploymentRow) -> None:
    if waits_for_approval(row):
        return
    if row.ended_at is not None:
        message = f"Too late: deployment {row.id} has ended, it is '{row.phase}'"
    elif row.started_at is not None:
        message = f"Too late: deployment {row.id} has started"
    else:
        message = f"Deployment {row.id} does not wait for approval"
    raise Declined("not_possible", message)


def _require_named(review: Review, by: Authorized) -> None:
    """The repository's own file may name others by now, and who answers counts under what it says
    then. Teams are the operator's, who has no other ones meanwhile."""
    if not review.teams and by.login.lower() not in review.people:
        message = "Who may answer has just changed, by the repository's own deploy.yml"
        raise Declined("lacks_permission", f"{message}: {described(review)}")


async def _review(services: ActionServices, connection: Async, row: DeploymentRow) -> Review:
    environment = routed(services, row.repo, row.environment)
    policy = await kept_policy(services, connection, row, environment)
    review = review_of(policy.environment)
    if not review.enabled:
        message = f"By deploy.yml, {row.environment} needs no approval any more"
        raise Declined("not_possible", message)
    return review
