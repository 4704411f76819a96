"""What holds for deployments to an environment, where each line of that comes from, and what one
would meet now. It changes nothing, and needs no worker.

Errors: `UserError`, for the person who asks.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from webhook.config.environments import Environment
from webhook.config.routing import no_route_message, route
from webhook.deployments.blockers import Blocker, end_of
from webhook.deployments.explanation import Explanation, Row, Section
from webhook.deployments.locks import is_pattern
from webhook.engine.gates import has_gates, would_meet, would_roll_back
from webhook.engine.policy import FilePolicy, policy_at
from webhook.engine.policy_lines import policy_lines
from webhook.engine.repository_files import parse
from webhook.engine.services import PolicyServices
from webhook.errors import (
    INVALID,
    LACKS_PERMISSION,
    NOT_INSTALLED,
    Rejected,
    RetryAt,
    UnknownOutcome,
    UserError,
)
from webhook.gates.repository_file import tightens
from webhook.github.checks import ContextState, contexts_of
from webhook.github.repositories import commit_of, resolve
from webhook.github.tokens import Scope
from webhook.invocation import COMMAND
from webhook.repository_file.lines import DEFAULT, Line
from webhook.store import automatic, workers
from webhook.store.gates import Prospective
from webhook.store.repository_files import HEAD
from webhook.text import one_line

_LONGEST = 300
# Of one file, of each kind.
_MOST_FINDINGS = 20
_ROLLBACK = "It counts as a rollback: this commit has succeeded there before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`ref`: what would be deployed. `asker`: the login of who would ask for it, "" for nobody
    known."""

    scope: Scope
    environment: str
    ref: str
    asker: str = ""
    asker_id: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """`sha`: "" where it could not be found out; `unknown`: why, in sentences."""

    sha: str
    unknown: tuple[str, ...] = ()


async def question_about(
    services: PolicyServices, repo: str, environment: str, ref: str = "", person: str = ""
) -> Question:
    """`ref`: the default branch if it is empty; `person`: a login."""
    try:
        scope, found = await resolve(services.github, repo)
    except Rejected as error:
        if error.code != NOT_INSTALLED:
            raise UserError(f"GitHub does not say what {repo} is: {error}") from error
        message = f"GitHub shows the App no repository {repo}; check its name, and install the App"
        raise UserError(f"{message} there") from error
    except (RetryAt, UnknownOutcome) as error:
        raise UserError(f"GitHub cannot be asked about {repo} now: {error}; try again") from error
    ref = ref or found.default_branch
    return Question(scope=scope, environment=environment, ref=ref, asker=person)


async def explain(
    services: PolicyServices, question: Question, commit: Commit | None = None
) -> Explanation:
    """`commit`: what the ref stands for, where that was asked before."""
    if is_pattern(question.environment):
        name = one_line(question.environment, 60)
        raise UserError(f"'{name}' is a pattern; write a name that matches it")
    environment = route(services.config, question.scope.repo, question.environment)
    if environment is None:
        message = no_route_message(services.config, question.scope.repo, question.environment)
        raise UserError(message)
    if environment.name.lower() == question.environment.lower():
        question = replace(question, environment=environment.name)
    commit = commit or await find_commit(services, question)
    prospective = Prospective(
        repo=question.scope.repo,
        repo_id=question.scope.repo_id,
        environment=question.environment,
        ref=question.ref,
        sha=commit.sha,
        asker=question.asker,
        asker_id=question.asker_id,
    )
    rollback = await would_roll_back(services, prospective, environment)
    policy = await _policy(services, question, commit.sha, rollback=rollback)
    decision = await would_meet(services, prospective, policy)
    contexts, unknown = await _contexts(services, question, policy.environment, commit.sha)
    sections = (
        _policy_section(services, environment, policy),
        await _file_section(environment, policy, commit.sha, rollback=rollback),
        _gates_section(services, decision.blockers),
        contexts,
        await _automatic_section(services, question),
    )
    return Explanation(
        heading=_heading(question, commit.sha),
        sections=tuple(section for section in sections if section.rows),
        caveats=(
            *commit.unknown,
            *unknown,
            *([_ROLLBACK] if rollback else []),
            *_caveats(question, environment),
            *await worker_caveats(services),
        ),
    )


