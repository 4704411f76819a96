"""A check run "deploy.yml" on each pull request that changes that file of a repository for whose
environments it counts (`repository_file: tighten`): what is wrong in it, and what it loosens.

Whoever opens a pull request wrote the file: nothing of it is Markdown in what is written here.
Exactly one for each head of a pull request: it is found again by its external_id. Where the App
may not write check runs, there is none, and `python -m webhook check` says so.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from webhook.config.environments import Environment
from webhook.config.routing import matches_any, no_route_message, route
from webhook.config.source import ConfigError
from webhook.engine.file_check_text import PATH, check_run_of
from webhook.engine.outbox import Outbox, Policy, Write
from webhook.engine.repository_files import parse
from webhook.engine.services import Services
from webhook.errors import LACKS_PERMISSION, Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.gates.repository_file import tightens
from webhook.github import check_runs
from webhook.github.check_runs import CheckRun, NewCheckRun
from webhook.github.compare import merge_base
from webhook.github.contents import Content, Unchanged, read_file
from webhook.github.events import CheckRerequested, PullRequestChanged
from webhook.github.pull_requests import PullRequest, pull_request
from webhook.github.tokens import Scope
from webhook.rejections import RejectionPolicy
from webhook.repository_file.model import RepositoryFile
from webhook.repository_file.review import Change, Finding, review
from webhook.store import file_checks, outbox, schedule
from webhook.store.database import Async
from webhook.store.deliveries import Outcome
from webhook.store.file_checks import FileCheck, NewFileCheck
from webhook.store.outbox import Entry, Ref
from webhook.store.schedule import Key

log = structlog.get_logger()

# GitHub may not show a commit at once that it has just sent the event of.
_KNOWN_WITHIN = timedelta(minutes=5)
_AGAIN = timedelta(seconds=15)


async def received(
    services: Services, connection: Async, event: PullRequestChanged
) -> tuple[Outcome, str, None]:
    if reason := left_out(services, event):
        return "ignored", reason, None
    repo = event.repository.full_name
    new = NewFileCheck(
        repo_id=event.repository.id,
        repo=repo,
        installation_id=event.installation_id,
        number=event.number,
        sha=event.sha,
        base=event.base,
    )
    check_id = await file_checks.add(connection, new)
    await schedule.request(connection, [Key("check_file", check_id)])
    return "done", f"pull request {event.number}", None


def left_out(services: Services, event: PullRequestChanged) -> str:
    """Why nothing is checked; "" if it is."""
    repo = event.repository.full_name
    counts = _counts(services, repo)
    return "" if counts else f"no environment of {repo} has repository_file: tighten"


async def rerequested(connection: Async, event: CheckRerequested) -> tuple[Outcome, str, None]:
    """It may say other things now: the operator's deploy.yml may be another one."""
    found = await file_checks.add_again(connection, event.repository.id, event.sha)
    if not found:
        return "ignored", "the relay has written no check run for this commit", None
    await schedule.request(connection, [Key("check_file", check_id) for check_id in found])
    return "done", f"checked again: {event.sha[:7]}", None


async def check_file(services: Services, check_id: int) -> None:
    async with services.pool.connection() as connection:
        check = await file_checks.read(connection, check_id)
    if check is None or check.over:
        return
    structlog.contextvars.bind_contextvars(repo=check.repo, pull_request=check.number)
    new = await _check_run(services, check)
    if new is None:
        return
    async with services.pool.connection() as connection:
        entry = await file_checks.outbox_entry(connection, check)
    timing = services.timing
    policy = Policy(call=timing.claim_lasts, lookups=[timing.status_lookup_after])
    write = CheckRunWrite(services, _scope(check), entry, new)
    try:
        await Outbox(services.pool, services.clock).deliver(entry, write, policy)
    except UnknownOutcome as error:
        raise RetryAt(str(error), services.clock() + timing.status_lookup_after) from error
    except Rejected as error:
        log.error("GitHub rejects the check run", error=str(error))
    else:
        log.info("check run written", conclusion=new.conclusion, title=new.title)


