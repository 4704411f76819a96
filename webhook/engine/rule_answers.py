"""Answers to protection rules on GitHub: comments while a job waits, then the decision; each once.

A comment ends in a link that no other has, by which it is recognised in the run's reviews.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import cast

import structlog

from webhook.engine import gates
from webhook.engine.outages import Installation
from webhook.engine.outbox import Outbox, Policy, Write
from webhook.engine.services import Services, scope
from webhook.engine.transitions import MOST_RULE_COMMENTS
from webhook.errors import INVALID, Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.github import protection_rules as github_rules
from webhook.github.protection_rules import LONGEST_COMMENT, Answer, Kind
from webhook.github.tokens import Scope
from webhook.rejections import RejectionPolicy
from webhook.security.signing import ENTRY_ANCHOR
from webhook.store import outbox, protection_rules, timeline
from webhook.store.deployments import RULE_WAITS_AT_MOST, DeploymentRow
from webhook.store.outbox import Entry, Ref, State
from webhook.store.timeline import TimelineEntry
from webhook.text import LONGEST_KEPT, one_line

log = structlog.get_logger()

# `Rejected`: nothing waits there for an answer (any more).
NOT_PENDING = "not_pending"
LAST_COMMENT = "This is the last comment until the decision, as GitHub takes no more."

# What means something in GitHub's Markdown. After the invisible space nobody is mentioned, and no
# issue is linked.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>~|!&:.+-]")
_MENTION = re.compile(r"[@#]")
_NOT_JOINED = "\N{ZERO WIDTH SPACE}"
# In bytes, escaped.
_LONGEST_CHARACTER = 4


async def send_answers(services: Services, row: DeploymentRow) -> None:
    async with services.pool.connection() as connection:
        waiting = await outbox.pending(connection, "protection_rule", row.id)
        known = await timeline.of_positions(connection, row.id, [one.position for one in waiting])
    for entry, following in zip_longest(waiting, waiting[1:]):
        needless = following or row.ended_at is not None  # the later one says more
        if needless and entry.purpose == "comment" and entry.state == "waiting":
            async with services.pool.connection() as connection:
                await outbox.skip(connection, entry)
        else:
            await send(services, entry, await _write(services, row, entry, known[entry.position]))


async def _write(
    services: Services, row: DeploymentRow, entry: Entry, reported: TimelineEntry
) -> "RuleAnswer":
    text, kind = reported.description, cast("Kind", entry.purpose)
    if kind == "comment":
        async with services.pool.connection() as connection:
            number = await protection_rules.number_of(connection, entry)
        text += f". {LAST_COMMENT}" if number >= MOST_RULE_COMMENTS else ""
    marker = f"{ENTRY_ANCHOR}{reported.id})"
    link = f"[Deployment {row.id}]({services.links.page(row.repo, row.id)}{marker}"
    answer = Answer(row.environment, kind, comment(text, link))
    approved = row if kind == "approved" else None
    return RuleAnswer(services, scope(row), row.rule_run_id, answer, marker, approved)


def comment(text: str, ending: str) -> str:
    """Markdown in which the text formats nothing and mentions nobody. GitHub does not say what it
    counts as a character: in bytes, it fits in any case."""
    room = LONGEST_COMMENT - len(ending.encode()) - 1
    limit = min(room, LONGEST_KEPT, len(text))
    while (excess := len((escaped := _escaped(one_line(text, limit))).encode()) - room) > 0:
        limit -= max(1, excess // _LONGEST_CHARACTER)
    return f"{escaped} {ending}"


def _escaped(text: str) -> str:
    return _MENTION.sub(rf"\g<0>{_NOT_JOINED}", _MARKDOWN.sub(r"\\\g<0>", text))


async def send(services: Services, entry: Entry, write: "RuleAnswer") -> None:
    timing, kind = services.timing, write.answer.kind
    policy = Policy(call=timing.claim_lasts, lookups=[timing.status_lookup_after])
    try:
        sent = await Outbox(services.pool, services.clock).deliver(entry, write, policy)
    except UnknownOutcome as error:
        raise RetryAt(str(error), services.clock() + timing.status_lookup_after) from error
    except Rejected as error:
        if error.code == NOT_PENDING:
            log.warning("nothing waits for this answer", run=write.run_id, answer=kind)
        else:
            log.error("GitHub rejects the answer", answer=kind, error=str(error))
    else:
        if sent.state == "sent":
            log.info("protection rule answered", run=write.run_id, answer=kind)
            party = Installation(write.scope.installation_id)
            await services.outages.got_through(party, entry.rejected_since or services.clock())


@dataclass(frozen=True, slots=True)
class RuleAnswer(Write):
    """`marker`: what no other comment has. `approved`: what an approval is of."""

    services: Services
    scope: Scope
    run_id: int
    answer: Answer
    marker: str
    approved: DeploymentRow | None = None

    async def prepare(self) -> bool:
        """Gates are asked before each approval: it may be late, or the run may have been started
        again since."""
        await github_rules.require_access(self.services.github, self.scope)
        if self.approved is None:
            return True
        if self.approved.started_at is None or self.approved.ended_at is not None:
            return False
        return not await gates.wait_again(self.services, self.approved)

    async def find(self, entry: Entry) -> Ref | None:
        return self._ref if await self._is_answered() else None

    async def send(self) -> Ref:
        """A rejection says the same of an answer that nothing waits for, and of one that was
        given before."""
        github = self.services.github
        try:
            await github_rules.answer(github, self.scope, self.run_id, self.answer)
        except Rejected as error:
            if error.code != INVALID and not github_rules.is_missing(error):
                raise
            if await self._is_answered():
                return self._ref
            where = self.scope, self.run_id, self.answer.environment
            if await github_rules.is_pending(github, *where):
                raise
            raise Rejected(str(error), error.status, code=NOT_PENDING, certain=False) from error
        return self._ref

    async def _is_answered(self) -> bool:
        try:
            return await github_rules.is_answered(
                self.services.github,
                self.scope,
                self.run_id,
                self.answer.kind,
                self.marker,
            )
        except Rejected as error:
            if github_rules.is_missing(error):
                return False
            raise

    @property
    def _ref(self) -> Ref:
        return {"run": str(self.run_id), "answer": self.answer.kind}

    async def probed_at(self, entry: Entry, again: datetime) -> datetime:
        party = Installation(self.scope.installation_id)
        return await self.services.outages.probed_at(party, entry.deployment_id or 0, again)

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        """A job that is not answered waits for a month, and nobody else can answer."""
        doubtful = RejectionPolicy.doubtful(self.services.timing)
        access = RejectionPolicy.access(self.services.timing)
        is_comment = self.answer.kind == "comment"
        if error.code == NOT_PENDING:
            return None if is_comment else doubtful.retry_at(since, now)
        if is_comment:
            policy = access if isinstance(error, Forbidden) else doubtful
            return policy.retry_at(since, now)
        return replace(access, counts_after=RULE_WAITS_AT_MOST).retry_at(since, now)

    def state_after(self, error: Rejected, *, in_doubt: bool, retried: bool) -> State:
        if retried:
            return "claimed" if in_doubt else "waiting"
        return "skipped" if error.code == NOT_PENDING else "rejected"