def _heading(question: Question, sha: str) -> str:
    at = f" ({sha[:7]})" if sha and sha != question.ref else ""
    by = f", asked for by {question.asker}" if question.asker else ""
    where = f"{question.scope.repo} to {question.environment}"
    return one_line(f"{where}: what holds, and what {question.ref}{at} would meet now{by}", 400)


async def find_commit(services: PolicyServices, question: Question) -> Commit:
    """Errors: `UserError` if there is no such ref."""
    try:
        return Commit(await commit_of(services.github, question.scope, question.ref))
    except Rejected as error:
        if error.code == INVALID:
            message = f"{question.scope.repo} has no branch, tag or commit '{question.ref}'"
            raise UserError(one_line(message, _LONGEST)) from error
        reason = str(error)
        if error.code == LACKS_PERMISSION:
            reason = (
                "the App lacks contents: read; give it that, and accept it where it is installed"
            )
    except (RetryAt, UnknownOutcome) as error:
        reason = str(error)
    unknown = f"The commit of {question.ref} is not known: {reason}"
    effect = "So it counts as no rollback, and as approved by nobody"
    return Commit("", (one_line(unknown, _LONGEST), effect))


async def _policy(
    services: PolicyServices, question: Question, sha: str, *, rollback: bool
) -> FilePolicy:
    where, environment = question.scope, question.environment
    try:
        found = await policy_at(services, where, environment, sha=sha, rollback=rollback)
    except RetryAt as error:
        raise UserError(f"GitHub cannot be asked now: {error}; try again in a moment") from error
    assert found is not None, "there is a route"
    return found


def _policy_section(
    services: PolicyServices, environment: Environment, policy: FilePolicy
) -> Section:
    return Section(
        name="policy",
        title="Policy",
        columns={"key": "key", "from": "from", "value": "what holds"},
        rows=tuple(
            Row(
                {"key": one.key, "from": one.origin, "value": _value(services, one)},
                minor=one.origin == DEFAULT and not one.ignored,
            )
            for one in policy_lines(services.config, services.gates, environment, policy)
        ),
        left_out="everything else is as by default",
    )


def _value(services: PolicyServices, line: Line) -> str:
    """The operator's file may have variables in it."""
    ignored = f"ignored: {line.ignored}" if line.ignored else ""
    text = "; ".join(part for part in (line.value, ignored) if part)
    return one_line(services.redactor.text(text), _LONGEST)


async def _file_section(
    environment: Environment, policy: FilePolicy, sha: str, *, rollback: bool
) -> Section:
    found = _file_rows(policy, sha, rollback=rollback)
    rows = [Row(cells) async for cells in found] if tightens(environment) else ()
    return Section(
        name="file",
        title="The repository's own deploy.yml",
        columns={"at": "at", "line": "line", "kind": "kind", "message": "message"},
        rows=tuple(rows),
    )


async def _file_rows(
    policy: FilePolicy, sha: str, *, rollback: bool
) -> AsyncIterator[dict[str, str]]:
    for ref in dict.fromkeys((HEAD, sha)):
        kept, head = policy.kept.get(ref), policy.kept.get(HEAD)
        if kept is None or (ref != HEAD and head and kept.blob == head.blob):
            continue
        where = {"at": "default branch" if ref == HEAD else ref[:7], "line": ""}
        if kept.state != "present":
            reason = kept.reason or "there is none"
            yield {**where, "kind": "error" if kept.reason else "ok", "message": reason}
            continue
        yield {**where, "kind": "ok", "message": f"read; its blob is {kept.blob[:7]}"}
        parsed = await parse(kept.content, rollback=rollback)
        for kind, found in (("error", parsed.errors), ("warning", parsed.warnings)):
            for one in found[:_MOST_FINDINGS]:
                text = str(one).removeprefix(f"{one.line}:{one.column}: ")
                message = one_line(text, _LONGEST)
                yield {**where, "line": str(one.line), "kind": kind, "message": message}