@dataclass(slots=True)
class CheckRunWrite(Write):
    services: Services
    scope: Scope
    entry: Entry
    new: NewCheckRun

    async def find(self, entry: Entry) -> Ref | None:
        written = await check_runs.find_check_run(self.services.github, self.scope, self.new)
        return None if written is None else _ref(await self._completed(written))

    async def claim(self, connection: Async, entry: Entry, lasts: timedelta) -> Entry | None:
        claimed = await outbox.claim(connection, entry, lasts)
        self.entry = claimed or entry
        return claimed

    async def send(self) -> Ref:
        github = self.services.github
        return _ref(
            await self._completed(await check_runs.create_check_run(github, self.scope, self.new))
        )

    async def _completed(self, written: CheckRun) -> CheckRun:
        """With all annotations. After a call without a clear response, GitHub says how many it has
        by then."""
        while written.annotations < len(self.new.annotations):
            async with self.services.pool.connection() as connection:
                await outbox.extend(connection, self.entry.id, self.services.timing.claim_lasts)
            github, before = self.services.github, written.annotations
            written = await check_runs.add_annotations(github, self.scope, self.new, written)
            if written.annotations <= before:
                break
        return written

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        if error.certain:
            return None
        return RejectionPolicy.doubtful(self.services.timing).retry_at(since, now)


async def _check_run(services: Services, check: FileCheck) -> NewCheckRun | None:
    """None where there is nothing to write: it is not the head any more, or not changed by it, or
    the App may not write it."""
    github, scope = services.github, _scope(check)
    try:
        await check_runs.require_access(github, scope)
        pull = await pull_request(github, scope, check.number)
        current = pull is not None and (pull.head_sha, pull.base) == (check.sha, check.base)
        if pull is None or not current or not pull.is_open:
            return None
        base = await merge_base(github, scope, pull.base_sha, check.sha)
        if base is None:
            _wait_for_commit(services, check)
            return None
        return await _of_change(services, check, pull, base)
    except UnknownOutcome as error:
        raise RetryAt(str(error), services.clock() + services.timing.recheck_at_least) from error
    except Rejected as error:
        granted = error.code != LACKS_PERMISSION and not isinstance(error, Forbidden)
        write = log.error if granted else log.info
        write("no check run", error=str(error))
        return None


def _wait_for_commit(services: Services, check: FileCheck) -> None:
    now = services.clock()
    if now - check.at < _KNOWN_WITHIN:
        raise RetryAt("GitHub does not show the commit yet", now + _AGAIN)
    log.warning("GitHub does not show the head of a pull request", sha=check.sha)


async def _of_change(
    services: Services, check: FileCheck, pull: PullRequest, base: str
) -> NewCheckRun | None:
    """By what the pull request itself changes, whatever its base branch has got since."""
    before, after = [await _content(services, check, ref) for ref in (base, check.sha)]
    was, now = (one and (one.blob, one.text) for one in (before, after))
    if was == now:  # git's name alone would be that of a link, whose file may change
        return None
    of_default = pull.base == pull.default_branch
    default = None if of_default else await _content(services, check, pull.default_branch)
    contents = before, after, default

    async def findings_of(*, rollback: bool) -> list[Finding]:
        files = [await _parsed(one, rollback=rollback) for one in contents]
        change = Change(
            before=files[0], after=files[1], default=files[2], of_default_branch=of_default
        )
        return review(change, lambda name: _route(services, check.repo, name))

    found = await findings_of(rollback=False)
    # Gitploy's variables may make another file of it then.
    of_rollbacks = [one for one in await findings_of(rollback=True) if one not in found]
    found += [replace(one, text=f"Rollbacks: {one.text}") for one in of_rollbacks]
    # Some of it is of the operator's file, which may have variables in it.
    findings = [replace(one, text=services.redactor.text(one.text)) for one in found]
    return check_run_of(check, findings, is_there=after is not None)


async def _content(services: Services, check: FileCheck, ref: str) -> Content | None:
    found = await read_file(services.github, _scope(check), PATH, ref=ref)
    assert not isinstance(found, Unchanged), "nothing was said to be known"
    return found


async def _parsed(content: Content | None, *, rollback: bool) -> RepositoryFile | None:
    if content is None:
        return None
    if content.unusable:
        message = f"{content.unusable}; it has to be a text file"
        return RepositoryFile(errors=(ConfigError(1, 1, (), message),))
    return await parse(content.text, rollback=rollback)


def _route(services: Services, repo: str, name: str) -> Environment | str:
    found = route(services.config, repo, name)
    if found is None:
        return no_route_message(services.config, repo, name)
    return found if tightens(found) else "the operator's deploy.yml counts alone here"


def _counts(services: Services, repo: str) -> bool:
    every = services.config.envs
    return any(tightens(one) and matches_any(one.repos, repo) for one in every)


def _scope(check: FileCheck) -> Scope:
    return Scope(check.installation_id, check.repo, check.repo_id)


def _ref(written: CheckRun) -> Ref:
    return {"id": str(written.id)}
