"""What holds for a deployment: its environment of deploy.yml, tightened by the repository's own
deploy.yml where that is to count (`repository_file: tighten`).

The file at the head of the default branch counts, whatever is deployed; the one at the deployment's
own commit may add gates. What GitHub does not say now is no permission: the deployment waits. That
a file is gone counts once GitHub has said so for a while (`webhook.rejections`).

docs/how-to/repository-file.md says the same for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

import structlog

from webhook import errors
from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.engine.services import Services, scope
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.gates.contract import ALLOW, Deny, Policy, Verdict, Wait
from webhook.gates.repository_file import tightens
from webhook.github.contents import Unchanged, read_file
from webhook.github.tokens import Scope
from webhook.rejections import RejectionPolicy
from webhook.repository_file.model import MOST_BYTES, RepositoryFile
from webhook.repository_file.read import read as read_text
from webhook.repository_file.tighten import Line, tighten
from webhook.store import deployments, gates, repository_files, schedule
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.repository_files import HEAD
from webhook.store.repository_files import RepositoryFile as Kept
from webhook.text import one_line
from webhook.timing import Timing

log = structlog.get_logger()

PATH = "deploy.yml"
_GIVE = "Give it that permission, and accept it where the App is installed"


@dataclass(frozen=True, slots=True)
class FilePolicy(Policy):
    """`lines`: where each key comes from. `kept`: the repository's files, by `HEAD` or commit."""

    lines: tuple[Line, ...] = ()
    kept: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Subject:
    """`sha`: "" where there is no commit yet. `deployed`: there is a deployment, with which the
    copy at its commit is kept."""

    scope: Scope
    environment: str
    sha: str
    rollback: bool
    deployed: bool = True


async def fetch_policy(
    services: Services, row: DeploymentRow, environment: Environment
) -> FilePolicy:
    """By the repository's file as it is on GitHub now. Not within a transaction: it may call
    GitHub. Errors: `RetryAt`, if it can be called in a moment."""
    if not tightens(environment):
        return FilePolicy(environment)
    return await _fetched(services, await _subject(services, row), environment)


async def recent_policy(
    services: Services, row: DeploymentRow, environment: Environment
) -> FilePolicy:
    """The same by a copy that is seconds old, if there is one: to go on waiting by it. Before a
    start there is `fetch_policy`."""
    if not tightens(environment):
        return FilePolicy(environment)
    subject = await _subject(services, row)
    since = services.clock() - services.timing.repository_file_trusted_for
    async with services.pool.connection() as connection:
        if await repository_files.is_recent(connection, row.repo_id, HEAD, since):
            kept = await repository_files.read(connection, row.repo_id, (row.sha,))
            return _policy(services, subject, environment, kept)
    return await _fetched(services, subject, environment)


async def kept_policy(
    services: Services, connection: Async, row: DeploymentRow, environment: Environment
) -> FilePolicy:
    """By the repository's file as the store has it."""
    if not tightens(environment):
        return FilePolicy(environment)
    rollback = await gates.rolls_back(connection, row.id)
    subject = _Subject(scope(row), row.environment, row.sha, rollback)
    kept = await repository_files.read(connection, row.repo_id, (row.sha,))
    return _policy(services, subject, environment, kept)


async def policy_at(
    services: Services,
    where: Scope,
    environment_name: str,
    *,
    sha: str = "",
    rollback: bool = False,
) -> FilePolicy | None:
    """Of what is not there yet: as `fetch_policy`. None: deploy.yml has no such environment."""
    environment = route(services.config, where.repo, environment_name)
    if environment is None or not tightens(environment):
        return FilePolicy(environment) if environment else None
    subject = _Subject(where, environment_name, sha, rollback, deployed=False)
    return await _fetched(services, subject, environment)


async def changed(services: Services, connection: Async, repo_id: int) -> None:
    """A push may have changed the file at the head of the default branch: all that waits there is
    asked again. In the transaction that learns of the push."""
    if not any(tightens(environment) for environment in services.config.envs):
        return
    await repository_files.changed(connection, repo_id, services.clock())
    waiting = await deployments.waiting_of(connection, repo_id)
    if waiting:
        await schedule.request(connection, [schedule.Key("advance", one) for one in waiting])


async def _subject(services: Services, row: DeploymentRow) -> _Subject:
    async with services.pool.connection() as connection:
        rollback = await gates.rolls_back(connection, row.id)
    return _Subject(scope(row), row.environment, row.sha, rollback)


async def _fetched(services: Services, subject: _Subject, environment: Environment) -> FilePolicy:
    """What cannot be read is as it is kept, and nothing starts by that."""
    repo_id, unread = subject.scope.repo_id, None
    shas = (subject.sha,) if subject.sha else ()
    async with services.pool.connection() as connection:
        kept = dict(await repository_files.read(connection, repo_id, shas))
    for ref in (HEAD, *shas):
        known = kept.get(ref)
        # What a commit has never changes. That it has no file may have been said too early.
        if ref != HEAD and known is not None and known.state != "missing":
            continue
        try:
            kept[ref] = await _read_anew(services, subject, ref, known)
        except (RetryAt, UnknownOutcome, Rejected) as error:
            unread = _unreachable(services, environment, error)
            break
    return _policy(services, subject, environment, kept, unread)


