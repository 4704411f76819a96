"""Approvals: people agree before a deployment starts. Gitploy's `review`, and more.

An answer counts for one deployment, for its commit, under the policy as it was then, and once for
each account on GitHub. One no ends the deployment. Whoever asked for the deployment does not count;
where nobody knows who that was, because a bot created it, one more has to agree.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from handlers import durations
from webhook.config.destinations import OneOrSeveral, Strict, as_tuple
from webhook.config.errors import invalid
from webhook.deployments.approvals import Approval
from webhook.gates.contract import (
    ALLOW,
    Candidate,
    Deny,
    Gate,
    Snapshot,
    Verdict,
    Wait,
    keys_of,
)
from webhook.text import and_more

NAME = "approval"
# How long one is reused, unless `expires` says otherwise.
REUSED_FOR = timedelta(hours=24)
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
_TEAM = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_-]{0,99}/)?[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
# Of a list of names, in a status of 140 characters.
_ROOM = 80


def login_error(value: str) -> str:
    """What is wrong with it, with the remedy; "" if nothing."""
    return (
        ""
        if _LOGIN.fullmatch(value)
        else "is not a GitHub login; write it without @, as in octocat"
    )


def _login(value: str) -> str:
    if "/" in value:
        raise invalid("is not a GitHub login; a team goes into `teams`")
    if error := login_error(value):
        raise invalid(error)
    return value


def _team(value: str) -> str:
    if not _TEAM.fullmatch(value):
        raise invalid("is not a team; write organization/team, as in the URL of the team's page")
    return value


def _count(value: int, info: ValidationInfo) -> int:
    if value < 1:
        raise invalid("is too few; at least 1 has to approve")
    reviewers, teams = info.data.get("reviewers"), info.data.get("teams")
    if info.data.get("enabled") and reviewers and teams == ():
        people = len({one.lower() for one in reviewers})
        if value > people:
            raise invalid(f"is more than there are reviewers ({people}); name more, or `teams`")
    return value


def _expires(value: Any) -> timedelta:
    try:
        found = durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise invalid(str(error)) from None
    if found < timedelta(minutes=1):
        raise invalid("is too short; an approval lasts for 1m at least")
    return found


_Logins = Annotated[
    tuple[Annotated[str, AfterValidator(_login)], ...], BeforeValidator(as_tuple), OneOrSeveral
]
_Teams = Annotated[
    tuple[Annotated[str, AfterValidator(_team)], ...], BeforeValidator(as_tuple), OneOrSeveral
]
_Duration = Annotated[
    timedelta,
    BeforeValidator(_expires),
    WithJsonSchema({"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]


class Review(Strict):
    """Who has to approve."""

    enabled: bool = False
    """Whether a deployment waits for approval before it starts."""
    reviewers: _Logins = ()
    """GitHub logins of those who may answer."""
    teams: _Teams = ()
    """organization/team, whose members may answer; a team alone is the repository owner's."""
    count: Annotated[int, AfterValidator(_count)] = 1
    """How many have to approve; one more where nobody knows who asked for the deployment."""
    own: bool = Field(default=False, alias="self")
    """Whether the approval of the person who asked for the deployment counts."""
    expires: _Duration | None = None
    """After how long an approval does not count any more: 30m, 12h."""
    same_commit: Literal["reuse"] | None = None
    """reuse: an approval also counts for later deployments of the commit to the environment."""

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        if self.enabled and not (self.reviewers or self.teams):
            message = "names nobody who may approve; add `reviewers` or `teams`"
            raise invalid(message, with_value=False)
        return self

    @property
    def people(self) -> dict[str, str]:
        """The reviewers, by their logins in lower case."""
        return {one.lower(): one for one in self.reviewers}

    @property
    def approvers(self) -> dict[str, str]:
        """Whose approval counts, by name; the members of `asked_teams` besides."""
        return self.people

    @property
    def asked_teams(self) -> tuple[str, ...]:
        return self.teams

    def counts(self, login: str) -> bool:
        """Whether the approval of somebody who may answer counts."""
        return True

    @property
    def digest(self) -> str:
        """Of the policy: an answer that was given under another one does not count."""
        policy = {
            "reviewers": sorted(self.people),
            "teams": sorted({one.lower() for one in self.teams}),
            "count": self.count,
            "self": self.own,
            "expires": self.expires and self.expires.total_seconds(),
            "same_commit": self.same_commit,
        }
        canonical = json.dumps(policy | self._narrowed, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def _narrowed(self) -> dict[str, Any]:
        """Of the policy."""
        return {}


class NarrowedReview(Review):
    """Narrowed by the repository's own file: of those who may answer, only some may approve."""

    only: tuple[str, ...]

    @classmethod
    def of(cls, review: Review, logins: Sequence[str], count: int) -> "NarrowedReview":
        """Narrower than it is already; `count`: at least."""
        values = {name: getattr(review, name) for name in Review.model_fields}
        only = tuple(one for one in logins if review.counts(one))
        values |= {"count": max(review.count, count), "only": only}
        return cls.model_construct(only=()).model_copy(update=values)

    @property
    def approvers(self) -> dict[str, str]:
        """Nobody knows here who is in the teams."""
        named = (one for one in self.only if self.teams or one.lower() in self.people)
        return {one.lower(): one for one in named}

    @property
    def asked_teams(self) -> tuple[str, ...]:
        return ()

    def counts(self, login: str) -> bool:
        return login.lower() in {one.lower() for one in self.only}

    @property
    def _narrowed(self) -> dict[str, Any]:
        return {"only": sorted({one.lower() for one in self.only})}


class ApprovalKeys(Strict):
    review: Review = Review()
    """Who has to approve a deployment before it starts."""


def review_of(environment: Strict) -> Review:
    return keys_of(environment, ApprovalKeys).review


@dataclass(frozen=True, slots=True)
class Answers:
    """To one deployment. `yes`: those that count, one of each account, the oldest first. `no`: the
    first. `void`: how many were given under another policy, or have expired."""

    yes: tuple[Approval, ...]
    no: Approval | None
    void: int


def answers(
    review: Review, deployment_id: int, sha: str, approvals: Iterable[Approval], at: datetime
) -> Answers:
    """`approvals`: to this deployment and to others of the commit, the oldest first."""
    about = [one for one in approvals if one.sha == sha and one.user_id]
    own = [one for one in about if one.deployment_id == deployment_id]
    given = [one for one in own if one.approved]
    policy = review.digest
    lasting = [
        one
        for one in given
        if one.policy == policy and review.counts(one.login) and _lasts(one, review.expires, at)
    ]
    reused = _reused(review, deployment_id, about, at)
    by_account = {one.user_id: one for one in (*reversed(reused), *reversed(lasting))}
    return Answers(
        yes=tuple(sorted(by_account.values(), key=lambda one: one.id)),
        no=next((one for one in own if not one.approved), None),
        void=len(given) - len(lasting),
    )


def is_own(candidate: Candidate, login: str, user_id: int) -> bool:
    """Whether that person asked for the deployment."""
    by_number = bool(candidate.asker_id) and candidate.asker_id == user_id
    return by_number or (bool(candidate.asker) and candidate.asker.lower() == login.lower())


def decide(snapshot: Snapshot) -> Verdict:
    review, candidate = review_of(snapshot.environment), snapshot.candidate
    if not review.enabled:
        return ALLOW
    found = answers(review, candidate.id, candidate.sha, snapshot.approvals, snapshot.now)
    if found.no is not None:
        comment = f": {found.no.comment}" if found.no.comment else ""
        return Deny(reason=f"Rejected by {found.no.login}{comment}")
    yes = [one for one in found.yes if review.own or not is_own(candidate, one.login, one.user_id)]
    needed = review.count + _more(review, candidate)
    if len(yes) >= needed:
        return ALLOW
    impossible = _impossible(review, candidate, needed)
    if impossible is None:
        return _wait(review, candidate, yes, needed, void=found.void)
    if not getattr(snapshot.environment, "break_glass", ()):
        return impossible
    # What is denied, nobody could override.
    way_out = f"/deploy override, or {impossible.way_out[:1].lower()}{impossible.way_out[1:]}"
    return Wait(reason=impossible.reason, way_out=way_out, for_person=True)


def described(review: Review) -> str:
    """Who may answer."""
    return _names(review.reviewers, review.teams)


def _lasts(one: Approval, limit: timedelta | None, at: datetime) -> bool:
    return limit is None or at < one.at + limit


def _reused(
    review: Review, deployment_id: int, about: Sequence[Approval], at: datetime
) -> list[Approval]:
    """Of earlier deployments of the commit; a no voids all that was approved before."""
    if review.same_commit != "reuse":
        return []
    last_no = max((one.id for one in about if not one.approved), default=0)
    limit = review.expires or REUSED_FOR
    return [
        one
        for one in about
        if one.deployment_id < deployment_id
        and one.approved
        and one.id > last_no
        and one.policy == review.digest
        and review.counts(one.login)
        and _lasts(one, limit, at)
    ]


def _more(review: Review, candidate: Candidate) -> int:
    """One of those who approve may have asked for it; somebody else has to agree in any case."""
    return 0 if review.own or candidate.asker or candidate.asker_id else 1


def _impossible(review: Review, candidate: Candidate, needed: int) -> Deny | None:
    """Teams may have any number of members."""
    able = [one for one in review.approvers if review.own or not is_own(candidate, one, 0)]
    people = len(able)
    if review.asked_teams or people >= needed:
        return None
    needs = f"Needs {needed} approval{'' if needed == 1 else 's'}"
    who = "nobody" if people == 0 else f"only {people}"
    if _more(review, candidate):
        return Deny(
            reason=f"{needs}, as nobody knows who asked for it, and {who} may give one",
            way_out="Ask for it in Slack",
        )
    return Deny(
        reason=f"{needs}, and {who} may give one: {candidate.asker} asked for it",
        way_out="Name more reviewers in deploy.yml",
    )


def _wait(
    review: Review, candidate: Candidate, yes: Sequence[Approval], needed: int, *, void: int
) -> Wait:
    approved = [one.login for one in yes]
    notes = [f"{and_more(approved, most=3)} approved"] if approved else []
    notes += [f"{void} void by now"] if void else []
    notes += ["one more, as nobody knows who asked"] if _more(review, candidate) else []
    about = f" ({'; '.join(notes)})" if notes else ""
    answered = {one.lower() for one in approved}
    left = [
        one
        for login, one in review.approvers.items()
        if login not in answered and (review.own or not is_own(candidate, login, 0))
    ]
    owner = candidate.repo.partition("/")[0]
    teams = [one if "/" in one else f"{owner}/{one}" for one in review.asked_teams]
    return Wait(
        reason=f"Waits for approval: {len(yes)} of {needed}{about}",
        way_out=f"Reviewers: {_names(left, teams)}",
        for_person=True,
        asks=(*left, *teams),
    )


def _names(reviewers: Sequence[str], teams: Sequence[str]) -> str:
    return and_more([*reviewers, *(f"team {one}" for one in teams)], limit=_ROOM)


def key_in_use(environment: Strict) -> str:
    return "review" if review_of(environment).enabled else ""


APPROVAL = Gate(name=NAME, decide=decide, Keys=ApprovalKeys, key_in_use=key_in_use)
