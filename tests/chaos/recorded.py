"""What does not hold, by what GitHub, Slack and the commands recorded: the relay is not asked."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path

from sandbox.sandbox import Sandbox
from sandbox.slack.model import Message

FINAL = {"success", "failure", "error"}
LAST = 2
# The default of `recover_within`.
RECOVERED_WITHIN = timedelta(hours=1)
RANKS = {"queued": 0, "pending": 0, "in_progress": 1, **dict.fromkeys(FINAL, LAST)}


class Expected(Enum):
    RUNS = "runs once"
    NEVER = "never runs"
    EITHER = "runs once, or ends in words"


def all_that_is_wrong(
    sandbox: Sandbox, expected: Mapping[int, Expected], runs: Path
) -> Iterator[str]:
    """`runs`: a line with its id of each time that a deployment ran."""
    yield from _of_statuses(sandbox, expected)
    lines = runs.read_text().split() if runs.exists() else []
    yield from _of_runs(sandbox, expected, Counter(map(int, lines)))
    yield from _of_messages(sandbox, expected)


def _of_statuses(sandbox: Sandbox, ids: Iterable[int]) -> Iterator[str]:
    for id_ in ids:
        statuses = [one for one in sandbox.github.statuses(id_) if one.state != "inactive"]
        states = [one.state for one in statuses]
        ranks = [RANKS[state] for state in states]
        if LAST not in ranks:
            yield f"lost: {id_} has the statuses {states}"
        elif ranks != sorted(ranks):
            yield f"out of order: {id_} has the statuses {states}"
        if ranks.count(LAST) > 1:
            yield f"{id_} has several final statuses: {states}"
        twice = [url for url, n in Counter(one.log_url for one in statuses).items() if n > 1]
        if twice:
            yield f"{id_} has a status twice: {twice}"


def _of_runs(
    sandbox: Sandbox, expected: Mapping[int, Expected], ran: Counter[int]
) -> Iterator[str]:
    for id_, what in expected.items():
        states = sandbox.github.states(id_)
        runs = 1 if "success" in states else 0
        if ran[id_] != runs:
            yield f"{id_} ran {ran[id_]} times, and has the statuses {states}"
        may_run = what is not Expected.NEVER
        must_run = what is Expected.RUNS and not _was_too_old(sandbox, id_)
        if (must_run and not runs) or (runs and not may_run):
            last = sandbox.github.statuses(id_)[-1:]
            yield f"{id_} {what.value}, and has {states}: {[one.description for one in last]}"


def _was_too_old(sandbox: Sandbox, id_: int) -> bool:
    """When the relay found it: it had been lost for so long, in a storm of an hour."""
    deployment = sandbox.github.deployments[id_]
    first = sandbox.github.statuses(id_)[:1]
    return any(one.created_at - deployment.created_at > RECOVERED_WITHIN for one in first)


def _of_messages(sandbox: Sandbox, ids: Iterable[int]) -> Iterator[str]:
    keys = Counter(map(key_of, messages(sandbox)))
    for id_ in ids:
        if not keys[f"{id_}:main"]:
            yield f"{id_} has no message"
    yield from (f"{number} messages {key}" for key, number in keys.items() if number > 1)


def messages(sandbox: Sandbox) -> Iterator[Message]:
    for channel in sandbox.slack.channels.values():
        yield from channel.messages.values()


def key_of(message: Message) -> str:
    """By which the relay recognises it."""
    return str((message.metadata or {})["event_payload"]["key"])
