"""What is said of a delivery, wherever it is shown: its result, why, how late, of which repository.
And which of them may be processed once more."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from handlers import durations
from webhook.deployments.blockers import in_full
from webhook.github.event_names import about
from webhook.settings import Retention
from webhook.store.deliveries import DeliverySummary, State, Way
from webhook.text import and_more

# `processed` says nothing of the deployment, whose state stands beside it.
RESULTS: dict[str | None, State] = {
    None: "waiting",
    "done": "processed",
    "ignored": "ignored",
    "failed": "failed",
}
WAYS: Mapping[Way, str] = {
    "webhook": "GitHub sent it",
    "pulled": "the relay fetched it from GitHub's list of deliveries",
    "listed": "nobody sent it: the relay found the deployment among GitHub's",
}
# Processed once more at once.
MOST_REPLAYED = 10_000
# Phases of which the description says why.
_EXPLAINED = ("failure", "error", "superseded")
# GitHub's own way takes as long; its times are of whole seconds.
_LATE = timedelta(minutes=1)


def lateness_of(one: DeliverySummary) -> str | None:
    """How long after GitHub had sent it first it arrived; None where that is as usual."""
    late = one.received_at - (one.delivered_at or one.received_at)
    return durations.write(late.total_seconds()) if late >= _LATE else None


def reason_of(one: DeliverySummary, now: datetime) -> str:
    """Why it was not processed, else why its deployment is as it is."""
    description = one.status_description if one.phase in _EXPLAINED else ""
    if one.blockers:
        description = in_full(one.blockers, now)
    unsent = f"GitHub does not show this: {one.unsent}" if one.unsent else ""
    return one.reason or "; ".join(filter(None, (description, unsent)))


def repository_of(found: DeliverySummary) -> str | None:
    """Of its deployment, else as its body says."""
    return found.repo or about(found.body).repo or None


class Replayable(Protocol):
    """What is known of a delivery that is perhaps to be processed once more."""

    @property
    def event(self) -> str: ...
    @property
    def outcome(self) -> str | None: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def environment(self) -> str | None: ...


def why_not_replayed(one: Replayable, keep: Retention, now: datetime) -> str:
    """What it did must still be known, or it would be done again."""
    if one.outcome is None:
        return "waits to be processed, or is being processed"
    kept = keep.deployments
    if one.outcome != "failed" and kept is not None and one.received_at < now - kept:
        return (
            f"is older than {kept.days} days (GITPLOY_KEEP_DEPLOYMENTS): what it did may be"
            " forgotten, and would be done again"
        )
    return ""


def may_deploy(chosen: Sequence[Replayable]) -> str:
    """What somebody must know who did not think of it."""
    undone = [one for one in chosen if one.outcome != "done"]
    asked = [one for one in undone if one.event == "deployment"]
    pushes = sum(one.event == "push" for one in undone)
    names = list(dict.fromkeys(one.environment for one in asked if one.environment))
    where = f" to {and_more(names, most=5)}" if names else ""
    counts = f"{len(asked):,} ask for a deployment{where}" if asked else ""
    pushed = f"{pushes:,} push{'' if pushes == 1 else 'es'}" if pushes else ""
    both = ", ".join(filter(None, (counts, pushed)))
    return f"{both}: one that never began may begin now." if both else ""
