"""The environment that a request names, and who looks at it.

Errors, each a page: 404 unknown, or not to be seen; 503 the store does not respond.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from webhook.deployments.locks import is_pattern
from webhook.store import environment_history
from webhook.store.actions import Requested
from webhook.store.database import Sync
from webhook.store.repositories import KnownRepository
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.pages.environment.data import Where, find_where
from webhook.web.requests import FormFields, RequestView, form_fields, requests_of
from webhook.web.services import PageServices

# Characters of what is in an address.
LONGEST = 255


@dataclass(frozen=True, slots=True)
class Opened:
    viewer: Viewer
    where: Where

    @property
    def may_write(self) -> bool:
        return self.viewer.may(self.where.repo_id, "write")

    @property
    def login(self) -> str:
        return self.viewer.person.login if self.viewer.person else ""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks, for the parts of a page. `form`: what each form of it sends."""

    may_write: bool
    operator: bool
    form: FormFields
    requests: list[RequestView]


def open_environment(services: PageServices, owner: str, name: str, environment: str) -> Opened:
    """Raises `HttpError` where there is nothing, or nothing that the viewer may see."""
    viewer = services.require_viewer()
    repo = f"{owner}/{name}"
    if not (repo + environment).isprintable() or len(environment) > LONGEST:
        raise not_found()
    known = services.permissions.repositories()
    with services.pool.connection() as connection:
        repository = _repository(known, connection, repo)
    if repository is None:
        raise viewer.unknown(repo)
    viewer.require_visible(repository.repo_id)
    with services.pool.connection() as connection:
        where = find_where(connection, services.config.config, repository, environment)
    if where is None:
        raise not_found()
    return Opened(viewer, where)


def _repository(
    known: Mapping[int, KnownRepository], connection: Sync, repo: str
) -> KnownRepository | None:
    """By its name, or one that it had before."""
    found = environment_history.repositories_named(connection, repo)
    every = [known[repo_id] for repo_id in found if repo_id in known]
    same = (one for one in every if one.name.casefold() == repo.casefold())
    return next(same, every[0] if every else None)


def _requests(services: PageServices, opened: Opened) -> list[RequestView]:
    where = opened.where

    def about(one: Requested) -> bool:
        """A promotion is about two, and is requested on the page of either."""
        here = one.environment.lower() in ("", where.name.lower())
        wider = one.kind == "promote" or is_pattern(one.environment)
        return one.repo_id in (0, where.repo_id) and (here or wider)

    with services.pool.connection() as connection:
        return requests_of(connection, opened.viewer.session, services.actions, about)


def reader_of(services: PageServices, opened: Opened) -> Reader:
    """Not while one holds a connection: GitHub may be asked whether they may write."""
    return Reader(
        may_write=opened.may_write,
        operator=opened.viewer.operator,
        form=form_fields(services.sessions, opened.viewer.session),
        requests=_requests(services, opened),
    )
