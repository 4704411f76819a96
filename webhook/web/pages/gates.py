"""What holds deployments back, as pages show it: all that blocks one, the queue of its environment,
locks, answers of people, and gates that somebody has skipped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from webhook.deployments.approvals import Approval
from webhook.deployments.blockers import Blocker
from webhook.deployments.locks import Lock, capitalized, name_of, unlock_command, whom
from webhook.deployments.overrides import Override
from webhook.deployments.queue import Queued, others
from webhook.store.deployments import DeploymentRow
from webhook.store.waits import Waits
from webhook.text import and_more
from webhook.web.pages.elements import Link, Moment, day_and_time, line, moment, version

# The address of a deployment's page, by its repository and number.
PageOf: TypeAlias = Callable[[str, int], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockerView:
    """`until`: None where no end is known."""

    reason: str
    until: Moment | None
    way_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedView:
    """`current`: it is the page's own deployment."""

    position: str
    deployment: Link
    version: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LockView:
    """`expires`: None for never. `lets`: what it lets through."""

    scope: str
    owner: str
    reason: str
    since: Moment
    expires: Moment | None
    lets: str


@dataclass(frozen=True, slots=True)
class HoldingLock:
    """`unlock`: the command that ends it."""

    lock: LockView
    unlock: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """`about`: another deployment of the same commit, to which it was given."""

    kind: str
    text: str
    login: str
    at: Moment
    comment: str
    about: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedView:
    gates: str
    login: str
    reason: str
    at: Moment
    until: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class GatesView:
    """`gives_up`: when it ends if it still waits then. `overrides`: who may skip what it waits for,
    "" for nobody. `more`: those of the queue that are not shown."""

    blockers: tuple[BlockerView, ...]
    gives_up: Moment | None
    overrides: str
    queue: tuple[QueuedView, ...]
    more: int
    locks: tuple[HoldingLock, ...]
    answers: tuple[AnswerView, ...]
    skipped: tuple[SkippedView, ...]

    @property
    def shown(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.blockers or self.queue or self.locks or self.answers or self.skipped)


def build_gates(
    row: DeploymentRow,
    waits: Waits,
    page_of: PageOf,
    gives_up: datetime | None,
    may_override: Sequence[str] = (),
) -> GatesView:
    """`may_override`: logins, and teams as organization/team."""
    blockers = row.blockers if row.ended_at is None else ()
    queue = waits.queue if others(waits.queue, row.id) else ()
    waiting = [one for one in queue if not one.running]
    return GatesView(
        blockers=tuple(blocker_view(one) for one in blockers),
        gives_up=day_and_time(gives_up) if blockers and gives_up else None,
        overrides=line(and_more(list(may_override), most=10)) if blockers and may_override else "",
        queue=tuple(_queued(one, row, page_of) for one in queue),
        more=max((one.total for one in waiting), default=0) - len(waiting),
        locks=tuple(_holding(one, row) for one in waits.locks),
        answers=tuple(_answers(waits.approvals, row, page_of)),
        skipped=tuple(_skipped(one) for one in waits.skipped),
    )


def blocker_view(one: Blocker) -> BlockerView:
    return BlockerView(
        reason=line(one.reason),
        until=day_and_time(one.until) if one.until else None,
        way_out=line(one.way_out),
    )


def lock_view(one: Lock) -> LockView:
    return LockView(
        scope=capitalized(line(name_of(one))),
        owner=line(one.owner),
        reason=line(one.reason),
        since=moment(one.created_at),
        expires=day_and_time(one.expires_at) if one.expires_at else None,
        lets=line(whom(one)),
    )


def _holding(one: Lock, row: DeploymentRow) -> HoldingLock:
    return HoldingLock(lock_view(one), line(unlock_command(one, repo=row.repo)))


def _queued(one: Queued, row: DeploymentRow, page_of: PageOf) -> QueuedView:
    current = one.deployment_id == row.id
    url = "" if current else page_of(one.repo, one.deployment_id)
    return QueuedView(
        position=one.shown_position,
        deployment=Link(url, f"deployment {one.deployment_id}"),
        version=version(one.ref, one.sha),
        current=current,
    )


def _answers(
    approvals: Iterable[Approval], row: DeploymentRow, page_of: PageOf
) -> Iterable[AnswerView]:
    for one in approvals:
        other = one.deployment_id != row.id
        about = f"deployment {one.deployment_id}"
        yield AnswerView(
            kind="good" if one.approved else "bad",
            text="Approved" if one.approved else "Rejected",
            login=line(one.login),
            at=moment(one.at),
            comment=line(one.comment),
            about=Link(page_of(row.repo, one.deployment_id), about) if other else None,
        )


def _skipped(one: Override) -> SkippedView:
    return SkippedView(
        gates=line(", ".join(one.gates)),
        login=line(one.login),
        reason=line(one.reason),
        at=moment(one.at),
        until=day_and_time(one.expires_at),
    )
