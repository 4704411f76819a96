"""Who and what is on the stand-in for GitHub: people, repositories, installations of the App."""

import secrets
from collections.abc import Sequence
from typing import Literal

from sandbox.github.model import Account, Installation, Repository, Role, User, World
from sandbox.github.repositories import Repositories


class Population:
    """A base: whoever inherits it has a `world` and what tells of its `repositories`."""

    world: World
    repositories: Repositories

    @property
    def default_role(self) -> str:
        """What people are in each repository where no `collaborator` says otherwise."""
        return self.repositories.default_role

    @default_role.setter
    def default_role(self, name: str) -> None:
        self.repositories.default_role = name

    def add_user(
        self,
        login: str,
        token: str | None = None,
        *,
        name: str | None = None,
        email: str | None = None,
    ) -> User:
        """A person with a personal token, who may do all in every repository with it. `name` and
        `email` are in the profile for everybody to see."""
        account = Account(login, self.world.id())
        user = User(account, token or "ghp_" + secrets.token_urlsafe(27), name, email)
        self.world.users[user.token] = user
        return user

    def add_repository(self, full_name: str, *, private: bool = True) -> Repository:
        login, _, name = full_name.partition("/")
        owner = self._owner(login)
        repository = Repository(self.world.id(), owner, name, private)
        self.world.repositories[full_name.lower()] = repository
        return repository

    def repository(self, full_name: str) -> Repository:
        return self.world.repository(full_name)

    def collaborator(
        self, repository: str, login: str, role: str, permission: str | None = None
    ) -> None:
        """GitHub's admin, maintain, write, triage, read or none; a role of any other name needs
        the `permission` that it is made of. Whoever is not there yet is added."""
        if self.world.user(login) is None:
            self.add_user(login)
        roles = self.world.repository(repository).roles
        roles[login.lower()] = Role.named(role, permission)

    def add_installation(
        self,
        login: str,
        repositories: Sequence[str] = (),
        *,
        selection: Literal["all", "selected"] = "selected",
        permissions: dict[str, str] | None = None,
    ) -> Installation:
        """The App installed at an account; repositories that are new are added."""
        known = self.world.repositories
        inside = [known.get(r.lower()) or self.add_repository(r) for r in repositories]
        granted = dict(permissions or self.world.app.permissions)
        account = inside[0].owner if inside else self._owner(login)
        made = Installation(self.world.id(), account, inside, granted, selection)
        self.world.installations[made.id] = made
        return made

    def _owner(self, login: str) -> Account:
        for repository in self.world.repositories.values():
            if repository.owner.login == login:
                return repository.owner
        return Account(login, self.world.id(), "Organization")
