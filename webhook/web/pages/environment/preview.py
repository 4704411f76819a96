"""What a deployment or a rollback would do, asked of GitHub while a person waits: the commit, what
it changes, and which gates it would meet. It changes nothing.

Errors: none. What GitHub does not say in time stands among the notes.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import datetime

from webhook.deployments.changelog import Changelog
from webhook.deployments.explanation import Explanation
from webhook.engine.explain import Commit, Question, explain, find_commit
from webhook.engine.services import PolicyServices
from webhook.errors import Rejected, RetryAt, UnknownOutcome, UserError
from webhook.github.compare import compare
from webhook.github.repositories import repository
from webhook.text import one_line
from webhook.web.github_calls import Outside
from webhook.web.policy_services import asking
from webhook.web.services import PageServices

# Seconds that a person waits for it.
WITHIN = 3.0
MOST_COMMITS = 50
_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`error`: why there is nothing to see. `ref`: what was asked for, by default the default
    branch. `sha`: "" where nobody knows the commit. `changes`: between that and what is there, None
    where nobody knows."""

    error: str = ""
    ref: str = ""
    sha: str = ""
    changes: Changelog | None = None
    explanation: Explanation | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`base`: the commit that is there, "" for none. `taken_back`: what of that would go is asked,
    rather than what would come."""

    question: Question
    base: str
    taken_back: bool = False


def preview(services: PageServices, wanted: Wanted) -> Preview:
    try:
        return services.github.run(lambda outside: _opened(services, outside, wanted), WITHIN)
    except UserError as error:
        return Preview(error=one_line(str(error), _LONGEST))
    except (RetryAt, UnknownOutcome, Rejected) as error:
        return Preview(error=_unclear(error, services.clock()))


async def _opened(services: PageServices, outside: Outside, wanted: Wanted) -> Preview:
    async with asking(services, outside) as given:
        question = await _with_ref(given, wanted.question)
        commit = await find_commit(given, question)
        (changes, note), explanation = await asyncio.gather(
            _changes(given, wanted, commit), explain(given, question, commit)
        )
    return Preview(
        ref=question.ref,
        sha=commit.sha,
        changes=changes,
        explanation=explanation,
        notes=(*([note] if note else []), *explanation.caveats),
    )


async def _with_ref(services: PolicyServices, question: Question) -> Question:
    if question.ref:
        return question
    return replace(question, ref=(await repository(services.github, question.scope)).default_branch)


async def _changes(
    services: PolicyServices, wanted: Wanted, commit: Commit
) -> tuple[Changelog | None, str]:
    """And why they are not known."""
    if not (wanted.base and commit.sha):
        return None, ""
    pair = (commit.sha, wanted.base) if wanted.taken_back else (wanted.base, commit.sha)
    scope = wanted.question.scope
    found: Awaitable[Changelog | None] = compare(services.github, scope, *pair, most=MOST_COMMITS)
    try:
        changes = await found
    except (RetryAt, UnknownOutcome, Rejected) as error:
        return None, one_line(f"What would change is not known: {error}", _LONGEST)
    if changes is None:
        return None, "What would change is not known: GitHub does not know what is there any more"
    return changes, ""


def _unclear(error: RetryAt | UnknownOutcome | Rejected, now: datetime) -> str:
    until = f"; try again at {error.at:%H:%M:%S} UTC" if isinstance(error, RetryAt) else ""
    later = until or "; try again in a moment"
    return one_line(f"GitHub does not say now what that would do: {error}{later}", _LONGEST)
