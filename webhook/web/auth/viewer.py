"""Who looks at a page now."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from webhook.errors import HttpError
from webhook.github.authorization import Person
from webhook.web.auth.access import Level, PermissionCache, includes
from webhook.web.auth.sessions import Session, Sessions

_NEEDS = {"write": "write to", "admin": "administer"}


def not_found() -> HttpError:
    """The same for what is not there and for what one may not see, so that no name can be tried."""
    return HttpError(
        404,
        "There is nothing at this address",
        detail="Or you may not see it: the relay shows what GitHub lets you read.",
        remedy="Start from the board, or ask for access to the repository on GitHub.",
    )


@dataclass(frozen=True, slots=True)
class Viewer:
    """`signed_in`: as at their sign-in; None: nobody has. `named`: GITPLOY_ADMIN_USERS has that
    login. A stream asks for what they may see long after its request: by then they may have
    signed out, which is the uniform 404 (and psycopg's errors)."""

    signed_in: Session | None
    named: bool
    _permissions: PermissionCache
    _sessions: Sessions

    @property
    def operator(self) -> bool:
        """Sees all repositories; what they may do in one, GitHub says."""
        self._require_session()
        known = self._known
        return self.named and known is not None and self._permissions.has_login(known)

    @property
    def session(self) -> Session | None:
        """With the login that their account has now."""
        person = self.person
        return replace(self.signed_in, person=person) if self.signed_in and person else None

    @property
    def person(self) -> Person | None:
        known = self._known
        return self._permissions.current(known) if known else None

    @property
    def _known(self) -> Person | None:
        """As at their sign-in."""
        return self.signed_in.person if self.signed_in else None

    @property
    def unclear(self) -> bool:
        """GitHub does not say now all of what they may see."""
        return self._known is not None and self._permissions.is_unclear(self._known)

    def permission(self, repo_id: int) -> str:
        """admin, write, read or none."""
        self._require_session()
        if self._known is None:
            return "none"
        found = self._permissions.permission(self._known, repo_id)
        return "read" if found == "none" and self.operator else found

    def may(self, repo_id: int, needed: Level) -> bool:
        return includes(self.permission(repo_id), needed)

    def visible(self, repo_ids: Iterable[int] | None = None) -> frozenset[int]:
        """Those that may be read, of these; by default of all that the relay knows."""
        return self.with_permission("read", repo_ids)

    def with_permission(
        self, needed: Level, repo_ids: Iterable[int] | None = None, *, for_act: bool = False
    ) -> frozenset[int]:
        self._require_session()
        if self._known is None:
            return frozenset()
        every = self._permissions.repositories() if repo_ids is None else repo_ids
        if self.operator and needed == "read":
            return frozenset(every)
        found = self._permissions.permissions(self._known, every, for_act=for_act)
        return frozenset(one for one, permission in found.items() if includes(permission, needed))

    def require_visible(self, repo_id: int) -> None:
        """Raises the uniform 404."""
        if not self.may(repo_id, "read"):
            raise not_found()

    def unknown(self, name: str) -> HttpError:
        """The uniform 404, made as slowly as that of a repository which may not be seen: GitHub is
        asked about one here, too."""
        if self._known is not None:
            self._permissions.ask_of_any(self._known, name)
        return not_found()

    def require(self, repo_id: int, needed: Level, repo: str) -> None:
        """For an act. Raises 404 where not even the repository may be seen, else 403."""
        self.require_visible(repo_id)
        if not self.may(repo_id, needed):
            raise HttpError(
                403,
                "You may not do this",
                detail=f"It needs {needed} permission in {repo} on GitHub, or GitHub does not say"
                " now that you have it.",
                remedy=f"Ask somebody who may {_NEEDS.get(needed, needed)} {repo}, or ask for the"
                " permission on GitHub; it counts within a minute.",
            )

    def _require_session(self) -> None:
        if self.signed_in is not None and not self._sessions.holds(self.signed_in):
            raise not_found()

    def require_operator(self) -> None:
        if not self.operator:
            raise not_found()