async def _read_anew(services: Services, subject: _Subject, ref: str, known: Kept | None) -> Kept:
    now, repo_id = services.clock(), subject.scope.repo_id
    found = await read_file(
        services.github,
        subject.scope,
        PATH,
        ref="" if ref == HEAD else ref,
        etag=known.etag if known else "",
    )
    if isinstance(found, Unchanged) and known is not None:
        file = replace(known, read_at=now, missing_since=None)
    elif found is None or isinstance(found, Unchanged):
        file = _missing(services, repo_id, ref, known, now)
    else:
        file = Kept(
            repo_id=repo_id,
            ref=ref,
            state="unusable" if found.unusable else "present",
            read_at=now,
            etag=found.etag,
            blob=found.blob,
            content=found.text[: MOST_BYTES + 1],
            reason=found.unusable,
        )
    if ref == HEAD or subject.deployed:
        async with services.pool.connection() as connection:
            await repository_files.keep(connection, file)
    return file


def _missing(services: Services, repo_id: int, ref: str, known: Kept | None, now: datetime) -> Kept:
    """GitHub has no such file. One that was there keeps its gates until that counts."""
    if known is not None and known.state != "missing":
        since = known.missing_since or now
        if RejectionPolicy.doubtful(services.timing).retry_at(since, now) is not None:
            log.warning("a repository's deploy.yml is not there any more", since=since.isoformat())
            return replace(known, read_at=now, missing_since=since)
    return Kept(repo_id=repo_id, ref=ref, state="missing", read_at=now)


def _policy(
    services: Services,
    subject: _Subject,
    environment: Environment,
    kept: Mapping[str, Kept],
    unread: Wait | None = None,
) -> FilePolicy:
    """`unread`: why GitHub does not show it now."""
    head, at_sha = kept.get(HEAD), kept.get(subject.sha)
    here, ignored = _of_commit(at_sha, subject)
    found = tighten(environment, _parsed(head, subject), here, subject.environment)
    verdict: Verdict = ALLOW
    if head is not None and head.state == "unusable":
        way_out = "Commit a plain file there, or remove it"
        verdict = Deny(reason=f"The repository's deploy.yml {head.reason}", way_out=way_out)
    elif found.denial:
        verdict = Deny(reason=found.denial, way_out=found.way_out)
    if head is not None and head.missing_since is not None and verdict is not ALLOW:
        verdict = _gone(head.missing_since, services.timing)
    lines = (*found.lines, *ignored)
    return FilePolicy(found.environment, unread or verdict, lines, kept)


def _of_commit(
    file: Kept | None, subject: _Subject
) -> tuple[RepositoryFile | None, tuple[Line, ...]]:
    """What is not valid there is ignored: it could only add gates, whoever pushed it could as well
    leave them out, and an old commit must stay one to which people can return."""
    parsed = _parsed(file, subject)
    errors = parsed.errors_for(subject.environment) if parsed else ()
    reason = file.reason if file and file.state == "unusable" else ""
    if errors:
        reason = f"is not valid: {errors[0]}"
    if not reason:
        return parsed, ()
    origin = f"the repository's {PATH} at {subject.sha[:7]}"
    return None, (Line(PATH, "", origin, f"{reason}; it could only have added gates"),)


def _parsed(file: Kept | None, subject: _Subject) -> RepositoryFile | None:
    if file is None or file.state != "present":
        return None
    return _read_text(file.content, rollback=subject.rollback)


@lru_cache(maxsize=200)  # the same few files are read for each step and message
def _read_text(content: bytes, *, rollback: bool) -> RepositoryFile:
    return read_text(content, rollback=rollback)


def _gone(since: datetime, timing: Timing) -> Wait:
    """It was wrong, and may have been removed for that."""
    until = since + RejectionPolicy.doubtful(timing).counts_after
    return Wait(reason="The repository's deploy.yml is gone, which counts in a moment", until=until)


def _unreachable(
    services: Services, environment: Environment, error: RetryAt | UnknownOutcome | Rejected
) -> Wait:
    """In words that stay the same, however often it is asked."""
    until, timing = None, services.timing
    match error:
        case RetryAt(code=errors.BUSY):
            raise error
        case RetryAt():
            reason, way_out = "GitHub limits the relay's calls", "It goes on by itself"
            far = error.at > services.clock() + timing.gates_asked_again_after
            until = error.at if far else None
        case Rejected(code=errors.LACKS_PERMISSION):
            reason, way_out = "the App lacks contents: read", _GIVE
        case Rejected():
            reason, way_out = one_line(str(error), 70), "python -m webhook check says more"
        case _:
            reason, way_out = "GitHub does not answer", "It goes on by itself once GitHub does"
    log.warning("a repository's deploy.yml cannot be read", error=str(error))
    if environment.break_glass:
        way_out = f"/deploy override. {way_out}"
    reason = f"The repository's deploy.yml cannot be read: {reason}"
    return Wait(reason=reason, until=until, way_out=way_out)
