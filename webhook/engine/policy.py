"""What holds for a deployment: its environment of deploy.yml, tightened by the repository's own
deploy.yml where that is to count (`repository_file: tighten`).

The file at the head of the default branch counts, whatever is deployed; the one at the deployment's
own commit may add gates. What GitHub does not say now is no permission: the deployment waits.

docs/how-to/repository-file.md says the same for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.engine import repository_files
from webhook.engine.repository_files import PATH, Fetched, Kept, Unreadable, counts_at
from webhook.engine.services import PolicyServices, Services, scope
from webhook.errors import LACKS_PERMISSION, Rejected, RetryAt
from webhook.gates.contract import ALLOW, Deny, Policy, Verdict, Wait
from webhook.gates.repository_file import REPOSITORY_FILE, tightens
from webhook.github.tokens import Scope
from webhook.repository_file.model import RepositoryFile
from webhook.repository_file.tighten import Line, Tightened, tighten
from webhook.repository_file.tighten import asks_for as file_asks_for
from webhook.store import gates
from webhook.store import repository_files as store
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.repository_files import HEAD
from webhook.text import one_line
from webhook.timing import Timing

_GIVE = "Give it that, and accept it where it is installed"


@dataclass(frozen=True, slots=True)
class FilePolicy(Policy):
    """`lines`: where each key comes from. `kept`: the repository's files, by `HEAD` and commit.
    `error`: why GitHub does not show them now."""

    lines: tuple[Line, ...] = ()
    kept: Kept = field(default_factory=dict)
    error: Unreadable | None = None


@dataclass(frozen=True, slots=True)
class _Subject:
    """`sha`: "" where there is no commit yet."""

    environment: str
    sha: str
    rollback: bool


async def fetch_policy(
    services: Services, row: DeploymentRow, environment: Environment
) -> FilePolicy:
    """By the repository's file as it is on GitHub now. Not within a transaction: it may call
    GitHub. Errors: `RetryAt`, if it can be called in a moment."""
    if not tightens(environment):
        return FilePolicy(environment)
    async with services.pool.connection() as connection:
        subject = await _subject(connection, row)
    fetched = await repository_files.fetch(services, scope(row), row.sha)
    return await _policy(services, subject, environment, fetched)


async def recent_policy(
    services: Services, row: DeploymentRow, environment: Environment
) -> FilePolicy:
    """The same by a copy that is seconds old, if there is one: to go on waiting by it. Before a
    start there is `fetch_policy`."""
    if not tightens(environment):
        return FilePolicy(environment)
    kept = await repository_files.recent(services, row.repo_id, row.sha)
    if kept is None:
        return await fetch_policy(services, row, environment)
    async with services.pool.connection() as connection:
        subject = await _subject(connection, row)
    return await _policy(services, subject, environment, Fetched(kept))


async def kept_policy(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    environment: Environment,
    *,
    rollback: bool | None = None,
) -> FilePolicy:
    """By the repository's file as the store has it. `rollback`: of one that is not there yet,
    whether it would count as one."""
    if not tightens(environment):
        return FilePolicy(environment)
    subject = _Subject(row.environment, row.sha, rollback=bool(rollback))
    if rollback is None:
        subject = await _subject(connection, row)
    kept = await store.read(connection, row.repo_id, (row.sha,))
    return await _policy(services, subject, environment, Fetched(kept))


async def is_current(connection: Async, row: DeploymentRow, policy: FilePolicy) -> bool:
    """Whether no push has changed the repository's file since it was read."""
    head = policy.kept.get(HEAD)
    return head is None or not await store.changed_since(connection, row.repo_id, head.read_at)


def as_asked_last(policy: FilePolicy, row: DeploymentRow) -> FilePolicy:
    """That GitHub does not show the file now is not kept: whoever asked last has said so."""
    waits = (one for one in row.blockers if one.gate == REPOSITORY_FILE.name and not one.denies)
    known = next(waits, None)
    if known is None or policy.file is not ALLOW:
        return policy
    wait = Wait(reason=known.reason, until=known.until, way_out=known.way_out)
    return replace(policy, file=wait)


async def policy_at(
    services: PolicyServices,
    where: Scope,
    environment_name: str,
    *,
    sha: str = "",
    rollback: bool = False,
) -> FilePolicy | None:
    """Of what is not there yet: as `fetch_policy`. None: deploy.yml has no such environment."""
    found = await policies_at(services, where, [environment_name], sha=sha, rollback=rollback)
    return found.get(environment_name)