def _gates_section(services: PolicyServices, blockers: tuple[Blocker, ...]) -> Section:
    found = {name: [one for one in blockers if one.gate == name] for name in services.gates}
    found |= {one.gate: [one] for one in blockers if one.gate not in found}
    allowed = {"verdict": "allows", "until": "", "reason": ""}
    now = services.clock()
    rows = [
        row
        for name, several in found.items()
        for row in (
            [Row(_verdict(services, one, now)) for one in several]
            or [Row({"gate": name, **allowed}, minor=True)]
        )
    ]
    columns = {"gate": "gate", "verdict": "verdict", "until": "until", "reason": "reason"}
    return Section(
        name="gates",
        title="What a deployment would meet now",
        columns=columns,
        rows=tuple(rows),
        left_out="all other gates allow it" if blockers else "all gates allow it",
    )


def _verdict(services: PolicyServices, one: Blocker, now: datetime) -> dict[str, str]:
    reason = f"{one.reason}. {one.way_out}" if one.way_out else one.reason
    return {
        "gate": one.gate,
        "verdict": "refuses" if one.denies else "waits",
        "until": "" if one.denies else end_of(one, now).removeprefix("until "),
        "reason": services.redactor.text(reason),
    }


async def _contexts(
    services: PolicyServices, question: Question, environment: Environment, sha: str
) -> tuple[Section, tuple[str, ...]]:
    """Those that must have succeeded. GitHub itself demands them when a deployment is created."""
    known: dict[str, ContextState] = {}
    unknown: tuple[str, ...] = ()
    needed = environment.required_contexts
    if needed and sha:
        try:
            known = await contexts_of(services.github, question.scope, sha)
        except (Rejected, RetryAt, UnknownOutcome) as error:
            text = f"Which checks have succeeded is not known: {error}"
            unknown = (one_line(text, _LONGEST),)
    missing = "unknown" if unknown or not sha else "not reported"
    rows = (Row({"context": name, "state": known.get(name, missing)}) for name in needed)
    section = Section(
        name="contexts",
        title="Required contexts",
        columns={"context": "context", "state": "state"},
        rows=tuple(rows),
    )
    return section, unknown


async def _automatic_section(services: PolicyServices, question: Question) -> Section:
    async with services.pool.connection() as connection:
        found = await automatic.waiting_of_repository(connection, question.scope.repo_id)
    rows = [
        {"commit": one.shown_ref, "by": one.login, "reason": one.reason or "It is looked at now"}
        for one in found
        if one.environment.lower() == question.environment.lower()
    ]
    return Section(
        name="automatic",
        title="Automatic deployments that wait",
        columns={"commit": "commit", "by": "by", "reason": "reason"},
        rows=tuple(map(Row, rows)),
    )


def _caveats(question: Question, environment: Environment) -> Iterator[str]:
    if not question.asker:
        yield "Nobody is named who would ask for it, which approvals and locks may depend on"
    if not environment.can_be_held:
        yield f"Its tool, {environment.handler}, starts by itself, past every gate"
    elif not has_gates(environment):
        yield "Its gates hold only the jobs that the App's protection rule asks about"
    yield f"Whether its tool, {environment.handler}, would take it is not asked before"


async def worker_caveats(services: PolicyServices) -> Iterator[str]:
    async with services.pool.connection() as connection:
        digests = await workers.config_digests(connection)
    if not digests:
        return iter(("No worker runs, so that nothing would start until one does",))
    if services.config.digest not in digests:
        remedy = f"let them read it: {COMMAND} reload"
        text = f"The running workers have read another deploy.yml than this one; {remedy}"
        return iter((text,))
    return iter(())
