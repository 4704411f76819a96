"""What a change of a repository's file takes away of its gates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from webhook.config.environments import Environment
from webhook.gates.approval import review_of
from webhook.gates.contract import keys_of
from webhook.gates.deployable_ref import deployable_refs
from webhook.gates.freeze import FreezeKeys, FrozenWindow
from webhook.gates.serialization import SerializationKeys
from webhook.repository_file.model import FileEnvironment

# A key, and what of it.
Item = tuple[str, str]
People = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What has to be so before something starts. `approvals`: how many; `reviewers`: whose, by
    their logins in lower case, None where that is not said."""

    approvals: int = 0
    reviewers: People | None = None
    patterns: frozenset[str] = frozenset()
    contexts: frozenset[str] = frozenset()
    windows: tuple[FrozenWindow, ...] = ()
    serialized: bool = False


NOTHING = Demands()


def demands_of_file(environment: FileEnvironment | None) -> Demands:
    """What the file alone says."""
    if environment is None:
        return NOTHING
    pattern = environment.deployable_ref
    return Demands(
        approvals=max((one.count for one in environment.approvers), default=0),
        reviewers=_reviewers(environment),
        patterns=frozenset() if pattern is None else frozenset({pattern}),
        contexts=frozenset(environment.required_contexts or ()),
        windows=environment.frozen_windows,
        serialized=bool(environment.serialization),
    )


def demands_of(environment: Environment) -> Demands:
    """What holds."""
    review = review_of(environment)
    # Who is in a team, nobody knows here.
    named = review.enabled and not review.asked_teams
    return Demands(
        approvals=review.count if review.enabled else 0,
        reviewers=review.approvers if named else None,
        patterns=frozenset(deployable_refs(environment)),
        contexts=frozenset(environment.required_contexts),
        windows=keys_of(environment, FreezeKeys).frozen_windows,
        serialized=keys_of(environment, SerializationKeys).serialization,
    )


def loosened(before: Demands, after: Demands) -> dict[Item, str]:
    """What is demanded no more."""
    return dict(_loosened(before, after))


def _loosened(before: Demands, after: Demands) -> Iterator[tuple[Item, str]]:
    if after.approvals < before.approvals:
        yield ("review", ""), _approvals(before.approvals, after.approvals)
    if before.approvals and after.approvals:
        for login, shown in _added(before.reviewers, after.reviewers).items():
            yield ("review", login), f"{shown} may approve, too"
    for pattern in sorted(before.patterns - after.patterns):
        yield ("deployable_ref", pattern), f"refs that {pattern} does not match may be deployed"
    for context in sorted(before.contexts - after.contexts):
        yield ("required_contexts", context), f"{context} need not have succeeded any more"
    for window in before.windows:
        if window not in after.windows:
            yield ("frozen_windows", window.label), f"no longer frozen: {window.label}"
    if before.serialized and not after.serialized:
        yield ("serialization", ""), "several deployments may run at once"


def _approvals(before: int, after: int) -> str:
    if after == 0:
        return "no approval is needed any more"
    return f"{after} approval{'' if after == 1 else 's'} instead of {before}"


def _added(before: People | None, after: People | None) -> dict[str, str]:
    if before is None:
        return {}
    if after is None:
        return {"*": "whoever the operator's deploy.yml names"}
    return {login: shown for login, shown in after.items() if login not in before}


def _reviewers(environment: FileEnvironment) -> People | None:
    """Those whom each list of it has."""
    lists = [
        {one.lower(): one for one in approvers.logins}
        for approvers in environment.approvers
        if approvers.logins is not None
    ]
    return reduce(_both, lists) if lists else None


def _both(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    return {login: shown for login, shown in one.items() if login in other}
