"""What waits for one person: approvals that they may give, what they asked for and has not gone
well, and locks that they own and may have forgotten."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from webhook.deployments.labels import phase_label
from webhook.deployments.locks import Lock, name_of, owned_by, short_reason
from webhook.deployments.phases import FAILED
from webhook.gates.approval import APPROVAL, review_of
from webhook.gates.stages import Route
from webhook.store.board import BoardDeployment, InFlight
from webhook.text import one_line
from webhook.web import paths
from webhook.web.pages.board.cells import reason_of
from webhook.web.pages.board.data import Activity, RepositoryData
from webhook.web.pages.elements import Link, Moment, line, moment

# Younger locks are not forgotten.
FORGOTTEN_AFTER = timedelta(hours=1)
# Older failures nobody waits for.
_FAILED_WITHIN = timedelta(days=7)
MOST = 12

Kind: TypeAlias = Literal["approval", "failed", "waiting", "lock"]


class Account(Protocol):
    """Of who looks at the board."""

    @property
    def id(self) -> int: ...

    @property
    def login(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Act:
    """A form that asks whether the action `kind` is to be done about these `fields`."""

    kind: str
    label: str
    fields: Mapping[str, str]
    style: str = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """`tone`: of its sign. `subject`: what it is about, which leads to its page. `reason`: why.
    `act`: with which it waits no longer. `sure`: else only GitHub knows whether the person is in
    the team that is asked."""

    kind: Kind
    tone: str
    text: str
    subject: Link
    environment: Link
    reason: str
    since: Moment
    act: Act | None = None
    sure: bool = True


def is_by(one: InFlight | BoardDeployment, person: Account) -> bool:
    """By the account's number, as logins change hands; by login where no number is known."""
    if one.by_id:
        return one.by_id == person.id
    return bool(one.by) and one.by.lower() == person.login.lower()


def waits_for(
    person: Account,
    activity: Activity,
    repositories: Iterable[RepositoryData],
    *,
    answered: Collection[int],
    may_write: Collection[int],
    routed: Route,
    now: datetime,
) -> list[Wait]:
    """The most urgent first. `answered`: deployments for which this person has answered;
    `may_write`: repositories in which they may do anything."""
    open_to = [one for one in activity.every if one.id not in answered and one.repo_id in may_write]
    return [
        *_approvals(person, open_to, routed),
        *_failures(person, repositories, may_write, now),
        *_own_waits(person, activity.every),
        *_locks(person, activity.locks, may_write, now),
    ]


def asked_for_approval(in_flight: Iterable[InFlight]) -> list[int]:
    """Deployments about which people are asked."""
    return [one.id for one in in_flight if _asks(one)]


def _asks(one: InFlight) -> tuple[str, ...]:
    """Logins and teams."""
    blockers = (blocker for blocker in one.blockers if blocker.gate == APPROVAL.name)
    return tuple(name for blocker in blockers if blocker.for_person for name in blocker.asks)


def _approvals(person: Account, in_flight: Iterable[InFlight], routed: Route) -> Iterator[Wait]:
    found = []
    for one in in_flight:
        asked = [name.lower() for name in _asks(one)]
        named = person.login.lower() in asked
        in_a_team = any("/" in name for name in asked)
        if not (named or in_a_team):
            continue
        environment = routed(one.repo, one.environment)
        own = environment is not None and review_of(environment).own
        if is_by(one, person) and not own:
            continue
        found.append(_approval(one, sure=named))
    yield from sorted(found, key=lambda one: not one.sure)


def _approval(one: InFlight, *, sure: bool) -> Wait:
    by = f", asked for by {one.by}" if one.by else ""
    return Wait(
        kind="approval",
        tone="hold",
        text="Waits for your approval" if sure else "Waits for an approval that may be yours",
        subject=_subject(one),
        environment=_environment(one),
        reason=line(f"{reason_of(one)}{by}"),
        since=moment(one.requested_at),
        act=Act("approve", "Approve", {"deployment": str(one.id)}, "primary"),
        sure=sure,
    )


def _failures(
    person: Account,
    repositories: Iterable[RepositoryData],
    may_write: Collection[int],
    now: datetime,
) -> Iterator[Wait]:
    """Nothing newer was deployed there since."""
    newest = (
        environment.newest for repository in repositories for environment in repository.environments
    )
    failed = [one for one in newest if one and one.phase in FAILED and is_by(one, person)]
    for one in sorted(failed, key=lambda one: one.since, reverse=True):
        if one.since > now - _FAILED_WITHIN:
            label = phase_label(one.phase, held=False, started=one.started)
            retry = Act("retry", "Retry", {"deployment": str(one.id)})
            yield Wait(
                kind="failed",
                tone=label.kind,
                text=f"Your deployment {label.text}",
                subject=_subject(one),
                environment=_environment(one),
                reason="",
                since=moment(one.since),
                act=retry if one.repo_id in may_write and not one.watched else None,
            )


def _own_waits(person: Account, in_flight: Iterable[InFlight]) -> Iterator[Wait]:
    for one in in_flight:
        if is_by(one, person) and (one.blockers or one.held):
            yield Wait(
                kind="waiting",
                tone="hold" if one.blockers else "waiting",
                text="Your deployment waits" + ("" if one.blockers else " for a person"),
                subject=_subject(one),
                environment=_environment(one),
                reason=reason_of(one),
                since=moment(one.requested_at),
            )


def _locks(
    person: Account, locks: Iterable[Lock], may_write: Collection[int], now: datetime
) -> Iterator[Wait]:
    for one in locks:
        if owned_by(one, person.login) and one.created_at < now - FORGOTTEN_AFTER:
            unlock = Act("unlock", "Unlock", {"repo": one.repo, "environment": one.environment})
            page = paths.environment(one.repo, one.environment) if one.repo_id else ""
            yield Wait(
                kind="lock",
                tone="error",
                text="Your lock still holds",
                subject=Link(page, line(name_of(one))),
                environment=Link("", ""),
                reason=line(short_reason(one)),
                since=moment(one.created_at),
                act=unlock if one.repo_id in may_write else None,
            )


def _subject(one: InFlight | BoardDeployment) -> Link:
    sha = one.sha[:7]
    text = sha if one.ref == one.sha else f"{one_line(one.ref, 60)} @ {sha}"
    return Link(paths.deployment(one.repo, one.id), line(text))


def _environment(one: InFlight | BoardDeployment) -> Link:
    text = line(f"{one.environment} of {one.repo}")
    return Link(paths.environment(one.repo, one.environment), text)
