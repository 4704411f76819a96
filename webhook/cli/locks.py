"""`python -m webhook lock`, `unlock` and `locks`: hold deployments back, and let them go on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import click

from webhook.cli.listing import print_rows
from webhook.cli.operator import operator
from webhook.config.locks import lock_error
from webhook.deployments.locks import (
    EVERYTHING,
    LETS,
    Lets,
    capitalized,
    describe,
    duration_of,
    name_of,
    reason_of,
    scope_name,
)
from webhook.engine.locks import (
    By,
    NothingLocked,
    ScopeLocked,
    lock_scope,
    locked_message,
    unlock_scope,
    unlocked_message,
)
from webhook.engine.services import Services
from webhook.errors import Rejected, RetryAt, UnknownOutcome, UserError
from webhook.github.repositories import resolve
from webhook.github.users import is_login
from webhook.invocation import COMMAND
from webhook.startup import set_up_command
from webhook.store import database, repository_names, schedule
from webhook.store import locks as stored
from webhook.store.locks import LockRow, NewLock
from webhook.store.schema import migrated_store
from webhook.timing import utc_now

NEVER = "never"
_REPO = click.argument("repo", metavar="[OWNER/REPO", required=False)
_ENVIRONMENT = click.argument("environment", metavar="[ENVIRONMENT]]", required=False)
_PERSON = click.option(
    "--as", "person", metavar="LOGIN", help="Your GitHub login; else the user of this machine."
)


@click.command()
@_REPO
@_ENVIRONMENT
@click.option("--all", "everything", is_flag=True, help="All environments of all repositories.")
@click.option("--reason", required=True, help="For those who wait.")
@click.option("--for", "lasts", default="24h", show_default=True, help="30m, 2h, 3d or never.")
@click.option(
    "--lets", multiple=True, type=click.Choice(LETS), help="Whose deployments it lets through."
)
@click.option("--take-over", is_flag=True, help="Also where somebody else has locked it.")
@_PERSON
def lock(
    *,
    repo: str | None,
    environment: str | None,
    everything: bool,
    reason: str,
    lasts: str,
    lets: tuple[Lets, ...],
    take_over: bool,
    person: str | None,
) -> None:
    """Hold deployments to an environment back.

    ENVIRONMENT is a name or a pattern; without it, all of the repository. OWNER/REPO may be '*',
    for an environment of all repositories. What runs already goes on.
    """
    names = _names(repo, environment, everything=everything)
    owner = person_of(person)
    if "owner" in lets and person is None:
        raise UserError("--lets owner needs --as LOGIN, by which the owner is known on GitHub")
    try:
        duration = None if lasts.lower() == NEVER else duration_of(lasts)
    except ValueError as error:
        raise UserError(f"{error}, or {NEVER} for a lock without an end") from None
    try:
        text = reason_of(reason)
    except ValueError as error:
        raise UserError(str(error)) from None

    async def run(services: Services) -> str:
        repo_id, name = await _repository(services, names[0])
        if error := lock_error(services.config, name, names[1]):
            raise UserError(error)
        now = services.clock()
        new = NewLock(
            repo_id=repo_id,
            repo=name,
            environment=names[1],
            owner=owner,
            reason=text,
            lets=tuple(one for one in LETS if one in lets),
            source="command line",
            created_at=now,
            expires_at=_end(now, duration),
        )
        return await _lock(services, new, take_over=take_over)

    _with_services(run)


@click.command()
@_REPO
@_ENVIRONMENT
@click.option("--all", "everything", is_flag=True, help="The lock of everything.")
@_PERSON
def unlock(repo: str | None, environment: str | None, everything: bool, person: str | None) -> None:
    """End a lock, whoever's it is.

    It is named as it was locked. What waited for that goes on at once, and its owner is notified.
    """
    names = _names(repo, environment, everything=everything)
    by = By(person=person_of(person), source="command line")

    async def run(services: Services) -> str:
        repo_id, name = await _repository(services, names[0])
        async with services.pool.connection() as connection, connection.transaction():
            try:
                ended = await unlock_scope(
                    services, connection, (repo_id, names[1]), by, take_over=True
                )
            except NothingLocked:
                where = capitalized(scope_name(name, names[1]))
                message = f"{where} has no lock of its own; see {COMMAND} locks"
                raise UserError(message) from None
            await schedule.wake_workers(connection)
        return unlocked_message(ended, by.person)

    _with_services(run)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--ended", is_flag=True, help="Also those that have ended, the newest first.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
def locks(as_json: bool, ended: bool, limit: int) -> None:
    """List what is locked, by whom, why and until when."""

    async def read(url: str) -> list[LockRow]:
        async with await database.connect_async(url) as connection:
            if ended:
                return await stored.history(connection, limit)
            return (await stored.active(connection, utc_now()))[:limit]

    with migrated_store(set_up_command().settings) as (url, _):
        found = asyncio.run(read(url))
    columns = {**_COLUMNS, **(_ENDING if ended else {}), "reason": "reason"}
    print_rows(columns, [_row(one) for one in found], as_json=as_json)


_COLUMNS = {
    "lock": "lock",
    "scope": "what",
    "owner": "owner",
    "since": "since (UTC)",
    "until": "until (UTC)",
    "lets": "lets",
}
_ENDING = {"ended": "ended (UTC)", "how": "how", "by": "by"}


def _row(one: LockRow) -> dict[str, Any]:
    expired = not one.ended_how and not one.holds(utc_now())
    return {
        "lock": one.id,
        "scope": name_of(one),
        "repository": one.repo if one.repo_id else "*",
        "environment": one.environment,
        "owner": one.owner,
        "since": one.created_at,
        "until": one.expires_at or NEVER,
        "lets": " ".join(one.lets),
        "source": one.source,
        "ended": one.expires_at if expired else one.ended_at,
        "how": "expired" if expired else one.ended_how,
        "by": one.ended_by,
        "reason": one.reason,
    }


async def _lock(services: Services, new: NewLock, *, take_over: bool) -> str:
    async with services.pool.connection() as connection, connection.transaction():
        try:
            done = await lock_scope(services, connection, new, take_over=take_over)
        except ScopeLocked as error:
            held = capitalized(describe(error.lock, new.created_at))
            advice = f"--take-over makes it yours, and notifies {error.lock.owner}"
            raise UserError(f"{held}. Nothing was done; {advice}") from None
        except RetryAt as error:
            raise UserError(f"Nothing was done: {error}; try again") from None
        await schedule.wake_workers(connection)
    way_out = f"{COMMAND} unlock {_arguments(done.lock)}"
    return locked_message(services, done, way_out)


def _with_services(run: Callable[[Services], Awaitable[str]]) -> None:
    from webhook.slack.actions import ACTIONS
    from webhook.worker import open_services

    setup = set_up_command()

    async def opened(url: str) -> str:
        async with open_services(setup, url, actions=ACTIONS) as services:
            return await run(services)

    with migrated_store(setup.settings) as (url, _):
        click.echo(f"{asyncio.run(opened(url))}.")


def _names(repo: str | None, environment: str | None, *, everything: bool) -> tuple[str, str]:
    """Of a repository, "" for all, and of an environment."""
    from webhook.slack.actions.typed import repo_error

    if everything:
        if repo is not None:
            raise UserError("--all is everything; leave it out, or the repository")
        return "", EVERYTHING
    if repo is None:
        raise UserError("Name a repository, as acme/site, and an environment; or write --all")
    if repo == EVERYTHING:
        if environment in (None, EVERYTHING):
            raise UserError("'*' is for an environment of all repositories; everything is --all")
        return "", environment or EVERYTHING
    if error := repo_error(repo):
        raise UserError(error)
    return repo, environment or EVERYTHING


def person_of(login: str | None) -> str:
    """Who is at the command line: an @ tells that from a GitHub login."""
    if login is not None:
        if not is_login(login):
            raise UserError(f"'{login}' is not a GitHub login; write it without @, as in octocat")
        return login
    return operator()


async def _repository(services: Services, repo: str) -> tuple[int, str]:
    if not repo:
        return 0, ""
    async with services.pool.connection() as connection:
        known = await repository_names.id_of(connection, repo)
    if known:
        return known, repo
    try:
        scope, _ = await resolve(services.github, repo)
    except (Rejected, RetryAt, UnknownOutcome) as error:
        raise UserError(
            f"The relay has seen nothing of {repo}, and GitHub does not say which repository that"
            f" is: {error}; check its name, and that the App is installed there"
        ) from error
    return scope.repo_id, scope.repo


def _end(now: datetime, duration: timedelta | None) -> datetime | None:
    return None if duration is None else now + duration


def _arguments(lock: LockRow) -> str:
    if not lock.repo_id and lock.environment == EVERYTHING:
        return "--all"
    repo = lock.repo if lock.repo_id else "'*'"
    return repo if lock.environment == EVERYTHING else f"{repo} '{lock.environment}'"