async def policies_at(
    services: PolicyServices,
    where: Scope,
    environment_names: Sequence[str],
    *,
    sha: str = "",
    rollback: bool = False,
) -> Mapping[str, FilePolicy]:
    """Of those environments that deploy.yml has."""
    routed = {name: route(services.config, where.repo, name) for name in environment_names}
    known = {name: environment for name, environment in routed.items() if environment}
    fetched = Fetched({})
    if any(map(tightens, known.values())):
        fetched = await repository_files.fetch(services, where, sha, deployed=False)
    return {
        name: await _policy(services, _Subject(name, sha, rollback), environment, fetched)
        if tightens(environment)
        else FilePolicy(environment)
        for name, environment in known.items()
    }


async def asks_for(policy: FilePolicy, environment_name: str, full_ref: str) -> bool | None:
    """Whether the repository's file, which is wrong or not shown, would have that push deployed;
    None: it may."""
    file = await _parsed(policy.kept, HEAD, _Subject(environment_name, "", rollback=False))
    if isinstance(policy.file, Wait) or file is None:
        return None
    if not file.errors_for(environment_name):
        return False  # the environment has what it says
    return file_asks_for(file, policy.kept[HEAD].content, environment_name, full_ref)


def shows_commit(policy: FilePolicy, sha: str) -> bool:
    """Whether the file at the head of the default branch is that of the commit."""
    head, here = policy.kept.get(HEAD), policy.kept.get(sha)
    return (head and (head.state, head.blob)) == (here and (here.state, here.blob))


async def changed(services: Services, connection: Async, repo_id: int) -> None:
    """A push may have changed the file at the head of the default branch: all that waits there is
    asked again. In the transaction that learns of the push."""
    if any(map(tightens, services.config.envs)):
        await repository_files.changed(services, connection, repo_id)


async def _subject(connection: Async, row: DeploymentRow) -> _Subject:
    return _Subject(row.environment, row.sha, await gates.rolls_back(connection, row.id))


async def _policy(
    services: PolicyServices, subject: _Subject, environment: Environment, fetched: Fetched
) -> FilePolicy:
    own, here = [await _parsed(fetched.kept, ref, subject) for ref in (HEAD, subject.sha)]
    tightened = tighten(environment, own, here, subject.environment)
    return _with_file(services.timing, services.clock(), environment, fetched, tightened)


def policy_from(
    timing: Timing, now: datetime, environment: Environment, environment_name: str, kept: Kept
) -> FilePolicy:
    """Of what is not there yet, by the file at the head of the default branch as it is in `kept`.
    For a thread: it may take a second."""
    if not tightens(environment):
        return FilePolicy(environment)
    head = kept.get(HEAD)
    present = head is not None and head.state == "present"
    own = repository_files.parse_now(head.content) if head and present else None
    tightened = tighten(environment, own, None, environment_name)
    return _with_file(timing, now, environment, Fetched(kept), tightened)


def _with_file(
    timing: Timing,
    now: datetime,
    environment: Environment,
    fetched: Fetched,
    tightened: Tightened,
) -> FilePolicy:
    head = fetched.kept.get(HEAD)
    verdict: Verdict = ALLOW
    if head is not None and head.state == "unusable":
        way_out = "Commit a plain file there, or remove it"
        verdict = Deny(reason=f"The repository's {PATH} {head.reason}", way_out=way_out)
    elif tightened.denial:
        verdict = Deny(reason=tightened.denial, way_out=tightened.way_out)
    if fetched.error is not None:
        verdict = _unreadable(timing, now, environment, fetched.error)
    elif head is not None and head.missing_since is not None and verdict is not ALLOW:
        verdict = _gone(counts_at(head.missing_since, timing))
    return FilePolicy(tightened.environment, verdict, tightened.lines, fetched.kept, fetched.error)


async def _parsed(kept: Kept, ref: str, subject: _Subject) -> RepositoryFile | None:
    file = kept.get(ref)
    if file is None or file.state != "present":
        return None
    return await repository_files.parse(file.content, rollback=subject.rollback)


def _gone(counts: datetime) -> Wait:
    """It was wrong, and may have been removed for that."""
    return Wait(reason=f"The repository's {PATH} seems to be gone", until=counts)


def _unreadable(timing: Timing, now: datetime, environment: Environment, error: Unreadable) -> Wait:
    """In words that stay the same, however often it is asked."""
    until, way_out = None, "It goes on by itself"
    match error:
        case RetryAt():
            reason = "GitHub limits the relay's calls"
            far = now + timing.gates_asked_again_after
            until = error.at if error.at > far else None
        case Rejected(code=code) if code == LACKS_PERMISSION:
            reason, way_out = "the App lacks contents: read", _GIVE
        case Rejected():
            reason, way_out = one_line(str(error), 70), "python -m webhook check says more"
        case _:
            reason, way_out = "GitHub does not answer", "It goes on by itself once it does"
    if environment.break_glass:
        way_out = f"/deploy override. {way_out}"
    reason = f"Cannot read the repository's {PATH}: {reason}"
    return Wait(reason=reason, until=until, way_out=way_out)
