"""The deploy.yml of repositories, read on GitHub and kept.

What GitHub does not show now is as it was kept. That a file is gone counts once GitHub has said so
for a while: one odd answer must not remove its gates.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

import structlog
from cachetools import LRUCache

from webhook.engine.services import PolicyServices, Services
from webhook.errors import BUSY, Rejected, RetryAt, UnknownOutcome
from webhook.github.contents import Unchanged, read_file
from webhook.github.tokens import Scope
from webhook.rejections import RejectionPolicy
from webhook.repository_file import model
from webhook.repository_file.model import MOST_BYTES
from webhook.repository_file.read import read
from webhook.store import open_deployments, repository_files, schedule
from webhook.store.database import Async
from webhook.store.repository_files import HEAD, RepositoryFile
from webhook.timing import Timing

log = structlog.get_logger()

PATH = "deploy.yml"

Kept = Mapping[str, RepositoryFile]
Unreadable = RetryAt | UnknownOutcome | Rejected
# The same few are parsed for each step and each message.
_parsed: LRUCache[tuple[bytes, bool], model.RepositoryFile] = LRUCache(200)


@dataclass(frozen=True, slots=True)
class Fetched:
    """`kept`: by `HEAD`, and by the commit. `error`: why they are older than that."""

    kept: Kept
    error: Unreadable | None = None


async def fetch(
    services: PolicyServices, where: Scope, sha: str, *, deployed: bool = True
) -> Fetched:
    """At the head, and at the commit `sha` if there is one. `deployed`: that of a deployment, with
    which its copy is kept. Errors: `RetryAt`, if GitHub can be asked in a moment."""
    shas = (sha,) if sha else ()
    async with services.pool.connection() as connection:
        kept = dict(await repository_files.read(connection, where.repo_id, shas))
    for ref in (HEAD, *shas):
        # What a commit has never changes. That it has no file may have been said too early.
        if ref != HEAD and ref in kept and kept[ref].state != "missing":
            continue
        try:
            kept[ref] = await _read_once(services, where, ref, kept.get(ref))
        except (RetryAt, UnknownOutcome, Rejected) as error:
            if error.code == BUSY:
                raise
            log.info("a repository's deploy.yml cannot be read", error=str(error))
            return Fetched(kept, error)
        if ref == HEAD or deployed:
            async with services.pool.connection() as connection:
                await repository_files.keep(connection, kept[ref])
    return Fetched(kept)


async def recent(services: Services, repo_id: int, sha: str) -> Kept | None:
    """As it is kept, if the head's is seconds old and no push has changed it since."""
    since = services.clock() - services.timing.repository_file_trusted_for
    async with services.pool.connection() as connection:
        if not await repository_files.is_recent(connection, repo_id, HEAD, since):
            return None
        return await repository_files.read(connection, repo_id, (sha,))


async def changed(services: Services, connection: Async, repo_id: int) -> None:
    """A push may have changed the file at the head of the default branch: all that waits there is
    asked again. In the transaction that learns of the push."""
    await repository_files.changed(connection, repo_id, services.clock())
    if waiting := await open_deployments.waiting_of(connection, repo_id):
        await schedule.request(connection, [schedule.Key("advance", one) for one in waiting])


def counts_at(missing_since: datetime, timing: Timing) -> datetime:
    """When it counts that GitHub does not show a file any more."""
    return missing_since + RejectionPolicy.doubtful(timing).counts_after


async def parse(content: bytes, *, rollback: bool = False) -> model.RepositoryFile:
    """In a thread: of what people may commit, some takes a second."""
    key = content[: MOST_BYTES + 1], rollback
    if key not in _parsed:
        _parsed[key] = await asyncio.to_thread(read, key[0], rollback=rollback)
    return _parsed[key]


@lru_cache(maxsize=200)
def parse_now(content: bytes) -> model.RepositoryFile:
    """The same, for a thread that may take a second."""
    return read(content[: MOST_BYTES + 1])


async def _read_once(
    services: PolicyServices, where: Scope, ref: str, known: RepositoryFile | None
) -> RepositoryFile:
    """Of a commit; the head changes."""
    if ref == HEAD:
        return await _read(services, where, ref, known)
    cached = services.commit_files.get((where.repo_id, ref))
    if cached is None:
        cached = await _read(services, where, ref, known)
        if cached.state != "missing":
            services.commit_files[where.repo_id, ref] = cached
    return cached


async def _read(
    services: PolicyServices, where: Scope, ref: str, known: RepositoryFile | None
) -> RepositoryFile:
    now = services.clock()
    at, etag = "" if ref == HEAD else ref, known.etag if known else ""
    found = await read_file(services.github, where, PATH, ref=at, etag=etag)
    if found is None and known is None:  # the first answer, which may be an odd one
        found = await read_file(services.github, where, PATH, ref=at)
    if found is None:
        return _missing(services, where.repo_id, ref, known, now)
    if isinstance(found, Unchanged):
        assert known is not None, "GitHub was asked without an ETag"
        return replace(known, read_at=now, missing_since=None)
    return RepositoryFile(
        repo_id=where.repo_id,
        ref=ref,
        state="unusable" if found.unusable else "present",
        read_at=now,
        etag=found.etag,
        blob=found.blob,
        content=found.text[: MOST_BYTES + 1],
        reason=found.unusable,
    )


def _missing(
    services: PolicyServices, repo_id: int, ref: str, known: RepositoryFile | None, now: datetime
) -> RepositoryFile:
    """Answers in between would have ended it, so that it lasts however seldom it is asked."""
    if known is not None and known.state != "missing":
        since = known.missing_since or now
        if now < counts_at(since, services.timing):
            log.info("a repository's deploy.yml is not there any more", since=since.isoformat())
            return replace(known, read_at=now, missing_since=since)
    return RepositoryFile(repo_id=repo_id, ref=ref, state="missing", read_at=now)
