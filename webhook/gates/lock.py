"""Locks: a deployment waits as long as somebody holds its environment locked.

Source: facts of other tools' locks, which block the very fix. So a lock says whom it lets through:
its owner, or rollbacks, of which the relay knows by itself that they are some.
"""

from datetime import datetime

from webhook.deployments.locks import Lock, is_stop, owned_by, short_reason, unlock_command
from webhook.gates.contract import ALLOW, Candidate, Gate, Snapshot, Verdict, Wait


def decide(snapshot: Snapshot) -> Verdict:
    candidate = snapshot.candidate
    locks = [lock for lock in snapshot.locks if not _passes(lock, candidate)]
    if not locks:
        return ALLOW
    return Wait(
        reason=_reason(locks),
        until=_latest_end(locks),
        way_out="; ".join(_way_out(lock, candidate) for lock in locks),
    )


def _passes(lock: Lock, candidate: Candidate) -> bool:
    """Nobody knows who a bot asked for, so that is never the owner."""
    by_owner = "owner" in lock.lets and owned_by(lock, candidate.asker)
    return by_owner or ("rollbacks" in lock.lets and candidate.rolls_back)


def _reason(locks: list[Lock]) -> str:
    if len(locks) == 1:
        return f"{_begin(locks[0])}: {locks[0].reason}"
    first, *others = (f"{lock.owner}: {short_reason(lock)}" for lock in locks)
    return f"Locked by {first}" + "".join(f", and by {other}" for other in others)


def _begin(lock: Lock) -> str:
    return f"{'Everything is stopped' if is_stop(lock) else 'Locked'} by {lock.owner}"


def _latest_end(locks: list[Lock]) -> datetime | None:
    """All of them have to end."""
    ends = [lock.expires_at for lock in locks if lock.expires_at is not None]
    return max(ends) if len(ends) == len(locks) else None


def _way_out(lock: Lock, candidate: Candidate) -> str:
    return f"{lock.owner}, or {unlock_command(lock, repo=candidate.repo)}"


LOCK = Gate(name="lock", decide=decide)
